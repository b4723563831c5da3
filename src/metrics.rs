//! Samples for `/metrics`. The module that owns a number makes its sample.

use futures_util::future::BoxFuture;

/// The type of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SampleKind {
    /// The value can increase and decrease.
    Gauge,
    /// The value only increases. The suffix `_total` is added to its name.
    Counter,
}

/// A value that a component provides at scrape time, such as the number of outbox messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's full name with its unit, such as `order_engine_outbox_age_seconds`.
    pub name: &'static str,
    /// The help text, without a full stop.
    pub help: &'static str,
    /// The metric's type.
    pub kind: SampleKind,
    /// Labels and values. The number of different values must be small.
    pub labels: Vec<(&'static str, String)>,
    /// The current value.
    pub value: f64,
}

impl Sample {
    /// A gauge without labels.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind: SampleKind::Gauge, labels: Vec::new(), value }
    }

    /// A counter without labels.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind: SampleKind::Counter, labels: Vec::new(), value }
    }

    /// Adds the label `contract`.
    #[must_use]
    pub fn with_contract(self, contract: impl Into<String>) -> Self {
        self.with_label("contract", contract)
    }

    /// Adds a label.
    #[must_use]
    pub fn with_label(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}

/// A component that provides samples.
pub trait MetricsSource: Send + Sync + 'static {
    /// The current samples. Empty if they are unavailable, for example while the database is down.
    fn samples(&self) -> BoxFuture<'_, Vec<Sample>>;
}

/// A count as the value of a sample; exact below 2⁵³.
#[expect(clippy::cast_precision_loss, reason = "a metric is a float, and counts stay below 2^53")]
#[must_use]
pub const fn count(n: u64) -> f64 {
    n as f64
}
