//! Applies a message that the caller received, without the engine's own consumer.

use uuid::Uuid;

use crate::engine::Engine;
use crate::engine::apply_external_event::{body_hash, consumer_lease};
use crate::engine::ports::{Delivery, MessageDecoder};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{self, inbox, leases};

impl Engine {
    /// Applies all events of a delivery or none, unless `consumer` has applied it before.
    /// `consumer` is the name of the contract that `decoder` belongs to.
    ///
    /// The transaction holds the consumer lease, when it is free. While the engine's own consumer
    /// holds it, duplicates can be recognized by message id only: see `docs/CONSUMERS.md`.
    ///
    /// # Errors
    /// `InvalidInput` when the delivery cannot be decoded or a value is out of range; `Conflict`
    /// when it has no message id while the engine's own consumer runs; `Unavailable`.
    pub async fn apply_message(
        &self,
        decoder: &dyn MessageDecoder,
        consumer: &str,
        delivery: &Delivery,
    ) -> Result<()> {
        let events = decoder.decode(delivery)?;
        let mut transaction = self.shared.store.begin().await?;
        let names = [consumer_lease(consumer)];
        let claimed = leases::claim(&mut transaction, Uuid::now_v7(), &names, 1).await?;
        if claimed.is_empty() && delivery.message_id.is_none() {
            return Err(Error::new(
                ErrorKind::Conflict,
                "The engine's own consumer is running, and a message without a message id could be \
                 applied twice. Stop the engine's consumer (ORDER_ENGINE_CONSUMER=false) or this \
                 one. The lease of a killed consumer expires after 30 seconds.",
            ));
        }
        let (hash, redelivered) = (body_hash(delivery), delivery.redelivered);
        let message_id = delivery.message_id.as_deref();
        let identity =
            inbox::MessageIdentity { consumer, message_id, body_hash: &hash, redelivered };
        if !inbox::record(&mut transaction, &identity).await? {
            return Ok(());
        }
        self.apply(&mut transaction, &events).await?;
        leases::release(&mut transaction, &claimed).await?;
        store::commit(transaction).await?;
        self.project(&events).await;
        Ok(())
    }
}
