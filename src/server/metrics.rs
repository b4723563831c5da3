//! Prometheus metrics: the counters of this process, and samples that other components provide when
//! `/metrics` is scraped. `docs/METRICS.md` lists them all.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::timeout;

use crate::engine::placing::PlacementResult;
use crate::error::Result;
use crate::metrics::{MetricsSource, Sample, SampleKind};
use crate::server::{exposition, media, process};

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// The operation label of requests that match no operation of the contract.
pub(super) const NO_OPERATION: &str = "none";
/// Timeout of one [`MetricsSource`].
const SAMPLING_TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    contract: &'static str,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    contract: &'static str,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShadowLabels {
    operation: String,
    outcome: &'static str,
}

/// The counters of the APIs, shared by all contracts of a process.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latencies: Family<OperationLabels, Histogram>,
    orders: Family<OutcomeLabel, Counter>,
    shadow_requests: Family<ShadowLabels, Counter>,
    subscriptions: Gauge,
    rate_limited: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(LATENCY_BUCKETS);
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            latencies: Family::new_with_constructor(histogram),
            orders: Family::default(),
            shadow_requests: Family::default(),
            subscriptions: Gauge::default(),
            rate_limited: Counter::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "order_engine_requests",
            "Requests by contract, operation and outcome",
            metrics.requests.clone(),
        );
        registry.register(
            "order_engine_request_duration_seconds",
            "Time from reading a request to its response",
            metrics.latencies.clone(),
        );
        registry.register(
            "order_engine_orders",
            "Order placements by outcome",
            metrics.orders.clone(),
        );
        registry.register(
            "order_engine_shadow_requests",
            "Shadow runs by outcome",
            metrics.shadow_requests.clone(),
        );
        registry.register(
            "order_engine_subscriptions",
            "Open subscriptions",
            metrics.subscriptions.clone(),
        );
        registry.register(
            "order_engine_rate_limited_requests",
            "Requests rejected by a rate limit",
            metrics.rate_limited.clone(),
        );
        metrics
    }

    /// Counts a request that a rate limit rejected.
    pub(super) fn rate_limited(&self) {
        self.rate_limited.inc();
    }

    /// Counts a request and its duration. The number of different labels must be small.
    pub fn request(
        &self,
        contract: &'static str,
        operation: &'static str,
        outcome: &'static str,
        time: Duration,
    ) {
        self.requests.get_or_create(&RequestLabels { contract, operation, outcome }).inc();
        let labels = OperationLabels { contract, operation };
        self.latencies.get_or_create(&labels).observe(time.as_secs_f64());
    }

    /// Counts a placement by its outcome: `PLACED`, `REPLAYED` or the error's code.
    pub fn placement(&self, result: &Result<PlacementResult>) {
        let outcome = match result {
            Ok(placed) if placed.replayed => "REPLAYED",
            Ok(_) => "PLACED",
            Err(error) => error.kind().code(),
        };
        self.orders.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts a shadow request. The number of different operations must be small.
    pub fn shadow_request(&self, operation: &str, outcome: &'static str) {
        let operation = operation.to_owned();
        self.shadow_requests.get_or_create(&ShadowLabels { operation, outcome }).inc();
    }

    /// Counts an open subscription until the returned guard is dropped.
    #[must_use]
    pub fn subscription(&self) -> OpenSubscription {
        self.subscriptions.inc();
        OpenSubscription(self.subscriptions.clone())
    }

    /// All metrics as OpenMetrics text, with the samples of `sources`. A source that does not
    /// respond in time is left out.
    ///
    /// # Errors
    /// If a metric cannot be encoded. The metrics of this crate always can.
    pub async fn text(
        &self,
        sources: &[Arc<dyn MetricsSource>],
    ) -> std::result::Result<String, std::fmt::Error> {
        let sampling = sources.iter().map(|source| timeout(SAMPLING_TIMEOUT, source.samples()));
        let sampled = join_all(sampling).await;
        let mut samples: Vec<Sample> = sampled.into_iter().flatten().flatten().collect();
        samples.extend(process::samples());
        let mut sampled = Registry::default();
        sampled.register_collector(Box::new(SampleCollector(samples)));
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &sampled)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// The label type of exemplars, which are not used.
type NoLabels = [(&'static str, &'static str); 0];

/// Encodes samples, grouped by name.
#[derive(Debug)]
struct SampleCollector(Vec<Sample>);

impl Collector for SampleCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::result::Result<(), std::fmt::Error> {
        for (at, first) in self.0.iter().enumerate() {
            if self.0[..at].iter().any(|earlier| earlier.name == first.name) {
                continue;
            }
            let kind = match first.kind {
                SampleKind::Gauge => MetricType::Gauge,
                SampleKind::Counter => MetricType::Counter,
            };
            let help = format!("{}.", first.help);
            let mut family = encoder.encode_descriptor(first.name, &help, None, kind)?;
            for sample in self.0.iter().filter(|sample| sample.name == first.name) {
                let mut metric = family.encode_family(&sample.labels)?;
                match sample.kind {
                    SampleKind::Gauge => metric.encode_gauge(&sample.value)?,
                    SampleKind::Counter => {
                        metric.encode_counter::<NoLabels, _, u64>(&sample.value, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Guard of an open subscription. Dropping it decrements the gauge.
pub struct OpenSubscription(Gauge);

impl Drop for OpenSubscription {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// State of `GET /metrics`.
#[derive(Clone)]
pub(super) struct MetricsEndpoint {
    pub metrics: Arc<Metrics>,
    pub sources: Arc<[Arc<dyn MetricsSource>]>,
}

/// `GET /metrics`.
pub(super) async fn show(State(endpoint): State<MetricsEndpoint>, headers: HeaderMap) -> Response {
    let text = match endpoint.metrics.text(&endpoint.sources).await {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "the metrics could not be encoded");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let (content_type, text) = match media::prefers_open_metrics(&headers) {
        true => (exposition::OPEN_METRICS, text),
        false => (exposition::PROMETHEUS, exposition::prometheus(&text)),
    };
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
