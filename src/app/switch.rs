//! Opens the strangler switch of an engine inside another program.

use std::sync::Arc;

use crate::app::App;
use crate::app::rehearsal::Rehearsal;
use crate::error::Result;
use crate::strangler::{Parts, Strangler};

impl App {
    /// The switch between the program's own code and the engine, opened when it is first asked
    /// for.
    ///
    /// # Errors
    /// `Misconfigured` without a secret to check tokens against.
    pub async fn strangler(&self) -> Result<Arc<Strangler>> {
        let opened = self.strangler.get_or_try_init(async || {
            let (door, shell) = self.first()?;
            let engine = self.engine.rehearsal();
            let store = engine.store().clone();
            let rehearser = Box::new(Rehearsal::new(engine, door.contract.as_ref(), &shell));
            let parts = Parts {
                store,
                rehearser,
                gate: shell.gate.clone(),
                metrics: Arc::clone(&shell.metrics),
                unset: self.stage,
                operations: door.contract.operations(),
            };
            Ok(Arc::new(Strangler::open(parts).await))
        });
        opened.await.cloned()
    }
}
