//! Samples of this process, under the names that Prometheus client libraries use, and of its async
//! runtime. The process samples are available on Linux only.

use std::fs;

use tokio::runtime::Handle;

use crate::metrics::Sample;

/// The kernel's clock ticks per second, which its interface fixes at 100.
const TICKS_PER_SECOND: f64 = 100.0;

/// All samples. Must be called on a tokio runtime.
pub(super) fn samples() -> Vec<Sample> {
    let build = Sample::gauge(
        "order_engine_build_info",
        "Always 1; the label version is the running version",
        1.0,
    )
    .with_label("version", env!("CARGO_PKG_VERSION"));
    [build].into_iter().chain(of_process()).chain(of_runtime()).collect()
}

/// Load of the task scheduler.
fn of_runtime() -> impl Iterator<Item = Sample> {
    let runtime = Handle::current().metrics();
    [
        ("order_engine_runtime_workers", "Worker threads of the runtime", runtime.num_workers()),
        ("order_engine_runtime_tasks", "Tasks that have not finished", runtime.num_alive_tasks()),
        (
            "order_engine_runtime_queued_tasks",
            "Runnable tasks that wait for a thread",
            runtime.global_queue_depth(),
        ),
    ]
    .into_iter()
    .filter_map(|(name, help, value)| Some(Sample::gauge(name, help, count(value)?)))
}

/// Samples of this process, from `/proc`.
fn of_process() -> impl Iterator<Item = Sample> {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uptime = fs::read_to_string("/proc/stat").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let gauge =
        |name, help, value: Option<f64>| value.map(|value| Sample::gauge(name, help, value));
    let cpu = cpu_seconds(&stat)
        .map(|value| Sample::counter("process_cpu_seconds", "User and system CPU time", value));
    let files = fs::read_dir("/proc/self/fd").ok().and_then(|files| count(files.count()));
    [
        cpu,
        gauge(
            "process_resident_memory_bytes",
            "Resident memory",
            kilobytes(&status, "VmRSS:").map(|kilobytes| kilobytes * 1024.0),
        ),
        gauge(
            "process_virtual_memory_bytes",
            "Virtual memory",
            kilobytes(&status, "VmSize:").map(|kilobytes| kilobytes * 1024.0),
        ),
        gauge("process_open_fds", "Open file descriptors", files),
        gauge("process_max_fds", "Limit of open file descriptors", files_max(&limits)),
        gauge("process_threads", "Threads", kilobytes(&status, "Threads:")),
        gauge(
            "process_start_time_seconds",
            "Start time of the process, in seconds since 1970",
            started_at(&stat, &uptime),
        ),
    ]
    .into_iter()
    .flatten()
}

/// The limit of open file descriptors. `None` if unknown or unlimited.
pub(super) fn open_files_max() -> Option<u32> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    soft_limit(&limits)?.parse().ok()
}

fn count(number: usize) -> Option<f64> {
    u32::try_from(number).ok().map(f64::from)
}

/// A field of `/proc/self/stat`, counted from 1 as its documentation does. The second one, the
/// name, may contain spaces and brackets.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS_PER_SECOND)
}

fn started_at(stat: &str, system: &str) -> Option<f64> {
    let booted_at: f64 =
        system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(booted_at + field(stat, 22)? / TICKS_PER_SECOND)
}

/// The soft limit in `/proc/self/limits`; none where there is no limit.
fn files_max(limits: &str) -> Option<f64> {
    soft_limit(limits)?.parse().ok()
}

fn soft_limit(limits: &str) -> Option<&str> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()
}

/// The number behind `name` in `/proc/self/status`.
fn kilobytes(status: &str, name: &str) -> Option<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_text_is_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4 0 0 0 0 150 50 0 0 20 0 4 0 1000 9 9";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(started_at(stat, "cpu 1\nbtime 500\n"), Some(510.0));
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12.0));
        assert_eq!(files_max("Max open files   1024   4096   files\n"), Some(1024.0));
        assert_eq!(files_max("Max open files   unlimited   unlimited   files\n"), None);
        assert_eq!(cpu_seconds(""), None);
    }
}
