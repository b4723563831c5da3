//! The operations on orders. Contracts, commands and the Python API go through them.

pub mod apply_external_event;
pub mod apply_message;
pub mod cache;
pub mod cancel_order;
pub mod change_status;
pub mod changes;
mod closed;
pub mod delete_order;
pub mod get_product;
pub mod get_user;
mod legacy_changes;
mod order_lists;
pub mod placing;
pub mod ports;
pub mod read_orders;
mod reads;
pub mod replay;
mod shared;
mod stock_projection;
mod stock_sweep;
mod transition;
mod upstream_checks;
pub mod upstream_stats;
mod user_projection;
mod watch_orders;

pub use crate::engine::shared::Rules;

use std::sync::Arc;

use tokio::sync::watch;

use crate::engine::cache::Cache;
use crate::engine::changes::Changes;
use crate::engine::placing::committer::{Committer, CommitterOptions};
use crate::engine::placing::contention::ContentionBackoff;
use crate::engine::ports::{EventEncoder, Ports};
use crate::engine::reads::Reads;
use crate::engine::shared::Shared;
use crate::engine::upstream_stats::UpstreamCounters;
use crate::store::Store;
use crate::store::database::Database;

/// The engine. Cheap to clone; all clones share their state.
#[derive(Clone)]
pub struct Engine<D = Store> {
    shared: Arc<Shared<D>>,
    committer: Committer,
}

impl<D: Database> Engine<D> {
    /// An engine on `store` without optional parts. Every event is encoded by each of `encoders`.
    /// Must be called on a tokio runtime, on which the committers then run.
    #[must_use]
    pub fn new(store: D, rules: Rules, encoders: Vec<Arc<dyn EventEncoder>>) -> Self {
        Self::with_ports(store, rules, encoders, Ports::default())
    }

    /// As [`Engine::new`], with optional parts.
    #[must_use]
    pub fn with_ports(
        store: D,
        rules: Rules,
        encoders: Vec<Arc<dyn EventEncoder>>,
        ports: Ports,
    ) -> Self {
        let cache = Cache::new(store.clone(), ports.orders.clone());
        Self::start(store, rules, encoders, ports, cache, CommitterOptions::default())
    }

    fn start(
        store: D,
        rules: Rules,
        encoders: Vec<Arc<dyn EventEncoder>>,
        ports: Ports,
        cache: Cache<D>,
        options: CommitterOptions,
    ) -> Self {
        let shared = Arc::new(Shared {
            reads: Reads::new(store.clone()),
            changes: Changes::new(store.clone()),
            store,
            rules,
            encoders,
            ports,
            cache,
            upstream: UpstreamCounters::default(),
            outbox_filled: watch::Sender::new(()),
            contention: ContentionBackoff::default(),
        });
        let committer = Committer::start(&shared, options);
        Self { shared, committer }
    }

    /// The database.
    #[must_use]
    pub fn store(&self) -> &D {
        &self.shared.store
    }

    /// Changes whenever this process has committed messages. No change is missed while the receiver
    /// is busy.
    #[must_use]
    pub fn outbox_filled(&self) -> watch::Receiver<()> {
        self.shared.outbox_filled.subscribe()
    }

    /// Wakes the relays after messages were written by other means than this engine.
    pub fn wake_relays(&self) {
        self.shared.outbox_filled.send_replace(());
    }

    /// Serves the queued requests, then closes the database.
    pub async fn close(&self) {
        self.committer.close().await;
        self.shared.store.close().await;
    }
}

impl Engine {
    /// An engine with the rules of this one that rolls its transactions on `store` back instead of
    /// committing them. It invalidates no cache, places each request by itself, and does not retry
    /// conflicts. Order numbers that it draws stay used.
    #[must_use]
    pub fn dry_run(&self, store: &Store) -> Self {
        let Shared { rules, encoders, .. } = self.shared.as_ref();
        let options = CommitterOptions { batch_max: 1, attempts_max: 1 };
        let store = store.dry_run();
        let cache = Cache::disabled(store.clone());
        Self::start(store, *rules, encoders.clone(), Ports::default(), cache, options)
    }
}
