//! Fail points: named places where a test has the process killed, as a power cut would.
//!
//! `ORDER_ENGINE_FAIL_POINT=name` kills it when it first comes past the point of that name, and
//! `name:n` when it comes past for the nth time. Without the Cargo feature `fail-points`, which
//! releases do not have, [`fail_point`] is nothing at all.

/// A place to die at. Names begin with what is being done.
#[cfg(feature = "fail-points")]
macro_rules! fail_point {
    ($name:literal) => {
        $crate::fail_point::pass($name)
    };
    ($name:literal, if $comes_past:expr) => {
        if $comes_past {
            $crate::fail_point::pass($name);
        }
    };
}

/// A place to die at, in builds for tests; here nothing.
#[cfg(not(feature = "fail-points"))]
macro_rules! fail_point {
    ($name:literal $(, if $comes_past:expr)?) => {};
}

#[cfg(feature = "fail-points")]
pub(crate) use armed::pass;

#[cfg(feature = "fail-points")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Where to die, and how often that may be passed before.
    struct Armed {
        name: String,
        left: AtomicU64,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let asked = std::env::var("ORDER_ENGINE_FAIL_POINT").ok()?;
        let (name, times) = asked.rsplit_once(':').unwrap_or((&asked, "1"));
        Some(Armed { name: name.to_owned(), left: AtomicU64::new(times.parse().unwrap_or(1)) })
    });

    /// Comes past a point.
    pub(crate) fn pass(name: &str) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.name == name) else { return };
        if armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            // SAFETY: both calls take and return plain numbers. Nothing runs in this process after
            // the second one, no destructor and no handler.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
    }
}
