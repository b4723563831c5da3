//! Probes of the components that the engine uses.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::app::background::Counters;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::outbox::RelayStats;
use crate::server::health::Probe;

/// The state of one component, to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The component.
    pub name: String,
    /// Whether it can be used.
    pub is_ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do about a problem.
    pub remedy: Option<String>,
}

/// PostgreSQL.
pub(super) struct DatabaseProbe(pub Engine);

impl Probe for DatabaseProbe {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    fn when_down(&self) -> &'static str {
        "Orders cannot be read or written."
    }

    fn is_required(&self) -> bool {
        true
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        self.0.store().ping().boxed()
    }
}

/// A broker, as the relays of one or several contracts see it.
pub(super) struct BrokerProbe {
    pub component: &'static str,
    pub relays: Vec<Arc<RelayStats>>,
}

impl Probe for BrokerProbe {
    fn name(&self) -> &'static str {
        self.component
    }

    fn when_down(&self) -> &'static str {
        "Orders are accepted; their events stay in the outbox."
    }

    fn is_required(&self) -> bool {
        false
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        let component = self.component;
        let connected = self.relays.iter().all(|relay| relay.connected.load(Ordering::Relaxed));
        async move {
            if connected {
                return Ok(());
            }
            let text = format!("The relay is not connected to {component}.");
            Err(Error::new(ErrorKind::Unavailable, text).with("component", component))
        }
        .boxed()
    }
}

/// One probe for each broker that a relay uses.
pub(super) fn brokers(counters: &[Counters]) -> Vec<Arc<dyn Probe>> {
    let mut brokers: Vec<BrokerProbe> = Vec::new();
    for Counters { component, relay, .. } in counters {
        let Some(relay) = relay.clone() else { continue };
        match brokers.iter_mut().find(|broker| broker.component == *component) {
            Some(broker) => broker.relays.push(relay),
            None => brokers.push(BrokerProbe { component, relays: vec![relay] }),
        }
    }
    brokers.into_iter().map(|broker| Arc::new(broker) as Arc<dyn Probe>).collect()
}

/// The cache of orders in Redis.
pub(super) struct OrderCacheProbe(pub Engine);

impl Probe for OrderCacheProbe {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn when_down(&self) -> &'static str {
        "Orders are read from the database, and changes take longer."
    }

    fn is_required(&self) -> bool {
        false
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        self.0.ping_cache().boxed()
    }
}

/// The state of a component.
pub(super) async fn check(probe: &dyn Probe) -> Check {
    let name = probe.name().to_owned();
    match probe.check().await {
        Ok(()) => Check { name, is_ok: true, detail: "It responds.".to_owned(), remedy: None },
        Err(error) => Check {
            name,
            is_ok: false,
            detail: error.finding().to_owned(),
            remedy: Some(format!(
                "{} {}",
                probe.when_down(),
                error.advice().unwrap_or("Start it.")
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_up_when_every_relay_is_connected() {
        let relays = [Arc::<RelayStats>::default(), Arc::default()];
        let broker = BrokerProbe { component: "rabbitmq", relays: relays.to_vec() };
        let is_up = || broker.check().now_or_never().is_some_and(|state| state.is_ok());
        assert!(!is_up());
        relays[1].connected.store(true, Ordering::Relaxed);
        assert!(!is_up(), "one of two is connected");
        relays[0].connected.store(true, Ordering::Relaxed);
        assert!(is_up());
    }
}
