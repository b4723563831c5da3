//! Asks the parts how they are.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::outbox::RelayStats;
use crate::server::health::Probe;

/// The state of one part, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The part.
    pub name: String,
    /// Whether it can be used as it is.
    pub is_ok: bool,
    /// What was found, and where.
    pub detail: String,
    /// What to do, where something is to be done.
    pub remedy: Option<String>,
}

/// PostgreSQL.
pub(super) struct Database(pub Engine);

impl Probe for Database {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    fn when_down(&self) -> &'static str {
        "Nothing can be read or written."
    }

    fn is_required(&self) -> bool {
        true
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        self.0.store().ping().boxed()
    }
}

/// What carries the messages of one or several contracts, as their relays see it.
pub(super) struct Broker {
    pub component: &'static str,
    pub relays: Vec<Arc<RelayStats>>,
}

impl Probe for Broker {
    fn name(&self) -> &'static str {
        self.component
    }

    fn when_down(&self) -> &'static str {
        "Orders are taken; their events wait in the outbox."
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

/// The copies of orders in Redis.
pub(super) struct Copies(pub Engine);

impl Probe for Copies {
    fn name(&self) -> &'static str {
        "cache"
    }

    fn when_down(&self) -> &'static str {
        "Orders are read from the database, and changed more slowly."
    }

    fn is_required(&self) -> bool {
        false
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        self.0.ping_cache().boxed()
    }
}

/// A part's state.
pub(super) async fn look(probe: &dyn Probe) -> Check {
    let name = probe.name().to_owned();
    match probe.check().await {
        Ok(()) => Check { name, is_ok: true, detail: "It answers.".to_owned(), remedy: None },
        Err(error) => Check {
            name,
            is_ok: false,
            detail: error.message().to_owned(),
            remedy: Some(format!("{} Start it.", probe.when_down())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_there_when_every_relay_has_it() {
        let relays = [Arc::<RelayStats>::default(), Arc::default()];
        let broker = Broker { component: "rabbitmq", relays: relays.to_vec() };
        let is_up = || broker.check().now_or_never().is_some_and(|state| state.is_ok());
        assert!(!is_up());
        relays[1].connected.store(true, Ordering::Relaxed);
        assert!(!is_up(), "one is not all");
        relays[0].connected.store(true, Ordering::Relaxed);
        assert!(is_up());
    }
}
