//! What happened in a simulated run, in its order: the same for the same seed.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

/// The journal of one run. Cheap to clone.
#[derive(Clone)]
pub struct Journal {
    began: Instant,
    is_told: bool,
    hash: Arc<Mutex<DefaultHasher>>,
}

impl Journal {
    /// An empty one. `is_told`: it is printed as it is written.
    pub fn new(is_told: bool) -> Self {
        Self { began: Instant::now(), is_told, hash: Arc::default() }
    }

    /// Writes down what happened now.
    pub fn note(&self, what: fmt::Arguments<'_>) {
        let line = format!("{:>9.3} s  {what}", self.began.elapsed().as_secs_f64());
        if self.is_told {
            eprintln!("{line}");
        }
        line.hash(&mut *self.hash.lock().expect("nobody panics in between"));
    }

    /// Equal for runs in which the same happened at the same times.
    pub fn digest(&self) -> u64 {
        self.hash.lock().expect("nobody panics in between").finish()
    }
}
