//! The use cases, one file per verb. Everything a contract, a command or Python does to an order
//! goes through here.

mod alone;
pub mod apply_external_event;
pub mod apply_message;
mod batch;
pub mod cache;
pub mod cancel_order;
pub mod catch_up;
pub mod change_status;
pub mod changes;
pub mod database;
pub mod delete_order;
pub mod find_orders;
pub mod get_product;
pub mod get_user;
mod lanes;
pub mod place_order;
pub mod ports;
mod queue;
mod read_through;
mod reads;
pub mod replay;
mod retelling;
mod stock_projection;
pub mod tell_lists;
mod transition;
mod upstream_checks;
pub mod upstream_stats;
mod user_projection;

use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::caller::Access;
use crate::domain::event::OrderEvent;
use crate::domain::message::Message;
use crate::domain::money::Currency;
use crate::domain::placement::PlacementLimits;
use crate::engine::alone::Luck;
use crate::engine::cache::Cache;
use crate::engine::changes::Changes;
use crate::engine::database::{Database, UnitOfWork};
use crate::engine::lanes::Lanes;
use crate::engine::ports::{EventEncoder, Ports};
use crate::engine::reads::Reads;
use crate::engine::upstream_stats::Asked;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;

/// What the engine's rules depend on. Settings.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What a valid token allows.
    pub access: Access,
    /// Bounds of a placement.
    pub placement: PlacementLimits,
    /// What the prices of new products are in.
    pub currency: Currency,
}

/// The engine. Cheap to clone; every clone is the same engine.
#[derive(Clone)]
pub struct Engine<D = Store> {
    shared: Arc<Shared<D>>,
    lanes: Lanes,
}

/// What whoever comes too late is told.
fn closed() -> Error {
    Error::new(ErrorKind::Unavailable, "The engine is shutting down. Try again.")
}

/// What every verb works with.
struct Shared<D = Store> {
    store: D,
    reads: Reads<D>,
    rules: Rules,
    encoders: Vec<Arc<dyn EventEncoder>>,
    ports: Ports,
    cache: Cache<D>,
    asked: Asked,
    outbox_filled: watch::Sender<()>,
    changes: Changes<D>,
    luck: Luck,
    /// Whether everything is undone instead of committed.
    is_rehearsal: bool,
}

impl<D: Database> Engine<D> {
    /// An engine on `store` that announces every event through each of `encoders`. Must be
    /// called on a tokio runtime, which its lanes then run on.
    #[must_use]
    pub fn new(store: D, rules: Rules, encoders: Vec<Arc<dyn EventEncoder>>) -> Self {
        Self::start(store, rules, encoders, Ports::default(), false)
    }

    /// As [`Engine::new`], with what it may do without.
    #[must_use]
    pub fn with_ports(
        store: D,
        rules: Rules,
        encoders: Vec<Arc<dyn EventEncoder>>,
        ports: Ports,
    ) -> Self {
        Self::start(store, rules, encoders, ports, false)
    }

    fn start(
        store: D,
        rules: Rules,
        encoders: Vec<Arc<dyn EventEncoder>>,
        ports: Ports,
        is_rehearsal: bool,
    ) -> Self {
        let changes = Changes::new(store.clone());
        let outbox_filled = watch::Sender::new(());
        let cache = Cache::new(store.clone(), ports.orders.clone());
        let shared = Arc::new(Shared {
            reads: Reads::new(store.clone()),
            store,
            rules,
            encoders,
            ports,
            cache,
            asked: Asked::default(),
            outbox_filled,
            changes,
            luck: Luck::default(),
            is_rehearsal,
        });
        let lanes = Lanes::start(&shared);
        Self { shared, lanes }
    }

    /// The database underneath, for the parts that are wired beside the engine.
    #[must_use]
    pub fn store(&self) -> &D {
        &self.shared.store
    }

    /// Changes whenever this process has something to send: for everyone who has asked, also for
    /// one who is busy at that moment and looks later.
    #[must_use]
    pub fn outbox_filled(&self) -> watch::Receiver<()> {
        self.shared.outbox_filled.subscribe()
    }

    /// Says that there is something to send, by other ways than the verbs of this engine.
    pub fn wake_relays(&self) {
        self.shared.outbox_filled.send_replace(());
    }

    /// Ends the lanes once what they hold is answered, and closes the database.
    pub async fn close(&self) {
        self.lanes.close().await;
        self.shared.store.close().await;
    }
}

impl Engine {
    /// An engine on the same database that decides, composes and writes as this one does, and then
    /// undoes it: nothing lasts, nothing is announced, and what it holds it gives back at once.
    /// Only the numbers of orders, lines and messages that it has drawn are gone. It keeps out of
    /// this one's way: see [`Store::aside`].
    #[must_use]
    pub fn rehearsal(&self) -> Self {
        let Shared { store, rules, encoders, .. } = self.shared.as_ref();
        Self::start(store.aside(), *rules, encoders.clone(), Ports::default(), true)
    }
}

impl<D: Database> Shared<D> {
    /// What every contract says about `event`.
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        let mut messages = Vec::with_capacity(self.encoders.len());
        for encoder in &self.encoders {
            messages.extend(encoder.encode(event)?);
        }
        Ok(messages)
    }

    /// Ends a transaction in which all is written. Nothing else comes to last, but for what a lone
    /// request writes by itself.
    async fn commit(&self, work: D::Work) -> Result<()> {
        match self.is_rehearsal {
            false => work.commit().await,
            true => work.roll_back().await,
        }
    }

    /// Wakes those who wait for news: the relays and the watchers.
    fn committed(&self) {
        self.outbox_filled.send_replace(());
        self.changes.hint();
    }
}
