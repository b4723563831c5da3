//! The tables of the simulated database, and the effects of the store's statements. It implements
//! the documentation of `src/store`; `tests/it/model.rs` compares it with PostgreSQL.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use order_engine::domain::event::OrderEvent;
use order_engine::domain::event::Recipient;
use order_engine::domain::ids::{OrderId, ProductId};
use order_engine::domain::message::{Message, OutgoingMessage};
use order_engine::domain::money::Currency;
use order_engine::domain::order::Order;
use order_engine::domain::placement::{Catalog, CatalogEntry};
use order_engine::domain::status::OrderStatus;
use order_engine::domain::stock::{Reservation, StockLevel, reconcile};
use order_engine::domain::stock_answer::{
    AnswerContext, CancellationProgress, CancelledLine, reconcile_answer,
};
use order_engine::domain::stream::Stream;
use order_engine::store::leases::{LEASE, LEASE_MAX, Lease};
use order_engine::store::outbox::{HeldPartitions, REJECTED_PAUSE_MAX, Rejection};
use order_engine::store::placing::PlannedOrder;
use order_engine::store::preparing::{IdempotencyRecord, Lookup, PlacementContext};
use rust_decimal::Decimal;
use uuid::Uuid;

/// A row of `products`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProductRow {
    pub name: String,
    pub price: Decimal,
    pub currency: Currency,
    pub level: StockLevel,
    pub ahead: i64,
}

/// A row of `cancelled_lines` without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelledRow {
    pub line: CancelledLine,
    pub put_back_after_order: Option<i64>,
}

/// A row of `order_history`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    pub event_id: Uuid,
    pub actor: String,
    pub action: &'static str,
    pub previous: Option<OrderStatus>,
    pub status: OrderStatus,
    pub reason: Option<String>,
    pub at: DateTime<Utc>,
}

/// A row of `outbox` without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    pub message_id: Uuid,
    pub message: Message,
    pub attempts: i32,
    pub not_before: Option<DateTime<Utc>>,
    pub is_dead_letter: bool,
}

/// The key of `outbox`: destination, order, version, id.
pub type Place = (String, i64, i32, i64);

/// A row of `leases` without its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    pub owner: Uuid,
    pub token: i64,
    pub expires_at: DateTime<Utc>,
}

/// A change that a transaction makes when it commits.
#[derive(Clone, Debug)]
pub enum Change {
    /// A placed order with its event, its key and its numbered messages.
    Place {
        event: OrderEvent,
        actor: String,
        reservations: Vec<(ProductId, i64)>,
        key: Option<(String, String, Vec<u8>)>,
        messages: Vec<(i64, Message)>,
    },
    /// Release of an order's remaining reservations.
    Release(OrderId),
    /// A changed order with its event and its numbered messages.
    Move { event: OrderEvent, actor: String, deleted: bool, messages: Vec<(i64, Message)> },
}

/// The committed state.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Each order, and whether it is deleted.
    pub orders: BTreeMap<i64, (Order, bool)>,
    pub history: BTreeMap<(i64, i32), HistoryRow>,
    pub products: BTreeMap<String, ProductRow>,
    pub reservations: BTreeMap<(String, i64), i64>,
    pub cancelled: BTreeMap<(String, i64), CancelledRow>,
    pub keys: BTreeMap<(String, String), (Vec<u8>, i64)>,
    pub outbox: BTreeMap<Place, OutboxRow>,
    pub leases: BTreeMap<String, LeaseRow>,
    order_ids: i64,
    line_ids: i64,
    message_ids: i64,
}

/// The partition of an order, of sixteen.
fn share_of(order: i64) -> i16 {
    i16::try_from(order & 15).expect("fifteen at most")
}

fn seconds(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).expect("a short time")
}

