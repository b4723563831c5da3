//! Fail points: named places in the source at which a test kills the process.
//!
//! `ORDER_ENGINE_FAIL_POINT=name` sends SIGKILL to the process when it first reaches the point of
//! that name, `name:n` when it reaches it for the nth time. Without the Cargo feature
//! `fail-points`, which release builds do not have, [`fail_point`] expands to nothing.

/// Declares a fail point. Names have the form `operation.step`.
#[cfg(feature = "fail-points")]
macro_rules! fail_point {
    ($name:literal) => {
        $crate::fail_point::pass($name)
    };
    ($name:literal, if $condition:expr) => {
        if $condition {
            $crate::fail_point::pass($name);
        }
    };
}

/// Expands to nothing: this build has no fail points.
#[cfg(not(feature = "fail-points"))]
macro_rules! fail_point {
    ($name:literal $(, if $condition:expr)?) => {};
}

#[cfg(feature = "fail-points")]
pub(crate) use armed::pass;

#[cfg(feature = "fail-points")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The fail point to die at.
    struct ArmedPoint {
        name: String,
        /// Passes left, the fatal one included.
        left: AtomicU64,
    }

    static ARMED: LazyLock<Option<ArmedPoint>> = LazyLock::new(|| {
        let value = std::env::var("ORDER_ENGINE_FAIL_POINT").ok()?;
        let (name, times) = value.rsplit_once(':').unwrap_or((&value, "1"));
        Some(ArmedPoint { name: name.to_owned(), left: AtomicU64::new(times.parse().unwrap_or(1)) })
    });

    /// Kills the process if `name` is armed and this is the pass that was asked for.
    pub(crate) fn pass(name: &str) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.name == name) else { return };
        if armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // SAFETY: both calls take and return integers. SIGKILL cannot be handled, so nothing
            // runs in this process afterwards.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
    }
}
