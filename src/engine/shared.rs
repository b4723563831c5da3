//! What all operations of an engine share.

use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::caller::Access;
use crate::domain::event::OrderEvent;
use crate::domain::message::Message;
use crate::domain::money::Currency;
use crate::domain::placement::PlacementLimits;
use crate::engine::cache::Cache;
use crate::engine::changes::Changes;
use crate::engine::placing::contention::ContentionBackoff;
use crate::engine::ports::{EventEncoder, Ports};
use crate::engine::reads::Reads;
use crate::engine::upstream_stats::UpstreamCounters;
use crate::error::Result;
use crate::store::Store;

/// The rules that settings can change.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// What a valid token allows.
    pub access: Access,
    /// Limits of a placement request.
    pub placement: PlacementLimits,
    /// The currency of new products.
    pub currency: Currency,
}

/// The parts of an engine.
pub(super) struct Shared<D = Store> {
    pub store: D,
    pub reads: Reads<D>,
    pub rules: Rules,
    pub encoders: Vec<Arc<dyn EventEncoder>>,
    pub ports: Ports,
    pub cache: Cache<D>,
    pub upstream: UpstreamCounters,
    /// Changes when this process has committed messages.
    pub outbox_filled: watch::Sender<()>,
    pub changes: Changes<D>,
    pub contention: ContentionBackoff,
}

impl<D> Shared<D> {
    /// The messages of every contract for `event`.
    ///
    /// # Errors
    /// As [`EventEncoder::encode`].
    pub(super) fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>> {
        let mut messages = Vec::with_capacity(self.encoders.len());
        for encoder in &self.encoders {
            messages.extend(encoder.encode(event)?);
        }
        Ok(messages)
    }

    /// The messages of every contract for each of `events`.
    ///
    /// # Errors
    /// As [`EventEncoder::encode`].
    pub(super) fn encode_all(
        &self,
        events: Vec<OrderEvent>,
    ) -> Result<Vec<(OrderEvent, Vec<Message>)>> {
        let encoded = events.into_iter().map(|event| {
            let messages = self.encode(&event)?;
            Ok((event, messages))
        });
        encoded.collect()
    }

    /// Wakes the relays and the order subscriptions of this process.
    pub(super) fn notify_committed(&self) {
        self.outbox_filled.send_replace(());
        self.changes.hint();
    }
}
