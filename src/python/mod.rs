//! The Python module `order_engine._native`: the only place that imports pyo3.
//!
//! The doc comments of what Python sees are its docstrings. `make generate` writes the stub
//! `_native.pyi` and the Python classes from them; a test checks that the files are up to date.

mod annotation;
mod arguments;
mod async_engine;
mod bridge;
mod commands;
mod consumer;
mod engine;
mod errors;
mod inline_runtime;
mod migration_router;
mod opened_engine;
mod process_bound;
mod records;
mod result_class;
mod runtime;
mod sinks;
mod types;
mod web;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::async_engine::AsyncEngine;
    #[pymodule_export]
    use super::commands::{
        adopt, describe_contract, describe_settings, described_contracts, doctor,
        events_dead_letters, events_replay, events_retry, events_skip, events_tail, migrate,
        mint_token, reset_test_database, routing_rules, seed_demo, serve, set_routing_rule,
        settings, shadow_clear, shadow_ignore, shadow_report, undo_adoption, unknown_variables,
        validate_settings, work,
    };
    #[pymodule_export]
    use super::consumer::{
        AsyncConsumer, Consumer, PyDeadLetterEvent, PyDelivery, Stop, consumer_dead_letters,
        consumer_retry, consumer_skip,
    };
    #[pymodule_export]
    use super::engine::PyEngine;
    #[pymodule_export]
    use super::errors::error_kinds;
    #[pymodule_export]
    use super::migration_router::{PyMigrationRouter, PyRoutingDecision};
    #[pymodule_export]
    use super::sinks::{AsyncSinkFeed, PySinkMessage, SinkFeed};
    #[pymodule_export]
    use super::types::{
        PyCheck, PyDeadLetter, PyDemoCatalog, PyDemoProduct, PyEvent, PyHistoryEntry, PyOrder,
        PyOrderLine, PyOrderPage, PyProduct, PyReplayProgress, PyRoutingRule, PySettingInfo,
        PySettingValue, PyShadowCounts, PyShadowDifference, PyShadowReport, PyUser,
    };
    #[pymodule_export]
    use super::web::{PyHttpResponse, PyResponseStream, PyWebSocket};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let shut_down = wrap_pyfunction!(super::runtime::shut_down, module)?;
        module.py().import("atexit")?.call_method1("register", (shut_down,))?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
