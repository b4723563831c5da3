//! Metrics: what this process counts itself, and the figures that other parts give when they are
//! asked. `docs/METRICS.md` lists them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::{BoxFuture, join_all};
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
use crate::server::{exposition, media, process};

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// The operation of requests that name none of the contract's.
pub(super) const NO_OPERATION: &str = "none";
/// How long a part may take to give its figures.
const FIGURES_TIME_MAX: Duration = Duration::from_secs(4);

/// Whether a figure only ever grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FigureKind {
    /// It goes up and down.
    Gauge,
    /// It only grows; its name is shown with `_total` behind it.
    Counter,
}

/// One number of another part, such as the outbox's depth.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its whole name, units last: `order_engine_outbox_age_seconds`.
    pub name: &'static str,
    /// What it says, without a full stop.
    pub help: &'static str,
    /// How it moves.
    pub kind: FigureKind,
    /// What it is about, as label and value; the values come from short lists.
    pub labels: Vec<(&'static str, String)>,
    /// Its value now.
    pub value: f64,
}

impl Figure {
    /// A number that goes up and down.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind: FigureKind::Gauge, labels: Vec::new(), value }
    }

    /// A number that only grows.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind: FigureKind::Counter, labels: Vec::new(), value }
    }

    /// This number, of one contract.
    #[must_use]
    pub fn of(self, contract: impl Into<String>) -> Self {
        self.labelled("contract", contract)
    }

    /// This number, with one more label.
    #[must_use]
    pub fn labelled(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}

/// A part that has figures to show.
pub trait Figures: Send + Sync + 'static {
    /// The figures now; none when they cannot be told, for instance because the database is away.
    fn figures(&self) -> BoxFuture<'_, Vec<Figure>>;
}

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

/// What the doors count. One for all doors of a process.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latencies: Family<OperationLabels, Histogram>,
    orders: Family<OutcomeLabel, Counter>,
    shadowed: Family<ShadowLabels, Counter>,
    subscriptions: Gauge,
    rate_limited: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(LATENCY_BUCKETS);
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            latencies: Family::new_with_constructor(histogram),
            orders: Family::default(),
            shadowed: Family::default(),
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
            "Time from a request that has been read to its answer",
            metrics.latencies.clone(),
        );
        registry.register(
            "order_engine_orders",
            "Placements asked for, by outcome",
            metrics.orders.clone(),
        );
        registry.register(
            "order_engine_shadow_requests",
            "Requests that the engine rehearsed beside the old code, by outcome",
            metrics.shadowed.clone(),
        );
        registry.register(
            "order_engine_subscriptions",
            "Open subscriptions",
            metrics.subscriptions.clone(),
        );
        registry.register(
            "order_engine_rate_limited_requests",
            "Requests that were refused because their caller asked too often",
            metrics.rate_limited.clone(),
        );
        metrics
    }

    /// Counts a request whose caller asked too often.
    pub(super) fn rate_limited(&self) {
        self.rate_limited.inc();
    }

    /// Counts a request that a contract's door has answered. All labels come from short fixed
    /// lists.
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

    /// Counts a placement that was asked for: `PLACED`, `REPLAYED` or an error's code.
    pub fn placement(&self, placed: &Result<PlacementResult>) {
        let outcome = match placed {
            Ok(placed) if placed.replayed => "REPLAYED",
            Ok(_) => "PLACED",
            Err(error) => error.kind().code(),
        };
        self.orders.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts a request that was rehearsed beside the old code. The caller keeps the names few.
    pub fn shadowed(&self, operation: &str, outcome: &'static str) {
        let operation = operation.to_owned();
        self.shadowed.get_or_create(&ShadowLabels { operation, outcome }).inc();
    }

    /// Counts a subscription for as long as the answer lives.
    #[must_use]
    pub fn subscription(&self) -> OpenSubscription {
        self.subscriptions.inc();
        OpenSubscription(self.subscriptions.clone())
    }

    /// Everything as OpenMetrics text, with the figures of `parts`. A part that does not tell its
    /// own in time is left out.
    ///
    /// # Errors
    /// When a figure cannot be written, which no figure here can cause.
    pub async fn text(
        &self,
        parts: &[Arc<dyn Figures>],
    ) -> std::result::Result<String, std::fmt::Error> {
        let asked = parts.iter().map(|part| timeout(FIGURES_TIME_MAX, part.figures()));
        let told = join_all(asked).await;
        let mut figures: Vec<Figure> = told.into_iter().flatten().flatten().collect();
        figures.extend(process::figures());
        let mut asked = Registry::default();
        asked.register_collector(Box::new(Told(figures)));
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &asked)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// The labels of the exemplars that there are none of.
type NoLabels = [(&'static str, &'static str); 0];

/// What the parts told, those of one name beside each other.
#[derive(Debug)]
struct Told(Vec<Figure>);

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::result::Result<(), std::fmt::Error> {
        for (at, first) in self.0.iter().enumerate() {
            if self.0[..at].iter().any(|earlier| earlier.name == first.name) {
                continue;
            }
            let kind = match first.kind {
                FigureKind::Gauge => MetricType::Gauge,
                FigureKind::Counter => MetricType::Counter,
            };
            let help = format!("{}.", first.help);
            let mut family = encoder.encode_descriptor(first.name, &help, None, kind)?;
            for figure in self.0.iter().filter(|figure| figure.name == first.name) {
                let mut metric = family.encode_family(&figure.labels)?;
                match figure.kind {
                    FigureKind::Gauge => metric.encode_gauge(&figure.value)?,
                    FigureKind::Counter => {
                        metric.encode_counter::<NoLabels, _, u64>(&figure.value, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// An open subscription; dropping it counts it out.
pub struct OpenSubscription(Gauge);

impl Drop for OpenSubscription {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What `/metrics` shows.
#[derive(Clone)]
pub(super) struct Shown {
    pub metrics: Arc<Metrics>,
    pub figures: Arc<[Arc<dyn Figures>]>,
}

/// `GET /metrics`.
pub(super) async fn show(State(shown): State<Shown>, headers: HeaderMap) -> Response {
    let text = match shown.metrics.text(&shown.figures).await {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "metrics could not be written");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let (content_type, text) = match media::prefers_open_metrics(&headers) {
        true => (exposition::OPEN_METRICS, text),
        false => (exposition::PROMETHEUS, exposition::prometheus(&text)),
    };
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
