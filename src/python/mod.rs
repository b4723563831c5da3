//! The Python module `order_engine._native`: the only place that imports pyo3.
//!
//! `python/order_engine/_native.pyi` documents what is here; a test holds the two together.

mod bridge;
mod commands;
mod consumer;
mod engine;
mod errors;
mod guarded;
mod near;
mod records;
mod result_class;
mod runtime;
mod sinks;
mod switch;
mod types;
mod verbs;
mod web;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::commands::{
        adopt, describe_contract, describe_settings, described_contracts, doctor,
        events_dead_letters, events_replay, events_retry, events_skip, events_tail, migrate,
        mint_token, reset_test_database, seed_demo, serve, setting_variables, shadow_clear,
        shadow_ignore, shadow_report, switch, switches, undo_adoption, validate_settings, work,
    };
    #[pymodule_export]
    use super::consumer::{
        AsyncConsumer, Consumer, DeadLetterEvent, Delivery, Stop, consumer_dead_letters,
        consumer_retry, consumer_skip,
    };
    #[pymodule_export]
    use super::engine::{AsyncEngine, Engine};
    #[pymodule_export]
    use super::errors::error_kinds;
    #[pymodule_export]
    use super::sinks::{AsyncSinkFeed, SinkFeed, SinkMessage};
    #[pymodule_export]
    use super::switch::{Passage, Strangler};
    #[pymodule_export]
    use super::types::{
        Check, DemoCatalogue, Event, HistoryEntry, Order, OrderLine, OrderPage, ParkedMessage,
        Product, Replayed, Setting, ShadowCounts, ShadowDifference, ShadowReport, Switch, User,
    };
    #[pymodule_export]
    use super::web::{Answer, Pieces, Socket};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let shut_down = wrap_pyfunction!(super::runtime::shut_down, module)?;
        module.py().import("atexit")?.call_method1("register", (shut_down,))?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
