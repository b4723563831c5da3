//! Opens the strangler switch of an engine inside another program.

use std::sync::Arc;

use crate::app::App;
use crate::app::rehearsal::Rehearsal;
use crate::domain::switch::Stage;
use crate::error::{Error, ErrorKind, Result};
use crate::strangler::{Parts, Strangler};

pub use crate::strangler::{Asked, Passage, Reply};

impl App {
    /// The switch between the program's own code and the engine, opened when it is first asked
    /// for; `unset` is the stage of what nobody has set, and counts the first time.
    ///
    /// # Errors
    /// `Misconfigured` without a secret to check tokens against.
    pub async fn strangler(&self, unset: Stage) -> Result<Arc<Strangler>> {
        let opened = self.strangler.get_or_try_init(async || {
            let (Some(shell), Some(door)) = (&self.shell, self.doors.first()) else {
                return Err(Error::new(
                    ErrorKind::Misconfigured,
                    "jwt_secret_key is not set, so no token can be checked. Set JWT_SECRET_KEY.",
                ));
            };
            let engine = self.engine.rehearsal();
            let store = engine.store().clone();
            let rehearser = Box::new(Rehearsal::new(engine, door.contract, shell));
            let parts = Parts {
                store,
                rehearser,
                verifier: Arc::clone(&shell.verifier),
                metrics: Arc::clone(&shell.metrics),
                unset,
                operations: door.contract.operations(),
            };
            Ok(Arc::new(Strangler::open(parts).await))
        });
        opened.await.cloned()
    }
}
