//! Applies events of other services: each delivery once, all of its events or none.

use sha2::{Digest, Sha256};

use crate::domain::external_event::{ExternalEvent, StockEvent};
use crate::domain::ids::ProductId;
use crate::domain::stock;
use crate::domain::stock_answer::reconcile_answer;
use crate::engine::ports::{Delivery, MessageDecoder};
use crate::engine::{Engine, stock_projection, user_projection};
use crate::error::{Error, ErrorKind, Result};
use crate::store::dead_letters::{self, IncomingDeadLetter};
use crate::store::inbox::{self, MessageIdentity};
use crate::store::leases::{self, Lease};
use crate::store::{self, Connection, catalog, list_publications, stock_answers, users};

/// The outcome of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyOutcome {
    /// Its events were applied.
    Applied,
    /// It was applied before; nothing changed.
    Duplicate,
    /// It was stored as a dead letter.
    DeadLettered,
    /// Another process holds the consumer lease now; nothing changed.
    LeaseLost,
}

/// The name of the lease of the process that consumes for `consumer`.
#[must_use]
pub fn consumer_lease(consumer: &str) -> String {
    format!("consumer:{consumer}")
}

impl Engine {
    /// Applies the events of a delivery, in one transaction with its deduplication key. `lease`
    /// proves that no other process consumes for `consumer`, so that messages are applied in the
    /// broker's order.
    ///
    /// # Errors
    /// `InvalidInput` for a value out of range, `Conflict`, `Unavailable`, `Internal`.
    pub async fn apply_delivery(
        &self,
        lease: &Lease,
        consumer: &str,
        delivery: &Delivery,
        events: &[ExternalEvent],
    ) -> Result<ApplyOutcome> {
        let mut transaction = self.shared.store.begin().await?;
        if let Some(known) = deduplicate(&mut transaction, lease, consumer, delivery).await? {
            return Ok(known);
        }
        self.apply(&mut transaction, events).await?;
        fail_point!("consume.applied");
        store::commit(transaction).await?;
        fail_point!("consume.committed");
        self.project(events).await;
        Ok(ApplyOutcome::Applied)
    }

    /// Stores a delivery as a dead letter with its `reason`, unless it was applied or stored
    /// before. `lease` as for [`Engine::apply_delivery`].
    ///
    /// # Errors
    /// `Conflict`, `Unavailable`, `Internal`.
    pub async fn dead_letter(
        &self,
        lease: &Lease,
        consumer: &str,
        delivery: &Delivery,
        reason: &str,
    ) -> Result<ApplyOutcome> {
        let mut transaction = self.shared.store.begin().await?;
        if let Some(known) = deduplicate(&mut transaction, lease, consumer, delivery).await? {
            return Ok(known);
        }
        let letter = IncomingDeadLetter {
            topic: delivery.topic.clone(),
            body: delivery.body.clone(),
            message_id: delivery.message_id.clone(),
            reason: reason.to_owned(),
        };
        dead_letters::store_incoming(&mut transaction, consumer, &letter).await?;
        store::commit(transaction).await?;
        Ok(ApplyOutcome::DeadLettered)
    }

    /// Applies events that did not arrive in a message, such as demo data.
    ///
    /// # Errors
    /// `Conflict`, `Unavailable`.
    pub async fn apply_events(&self, events: &[ExternalEvent]) -> Result<()> {
        let mut transaction = self.shared.store.begin().await?;
        self.apply(&mut transaction, events).await?;
        store::commit(transaction).await?;
        self.project(events).await;
        Ok(())
    }

