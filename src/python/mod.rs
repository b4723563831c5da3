//! The Python module `order_engine._native`: the only place that imports pyo3.
//!
//! `python/order_engine/_native.pyi` documents what is here; a test holds the two together.

mod bridge;
mod commands;
mod engine;
mod errors;
mod records;
mod runtime;
mod types;
mod verbs;
mod web;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::commands::{
        describe_settings, doctor, events_parked, events_replay, events_retry, events_skip,
        events_tail, migrate, mint_token, seed_demo, serve, setting_variables, validate_settings,
        work,
    };
    #[pymodule_export]
    use super::engine::{AsyncEngine, Engine};
    #[pymodule_export]
    use super::errors::error_kinds;
    #[pymodule_export]
    use super::types::{
        Check, DemoCatalogue, Event, HistoryEntry, Order, OrderLine, OrderPage, ParkedMessage,
        Product, Replayed, Setting, User,
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
