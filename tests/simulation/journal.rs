//! The journal of a simulated run. The same seed gives the same journal.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

/// The journal of one run. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    began: Instant,
    is_printed: bool,
    hash: Arc<Mutex<DefaultHasher>>,
}

impl Journal {
    /// An empty journal. With `is_printed`, entries are also printed.
    pub fn new(is_printed: bool) -> Self {
        Self { began: Instant::now(), is_printed, hash: Arc::default() }
    }

    /// Adds an entry with the current time.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:>9.3} s  {what}", self.began.elapsed().as_secs_f64());
        if self.is_printed {
            eprintln!("{line}");
        }
        line.hash(&mut *self.hash.lock().expect("the lock is not poisoned"));
    }

    /// Equal for runs with equal entries at equal times.
    pub fn digest(&self) -> u64 {
        self.hash.lock().expect("the lock is not poisoned").finish()
    }
}