    /// Decodes and applies a dead letter again, and removes it.
    ///
    /// # Errors
    /// `NotFound` when there is no such dead letter; `InvalidInput` when it still cannot be
    /// decoded: it is kept. `Conflict`, `Unavailable`.
    pub async fn retry_dead_letter(&self, id: i64, decoder: &dyn MessageDecoder) -> Result<()> {
        let mut transaction = self.shared.store.begin().await?;
        let taken = dead_letters::take_incoming(&mut transaction, id).await?;
        let letter = taken.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("No incoming dead letter has the id {id}."))
        })?;
        let delivery = Delivery {
            topic: letter.topic,
            body: letter.body,
            message_id: letter.message_id,
            ..Delivery::default()
        };
        let events = decoder.decode(&delivery)?;
        self.apply(&mut transaction, &events).await?;
        store::commit(transaction).await?;
        self.project(&events).await;
        Ok(())
    }

    /// Updates Redis with the products and users of `events`.
    pub(super) async fn project(&self, events: &[ExternalEvent]) {
        user_projection::project(&self.shared, events).await;
        let products: Vec<_> =
            events.iter().filter_map(product_of).map(ProductId::as_str).collect();
        stock_projection::project(&self.shared, &products).await;
    }

    /// Writes events. They are sorted by product, so that concurrent transactions lock products in
    /// the same order and cannot deadlock. Events of one product keep their order.
    pub(super) async fn apply(
        &self,
        connection: &mut Connection,
        events: &[ExternalEvent],
    ) -> Result<()> {
        let mut events: Vec<_> = events.iter().collect();
        events.sort_by_key(|event| product_of(event));
        let currency = self.shared.rules.currency;
        for event in events {
            match event {
                ExternalEvent::User(user) => users::upsert(connection, user).await?,
                ExternalEvent::LoggedIn(user) => {
                    list_publications::request(connection, user).await?;
                }
                ExternalEvent::Product(product) => {
                    catalog::upsert_product(connection, product, currency).await?;
                }
                ExternalEvent::Stock(stock) => self.reconcile(connection, stock).await?,
            }
        }
        Ok(())
    }

    async fn reconcile(&self, connection: &mut Connection, event: &StockEvent) -> Result<()> {
        let currency = self.shared.rules.currency;
        let locked = catalog::lock_level(connection, &event.product, currency).await?;
        let level = locked.level;
        let is_unchanged = level.reported == Some(event.quantity);
        if locked.recently_checked && !is_unchanged && event.order.is_none() {
            // A quote may be newer than this message, which would then look like a restock.
            // Messages count again once they agree with the last quote.
            return Ok(());
        }
        if let Some(order) = event.order {
            let context = stock_answers::context(connection, &event.product, order).await?;
            let outcome = reconcile_answer(&context, event.quantity);
            return stock_answers::apply(connection, &event.product, order, &outcome).await;
        }
        let fall = level.reported.map_or(0, |known| known.saturating_sub(event.quantity)).max(0);
        let holds = catalog::oldest_reservations(connection, &event.product, fall).await?;
        let reconciled = stock::reconcile(level, event.quantity, holds);
        catalog::apply_reconciled(connection, &event.product, &reconciled, false).await
    }
}

/// Stores the deduplication key of a delivery. Returns an outcome when the delivery must not be
/// applied. The lease row stays locked until the transaction ends.
async fn deduplicate(
    connection: &mut Connection,
    lease: &Lease,
    consumer: &str,
    delivery: &Delivery,
) -> Result<Option<ApplyOutcome>> {
    if !leases::confirm(connection, lease).await? {
        return Ok(Some(ApplyOutcome::LeaseLost));
    }
    let identity = MessageIdentity {
        consumer,
        message_id: delivery.message_id.as_deref(),
        body_hash: &body_hash(delivery),
        redelivered: delivery.redelivered,
    };
    let is_new = inbox::record(connection, &identity).await?;
    Ok((!is_new).then_some(ApplyOutcome::Duplicate))
}

fn product_of(event: &ExternalEvent) -> Option<&ProductId> {
    match event {
        ExternalEvent::User(_) | ExternalEvent::LoggedIn(_) => None,
        ExternalEvent::Product(product) => Some(&product.product),
        ExternalEvent::Stock(stock) => Some(&stock.product),
    }
}

/// The SHA-256 of topic and body.
pub(super) fn body_hash(delivery: &Delivery) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(delivery.topic.as_bytes());
    hash.update(b"\0");
    hash.update(&delivery.body);
    hash.finalize().into()
}
