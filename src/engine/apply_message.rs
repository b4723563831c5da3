//! Takes in a message that the caller received, without the engine's own intake.

use uuid::Uuid;

use crate::engine::Engine;
use crate::engine::apply_fact::{body_hash, intake_lease};
use crate::engine::ports::{Delivery, Interpreter};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{inbox, leases};

impl Engine {
    /// Takes in what a delivery says, all of it or nothing, unless `consumer` took it in before,
    /// whichever way it came. `consumer` is the contract that `interpreter` belongs to.
    ///
    /// While nobody takes in for `consumer`, this does, for as long as the transaction lasts.
    /// While an intake does, only a delivery with a message id can be told from what comes to that
    /// one: see `docs/CONSUMERS.md`.
    ///
    /// # Errors
    /// `InvalidInput` when it is not understood or out of bounds; `Conflict` when it has no message
    /// id and an intake is at work; `Unavailable`.
    pub async fn apply_message(
        &self,
        interpreter: &dyn Interpreter,
        consumer: &str,
        delivery: &Delivery,
    ) -> Result<()> {
        let facts = interpreter.interpret(delivery)?;
        let mut transaction = self.shared.store.begin().await?;
        let names = [intake_lease(consumer)];
        let claimed = leases::claim(&mut transaction, Uuid::now_v7(), &names, 1).await?;
        if claimed.is_empty() && delivery.message_id.is_none() {
            return Err(Error::new(
                ErrorKind::Conflict,
                "The engine's own intake is at work, and a message without an id cannot be told \
                 from what it takes in. Stop the intake (ORDER_ENGINE_INTAKE=false) or this \
                 consumer; an intake that was killed is forgotten after 30 seconds.",
            ));
        }
        let (hash, redelivered) = (body_hash(delivery), delivery.redelivered);
        let message_id = delivery.message_id.as_deref();
        let identity =
            inbox::MessageIdentity { consumer, message_id, body_hash: &hash, redelivered };
        if !inbox::record(&mut transaction, &identity).await? {
            return Ok(());
        }
        self.apply(&mut transaction, &facts).await?;
        leases::release(&mut transaction, &claimed).await?;
        self.shared.commit(transaction).await?;
        self.show(&facts).await;
        Ok(())
    }
}
