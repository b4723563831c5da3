//! Takes in what other services say: each delivery once, all its facts or none.

use sha2::{Digest, Sha256};

use crate::domain::fact::{Fact, StockFact};
use crate::domain::ids::ProductId;
use crate::domain::stock;
use crate::engine::ports::{Delivery, Interpreter};
use crate::engine::{Engine, stock_keys, user_keys};
use crate::error::{Error, ErrorKind, Result};
use crate::store::dead_letters::{self, IncomingDeadLetter};
use crate::store::inbox::{self, MessageIdentity};
use crate::store::leases::{self, Lease};
use crate::store::{Connection, catalog, lists, users};

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Its facts count from now on.
    New,
    /// It had been taken in before; nothing was changed.
    Repeated,
    /// It could not be applied and is a dead letter now.
    DeadLettered,
    /// Another process takes in now; nothing was changed, and the delivery is that one's.
    LeaseLost,
}

/// The lease of who takes in for `consumer`.
#[must_use]
pub fn intake_lease(consumer: &str) -> String {
    format!("intake:{consumer}")
}

impl Engine {
    /// Takes in the facts of a delivery, in one transaction with its identity. `lease` proves that
    /// nobody else takes in for `consumer`: what counts is the order in which the broker hands
    /// messages over.
    ///
    /// # Errors
    /// `InvalidInput` for a fact out of bounds, `Conflict`, `Unavailable`, `Internal`.
    pub async fn apply_facts(
        &self,
        lease: &Lease,
        consumer: &str,
        delivery: &Delivery,
        facts: &[Fact],
    ) -> Result<Taken> {
        let mut transaction = self.shared.store.begin().await?;
        if let Some(known) = recognise(&mut transaction, lease, consumer, delivery).await? {
            return Ok(known);
        }
        self.apply(&mut transaction, facts).await?;
        fail_point!("taking in: applied");
        self.shared.commit(transaction).await?;
        fail_point!("taking in: committed");
        self.show(facts).await;
        Ok(Taken::New)
    }

    /// Stores a delivery as a dead letter, with the reason, unless it was applied or stored before.
    /// `lease` as for [`Engine::apply_facts`].
    ///
    /// # Errors
    /// `Conflict`, `Unavailable`, `Internal`.
    pub async fn dead_letter(
        &self,
        lease: &Lease,
        consumer: &str,
        delivery: &Delivery,
        reason: &str,
    ) -> Result<Taken> {
        let mut transaction = self.shared.store.begin().await?;
        if let Some(known) = recognise(&mut transaction, lease, consumer, delivery).await? {
            return Ok(known);
        }
        let letter = IncomingDeadLetter {
            topic: delivery.topic.clone(),
            body: delivery.body.clone(),
            message_id: delivery.message_id.clone(),
            reason: reason.to_owned(),
        };
        dead_letters::store_incoming(&mut transaction, consumer, &letter).await?;
        self.shared.commit(transaction).await?;
        Ok(Taken::DeadLettered)
    }

    /// Takes in facts that no message brought, such as a demo's.
    ///
    /// # Errors
    /// `Conflict`, `Unavailable`.
    pub async fn note(&self, facts: &[Fact]) -> Result<()> {
        let mut transaction = self.shared.store.begin().await?;
        self.apply(&mut transaction, facts).await?;
        self.shared.commit(transaction).await?;
        self.show(facts).await;
        Ok(())
    }

    /// Decodes and applies the incoming dead letter `id`, and deletes it.
    ///
    /// # Errors
    /// `NotFound` when there is none with this id, `InvalidInput` when it still cannot be decoded;
    /// it stays then. `Conflict`, `Unavailable`.
    pub async fn retry_dead_letter(&self, id: i64, interpreter: &dyn Interpreter) -> Result<()> {
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
        let facts = interpreter.interpret(&delivery)?;
        self.apply(&mut transaction, &facts).await?;
        self.shared.commit(transaction).await?;
        self.show(&facts).await;
        Ok(())
    }

    /// Shows the stock of the products, and the users, that facts are about.
    pub(super) async fn show(&self, facts: &[Fact]) {
        user_keys::show(&self.shared, facts).await;
        let products: Vec<_> = facts.iter().filter_map(product_of).map(ProductId::as_str).collect();
        stock_keys::show(&self.shared, &products).await;
    }

    /// Writes facts. Products are taken in one order, so that nobody waits for each other; what is
    /// said twice of one product keeps its order.
    pub(super) async fn apply(&self, connection: &mut Connection, facts: &[Fact]) -> Result<()> {
        let mut facts: Vec<_> = facts.iter().collect();
        facts.sort_by_key(|fact| product_of(fact));
        let currency = self.shared.rules.currency;
        for fact in facts {
            match fact {
                Fact::User(user) => users::upsert(connection, user).await?,
                Fact::LoggedIn(user) => lists::mark(connection, user).await?,
                Fact::Product(product) => {
                    catalog::upsert_product(connection, product, currency).await?;
                }
                Fact::Stock(stock) => self.reconcile(connection, stock).await?,
            }
        }
        Ok(())
    }

    async fn reconcile(&self, connection: &mut Connection, fact: &StockFact) -> Result<()> {
        let currency = self.shared.rules.currency;
        let locked = catalog::lock_level(connection, &fact.product, currency).await?;
        let level = locked.level;
        let says_the_same = level.reported == Some(fact.quantity);
        if locked.asked_lately && !says_the_same && fact.order.is_none() {
            // The service may have been asked since it sent this, which then looks like a restock.
            // Messages take over when they say what the last answer said.
            return Ok(());
        }
        let reconciled = match fact.order {
            Some(order) => {
                let hold = catalog::hold_of(connection, &fact.product, order).await?;
                stock::reconcile_named(level, fact.quantity, hold)
            }
            None => {
                let fall =
                    level.reported.map_or(0, |known| known.saturating_sub(fact.quantity)).max(0);
                let holds = catalog::oldest_holds(connection, &fact.product, fall).await?;
                stock::reconcile(level, fact.quantity, holds)
            }
        };
        catalog::keep(connection, &fact.product, &reconciled, false).await
    }
}

/// Remembers a delivery; answers if it is not to be taken in here and now. The lease stays in its
/// hands until the transaction ends.
async fn recognise(
    connection: &mut Connection,
    lease: &Lease,
    consumer: &str,
    delivery: &Delivery,
) -> Result<Option<Taken>> {
    if !leases::confirm(connection, lease).await? {
        return Ok(Some(Taken::LeaseLost));
    }
    let identity = MessageIdentity {
        consumer,
        message_id: delivery.message_id.as_deref(),
        body_hash: &body_hash(delivery),
        redelivered: delivery.redelivered,
    };
    let is_new = inbox::record(connection, &identity).await?;
    Ok((!is_new).then_some(Taken::Repeated))
}

fn product_of(fact: &Fact) -> Option<&ProductId> {
    match fact {
        Fact::User(_) | Fact::LoggedIn(_) => None,
        Fact::Product(product) => Some(&product.product),
        Fact::Stock(stock) => Some(&stock.product),
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
