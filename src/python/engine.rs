//! `Engine` and `AsyncEngine`: the verbs for Python code in this process, to wait for and to await.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use rust_decimal::Decimal;

use crate::app::{App, Headers, Role};
use crate::config::{Needs, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::python::bridge::{promise, wait_for};
use crate::python::errors::raise;
use crate::python::types::{
    Check, Event, HistoryEntry, Order, OrderPage, ParkedMessage, PlacedRow, Product, Replayed, User,
};
use crate::python::verbs::{self, Opened, PastRow, Row};
use crate::python::web::{Answer, Piece, Pieces, Socket};
use crate::python::{records, runtime};

type Flags = HashMap<String, String>;

/// The engine in this process: a pool of database connections and the relay of events.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct Engine(Guarded);

/// The same engine for asyncio: every call gives a future of the loop that runs.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct AsyncEngine(Guarded);

/// Writes every verb twice.
macro_rules! verbs {
    ($($verb:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[pymethods]
        impl Engine {
            #[new]
            fn new(py: Python<'_>, flags: Flags) -> PyResult<Self> {
                records::start(py)?.map_err(|error| raise(py, &error))?;
                wait_for(py, open(flags)).map(Self)
            }

            fn close(&self, py: Python<'_>) -> PyResult<()> {
                wait_for(py, self.0.take(py))
            }

            $(fn $verb(&self, py: Python<'_>, $($argument: $type),*) -> PyResult<$answer> {
                let opened = self.0.get(py)?;
                wait_for(py, verbs::$verb(opened, $($argument),*))
            })+
        }

        #[pymethods]
        impl AsyncEngine {
            #[staticmethod]
            fn open(py: Python<'_>, flags: Flags) -> PyResult<Bound<'_, PyAny>> {
                records::start(py)?.map_err(|error| raise(py, &error))?;
                promise(py, async { open(flags).await.map(Self) })
            }

            fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                promise(py, self.0.take(py))
            }

            $(fn $verb<'py>(
                &self,
                py: Python<'py>,
                $($argument: $type),*
            ) -> PyResult<Bound<'py, PyAny>> {
                let opened = self.0.get(py)?;
                promise(py, verbs::$verb(opened, $($argument),*))
            })+
        }
    };
}

verbs! {
    place_order(
        user_id: String, items: Vec<(String, i64)>, idempotency_key: Option<String>
    ) -> Order;
    place_orders(rows: Vec<Row>) -> Vec<PlacedRow>;
    get_order(order_id: i64, user_id: Option<String>) -> Order;
    list_orders(
        user_id: Option<String>, status: Option<String>, first: i64, after: Option<String>
    ) -> OrderPage;
    change_status(order_id: i64, status: String) -> Order;
    cancel_order(order_id: i64, reason: Option<String>) -> Order;
    delete_order(order_id: i64) -> ();
    order_history(order_id: i64) -> Vec<HistoryEntry>;
    get_user(user_id: String) -> User;
    upsert_user(
        user_id: String,
        username: Option<String>,
        email: Option<String>,
        address: Option<String>,
        contact: Option<String>
    ) -> ();
    get_product(product_id: String) -> Product;
    upsert_product(
        product_id: String, name: String, price: Decimal, quantity: Option<i64>
    ) -> ();
    set_stock(product_id: String, quantity: i64) -> ();
    apply_event(routing_key: String, body: Vec<u8>, correlation_id: Option<String>) -> ();
    execute(
        query: String,
        variables_json: Option<String>,
        operation_name: Option<String>,
        headers: Headers
    ) -> String;
    answer(method: String, target: String, headers: Headers, body: Vec<u8>) -> Answer;
    next_piece(pieces: Pieces) -> Option<Piece>;
    open_socket(headers: Headers) -> Option<Socket>;
    events_tail(order_id: Option<i64>, limit: i64) -> Vec<Event>;
    events_parked(limit: i64) -> Vec<ParkedMessage>;
    events_retry(ids: Option<Vec<i64>>) -> usize;
    events_skip(ids: Vec<i64>) -> usize;
    events_replay(
        past: PastRow, contract: Option<String>, rate_per_s: i64, dry_run: bool
    ) -> Replayed;
    health() -> Vec<Check>;
}

async fn open(flags: Flags) -> Result<Guarded> {
    let load = || Settings::load(&flags, Path::new("."), Needs::DATABASE);
    let settings = load()?;
    let app = App::open(load()?, Role::Embedded).await?;
    let opened = Arc::new(Opened { app, settings });
    Ok(Guarded { process: std::process::id(), opened: Mutex::new(Some(opened)) })
}

/// An engine until it is closed, for the process that opened it.
struct Guarded {
    process: u32,
    opened: Mutex<Option<Arc<Opened>>>,
}

impl Guarded {
    fn lock(&self) -> MutexGuard<'_, Option<Arc<Opened>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open engine.
    fn get(&self, py: Python<'_>) -> PyResult<Arc<Opened>> {
        let refused = |text| raise(py, &Error::new(ErrorKind::Unavailable, text));
        if self.process != std::process::id() {
            return Err(refused(format!(
                "This engine was opened in process {} and cannot be used in its fork {}. \
                 Open an engine of its own after the fork.",
                self.process,
                std::process::id()
            )));
        }
        let opened = py.detach(|| self.lock().clone());
        opened.ok_or_else(|| refused("This engine is closed. Open a new one.".to_owned()))
    }

    /// Takes the engine away; the work that is returned closes it, also when nobody waits for it
    /// any longer. In a fork nothing is closed: the parent goes on using it.
    fn take(&self, py: Python<'_>) -> impl Future<Output = Result<()>> + Send + 'static {
        let is_ours = self.process == std::process::id();
        let opened = if is_ours { py.detach(|| self.lock().take()) } else { None };
        async {
            if let Some(opened) = opened {
                let closed = tokio::spawn(async move { opened.app.close().await });
                // It panics only with the engine, which has logged it.
                let _ = closed.await;
            }
            Ok(())
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let opened = self.opened.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(opened) = opened else { return };
        match runtime::get() {
            Ok(threads) if self.process == std::process::id() => {
                threads.spawn(async move { opened.app.close().await });
            }
            // In a fork, or as Python exits: closing would touch what belongs to the parent, or
            // to threads that are gone.
            _ => std::mem::forget(opened),
        }
    }
}
