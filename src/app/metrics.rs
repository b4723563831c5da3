//! The samples of `/metrics`: each module makes its own, and this file collects them.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use crate::app::background::Counters;
use crate::engine::Engine;
use crate::metrics::{MetricsSource, Sample};
use crate::server::health::{Probe, is_up};

/// Everything that `/metrics` shows beside the requests and the process.
pub(super) struct EngineMetrics {
    pub engine: Engine,
    pub counters: Vec<Counters>,
    pub probes: Vec<Arc<dyn Probe>>,
}

impl MetricsSource for EngineMetrics {
    fn samples(&self) -> BoxFuture<'_, Vec<Sample>> {
        async {
            let mut samples = self.components().await;
            samples.extend(self.engine.store().connection_samples());
            let services = self.engine.upstream_stats();
            samples.extend(services.flat_map(|(service, stats)| stats.samples(service)));
            let contracts: Vec<_> = self.counters.iter().map(|one| one.contract).collect();
            match self.engine.store().message_samples(&contracts).await {
                Ok(messages) => samples.extend(messages),
                Err(error) => tracing::debug!(%error, "the stored messages could not be counted"),
            }
            samples.extend(self.counters.iter().flat_map(messaging));
            samples.extend(self.engine.cache_stats().iter().flat_map(|stats| stats.samples()));
            samples
        }
        .boxed()
    }
}

impl EngineMetrics {
    async fn components(&self) -> Vec<Sample> {
        let states = join_all(self.probes.iter().map(|probe| is_up(probe.as_ref()))).await;
        let sample = |(probe, is_up): (&Arc<dyn Probe>, bool)| {
            Sample::gauge(
                "order_engine_component_up",
                "Whether a component is available, as reported by /readyz",
                f64::from(u8::from(is_up)),
            )
            .with_label("component", probe.name())
        };
        self.probes.iter().zip(states).map(sample).collect()
    }
}

/// The samples of a contract's relay and consumer.
fn messaging(counters: &Counters) -> impl Iterator<Item = Sample> {
    let relay = counters.relay.iter().flat_map(|stats| stats.samples());
    let consumer = counters.consumer.iter().flat_map(|stats| stats.samples());
    relay.chain(consumer).map(|sample| sample.with_contract(counters.contract))
}