impl Tables {
    /// The contexts that `preparing::LOOK` and `preparing::PREPARE` return.
    pub fn contexts(&mut self, lookups: &[Lookup<'_>], at: DateTime<Utc>) -> Vec<PlacementContext> {
        let mut contexts = Vec::with_capacity(lookups.len());
        for lookup in lookups {
            self.order_ids += 1;
            let lines = i64::try_from(lookup.lines).expect("few lines");
            let line_ids = (self.line_ids + 1..=self.line_ids + lines).collect();
            self.line_ids += lines;
            contexts.push(PlacementContext {
                at,
                order: OrderId::from_database(self.order_ids),
                line_ids,
                record: lookup.key.and_then(|key| self.record(lookup.caller, key)),
                user_known: false,
                address: None,
                recipient: Recipient::default(),
            });
        }
        contexts
    }

    /// `preparing::EARLIER`.
    pub fn record(&self, caller: &str, key: &str) -> Option<IdempotencyRecord> {
        let found = self.keys.get(&(caller.to_owned(), key.to_owned()))?;
        let (fingerprint, order) = found.clone();
        Some(IdempotencyRecord { fingerprint, order: OrderId::from_database(order) })
    }

    /// The products that they return.
    pub fn catalog(&self, products: &[&str]) -> Catalog {
        let mut catalog = HashMap::new();
        for product in products {
            let Some(row) = self.products.get(*product) else { continue };
            let entry = CatalogEntry {
                name: Some(row.name.clone()),
                price: Some(row.price),
                currency: row.currency,
                level: row.level,
            };
            catalog.insert(ProductId::parse(*product).expect("a product id"), entry);
        }
        catalog
    }

    /// `orders::GET_PLACED`.
    pub fn placed(&self, id: OrderId) -> Option<Order> {
        let (order, _) = self.orders.get(&id.get())?;
        let at = order.created_at;
        Some(Order { status: OrderStatus::Pending, version: 1, updated_at: at, ..order.clone() })
    }

    /// The products that an order has reservations of, in lock order.
    pub fn reserved_products(&self, order: OrderId) -> Vec<String> {
        let held = self.reservations.keys().filter(|(_, holder)| *holder == order.get());
        held.map(|(product, _)| product.clone()).collect()
    }

    /// Numbers messages as they are written.
    pub fn number(&mut self, messages: &[Message]) -> Vec<(i64, Message)> {
        let mut numbered = Vec::with_capacity(messages.len());
        for message in messages {
            self.message_ids += 1;
            numbered.push((self.message_ids, message.clone()));
        }
        numbered
    }

    /// The changes of `placing::WRITE`.
    pub fn placings(&mut self, batch: &[PlannedOrder]) -> Vec<Change> {
        let placing = |decided: &PlannedOrder| Change::Place {
            event: decided.event.clone(),
            actor: decided.actor.clone(),
            reservations: decided.reservations.clone(),
            key: decided.key.clone(),
            messages: self.number(&decided.messages),
        };
        batch.iter().map(placing).collect()
    }

    /// Applies a change of a committed transaction.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Place { event, actor, reservations, key, messages } => {
                let order = event.order.id.get();
                for (product, quantity) in reservations {
                    let row = self.products.get_mut(product.as_str()).expect("a locked product");
                    row.level.reserved += quantity;
                    self.reservations.insert((product.as_str().to_owned(), order), quantity);
                }
                if let Some((caller, key, fingerprint)) = key {
                    self.keys.insert((caller, key), (fingerprint, order));
                }
                self.orders.insert(order, (event.order.clone(), false));
                self.note(&event, actor, messages);
            }
            Change::Release(order) => {
                self.expect_return(order);
                for product in self.reserved_products(order) {
                    let place = (product.clone(), order.get());
                    let quantity = self.reservations.remove(&place).expect("it is held");
                    let row = self.products.get_mut(&product).expect("a locked product");
                    row.level.reserved -= quantity;
                }
            }
            Change::Move { event, actor, deleted, messages } => {
                let (order, is_deleted) =
                    self.orders.get_mut(&event.order.id.get()).expect("a locked order");
                order.status = event.order.status;
                order.version = event.order.version;
                order.updated_at = event.at;
                *is_deleted |= deleted;
                self.note(&event, actor, messages);
            }
        }
    }

    fn note(&mut self, event: &OrderEvent, actor: String, messages: Vec<(i64, Message)>) {
        let place = (event.order.id.get(), event.order.version);
        let row = HistoryRow {
            event_id: event.id,
            actor,
            action: event.kind.as_str(),
            previous: event.previous,
            status: event.order.status,
            reason: event.reason.clone(),
            at: event.at,
        };
        assert!(self.history.insert(place, row).is_none(), "version {place:?} was written twice");
        for (id, message) in messages {
            let place = (message.destination.to_owned(), place.0, place.1, id);
            let row = OutboxRow {
                message_id: event.id,
                message,
                attempts: 0,
                not_before: None,
                is_dead_letter: false,
            };
            self.outbox.insert(place, row);
        }
    }

    /// Reports stock of a product, and returns the acknowledged reservations, oldest first.
    pub fn report(&mut self, product: &str, quantity: i64) -> Vec<Reservation> {
        let row = self.products.get_mut(product).expect("a known product");
        let reservations = self.reservations.iter().filter(|((of, _), _)| of == product);
        let reservations = reservations.map(|((_, order), quantity)| Reservation {
            order: OrderId::from_database(*order),
            quantity: *quantity,
        });
        let reconciled = reconcile(row.level, quantity, reservations.collect::<Vec<_>>());
        row.level.reported = Some(reconciled.reported);
        for hold in &reconciled.acknowledged {
            let place = (product.to_owned(), hold.order.get());
            let left = self.reservations[&place] - hold.quantity;
            match left {
                0 => self.reservations.remove(&place),
                _ => self.reservations.insert(place, left),
            };
            row.level.reserved -= hold.quantity;
        }
        reconciled.acknowledged
    }

    /// `orders::EXPECT_RETURN`.
    fn expect_return(&mut self, order: OrderId) {
        let mut units: BTreeMap<String, i64> = BTreeMap::new();
        for line in &self.orders[&order.get()].0.lines {
            *units.entry(line.product.as_str().to_owned()).or_default() += i64::from(line.quantity);
        }
        for (product, quantity) in units {
            let place = (product, order.get());
            let reserved = self.reservations.get(&place).copied().unwrap_or_default();
            let progress = CancellationProgress::Unanswered;
            let line = CancelledLine { quantity, reserved, progress };
            let row = CancelledRow { line, put_back_after_order: None };
            self.cancelled.entry(place).or_insert(row);
        }
    }

    /// Applies an answer that names its order, as the statements of `stock_answers` do, and returns
    /// the acknowledged units.
    pub fn answer(&mut self, product: &str, order: i64, quantity: i64) -> i64 {
        let place = (product.to_owned(), order);
        let row = &self.products[product];
        let cancelled = self.cancelled.iter().filter(|((of, _), _)| of == product);
        let (mut other_cancelled, mut put_back_since) = (0, 0);
        for ((_, of), CancelledRow { line, put_back_after_order }) in cancelled {
            if *of != order && line.progress != CancellationProgress::Answered {
                other_cancelled += line.reserved;
            }
            if put_back_after_order.is_some_and(|last| last >= order) {
                put_back_since += line.quantity;
            }
        }
        let reserved = self.reservations.remove(&place).unwrap_or_default();
        let context = AnswerContext {
            level: row.level,
            ahead: row.ahead,
            reserved,
            cancelled: self.cancelled.get(&place).map(|row| row.line),
            other_cancelled,
            put_back_since,
        };
        let outcome = reconcile_answer(&context, quantity);
        let row = self.products.get_mut(product).expect("a known product");
        row.level.reported = Some(outcome.reported);
        row.level.reserved -= reserved;
        row.ahead = outcome.ahead;
        if let Some(progress) = outcome.progress {
            let row = self.cancelled.get_mut(&place).expect("a cancelled order");
            row.line.progress = progress;
            if progress == CancellationProgress::Answered {
                row.put_back_after_order = self.orders.last_key_value().map(|(order, _)| *order);
            }
        }
        reserved
    }

    /// `outbox::CLAIM`.
    pub fn claim(
        &self,
        destination: &str,
        held: &HeldPartitions,
        except: &[String],
        limit: usize,
        now: DateTime<Utc>,
    ) -> Vec<OutgoingMessage> {
        let mut claimed = Vec::new();
        let mut last = None;
        for ((of, order, version, id), row) in &self.outbox {
            if of != destination || !held.contains_key(&share_of(*order)) || last == Some(*order) {
                continue;
            }
            last = Some(*order);
            let is_left_out = except.iter().any(|topic| *topic == row.message.topic);
            if is_left_out || self.waits(destination, *order, now) {
                continue;
            }
            claimed.push(OutgoingMessage {
                id: *id,
                message_id: row.message_id,
                stream: Stream::Order(OrderId::from_database(*order)),
                version: *version,
                topic: row.message.topic.clone().into_owned(),
                key: row.message.key.clone(),
                body: row.message.body.clone(),
                attempts: row.attempts,
                is_replayed: false,
            });
        }
        claimed.truncate(limit);
        claimed
    }

    /// Whether an order waits for a retry or is dead-lettered.
    fn waits(&self, destination: &str, order: i64, now: DateTime<Utc>) -> bool {
        let from = (destination.to_owned(), order, i32::MIN, i64::MIN);
        let to = (destination.to_owned(), order, i32::MAX, i64::MAX);
        let mut rows = self.outbox.range(from..=to);
        let bound = now + seconds(REJECTED_PAUSE_MAX);
        let is_ahead = |at: DateTime<Utc>| at > now && at <= bound;
        rows.any(|(_, row)| row.is_dead_letter || row.not_before.is_some_and(is_ahead))
    }

    /// Whether the leases prove that the order's partition still has the same owner.
    fn is_fenced_in(&self, held: &HeldPartitions, order: i64) -> bool {
        held.get(&share_of(order)).is_some_and(|lease| self.is_still(lease))
    }

    fn is_still(&self, lease: &Lease) -> bool {
        let row = self.leases.get(&lease.name);
        row.is_some_and(|row| row.token == lease.token && row.owner == lease.owner)
    }

    /// `outbox::MARK_SENT`; returns what it removed.
    pub fn delete_published(
        &mut self,
        destination: &str,
        held: &HeldPartitions,
        sent: &[&OutgoingMessage],
    ) -> Vec<(Place, OutboxRow)> {
        let mut removed = Vec::new();
        for message in sent {
            let place = place_of(destination, message);
            if self.is_fenced_in(held, place.1) {
                removed.extend(self.outbox.remove_entry(&place));
            }
        }
        removed
    }

    /// `outbox::NOTE_REFUSALS`.
    pub fn record_rejections(
        &mut self,
        destination: &str,
        held: &HeldPartitions,
        refusals: &[Rejection<'_>],
        attempts_max: i32,
        now: DateTime<Utc>,
    ) -> Vec<(i64, bool)> {
        let mut noted = Vec::new();
        for refusal in refusals {
            let place = place_of(destination, refusal.message);
            if !self.is_fenced_in(held, place.1) {
                continue;
            }
            let Some(row) = self.outbox.get_mut(&place) else { continue };
            row.attempts += 1;
            row.not_before = Some(now + seconds(refusal.delay));
            row.is_dead_letter = row.attempts >= attempts_max;
            noted.push((place.3, row.is_dead_letter));
        }
        noted
    }

    /// `dead_letters::RETRY_ALL_OUTGOING`.
    pub fn retry(&mut self) {
        for row in self.outbox.values_mut().filter(|row| row.is_dead_letter) {
            row.is_dead_letter = false;
            row.not_before = None;
            row.attempts = 0;
        }
    }

    /// `leases::CLAIM`.
    pub fn claim_leases(
        &mut self,
        owner: Uuid,
        names: &[String],
        limit: usize,
        now: DateTime<Utc>,
    ) -> Vec<Lease> {
        let mut names: Vec<_> = names.iter().collect();
        names.sort_unstable();
        let is_valid =
            |row: &LeaseRow| row.expires_at > now && row.expires_at <= now + seconds(LEASE_MAX);
        let is_free = |row: &LeaseRow| row.owner == owner || !is_valid(row);
        names.retain(|name| self.leases.get(*name).is_none_or(is_free));
        names.truncate(limit);
        let expires_at = now + seconds(LEASE);
        let mut claimed = Vec::with_capacity(names.len());
        for name in names {
            let token = self.leases.get(name).map_or(1, |row| row.token + 1);
            self.leases.insert(name.clone(), LeaseRow { owner, token, expires_at });
            claimed.push(Lease { name: name.clone(), owner, token });
        }
        claimed
    }

    /// `leases::RENEW`.
    pub fn renew_leases(&mut self, leases: &[Lease], now: DateTime<Utc>) -> Vec<Lease> {
        self.set_expiry(leases, now + seconds(LEASE))
    }

    /// `leases::RELEASE`.
    pub fn release_leases(&mut self, leases: &[Lease], now: DateTime<Utc>) {
        self.set_expiry(leases, now);
    }

    fn set_expiry(&mut self, leases: &[Lease], at: DateTime<Utc>) -> Vec<Lease> {
        let kept: Vec<_> = leases.iter().filter(|lease| self.is_still(lease)).cloned().collect();
        for lease in &kept {
            self.leases.get_mut(&lease.name).expect("it is there").expires_at = at;
        }
        kept
    }

    /// `leases::COUNT`.
    pub fn count_leases(&self, prefix: &str, now: DateTime<Utc>) -> usize {
        let named = self.leases.iter().filter(|(name, _)| name.starts_with(prefix));
        let bound = now + seconds(LEASE_MAX);
        named.filter(|(_, row)| row.expires_at > now && row.expires_at <= bound).count()
    }
}

fn place_of(destination: &str, message: &OutgoingMessage) -> Place {
    (destination.to_owned(), message.stream.id(), message.version, message.id)
}
