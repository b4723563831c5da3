//! `Engine` and `AsyncEngine`: the verbs for Python code in this process, to wait for and to await.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use pyo3::prelude::*;
use rust_decimal::Decimal;

use crate::app::{App, Headers, Role};
use crate::config::{Needs, Settings};
use crate::error::Result;
use crate::python::bridge::{promise, promise_read, read, wait_for};
use crate::python::errors::raise;
use crate::python::guarded::{Guarded, Open};
use crate::python::records;
use crate::python::sinks::{AsyncSinkFeed, SinkFeed};
use crate::python::switch::Strangler;
use crate::python::types::{
    Check, Event, HistoryEntry, Order, OrderPage, ParkedMessage, PlacedRow, Product, Replayed, User,
};
use crate::python::verbs::{self, Opened, PastRow, Row};
use crate::python::web::{Answer, Piece, Pieces, Socket};

type Flags = HashMap<String, String>;

/// The engine in this process: a pool of database connections and the relay of events.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct Engine(Guarded<Opened>);

/// The same engine for asyncio: every call gives a future of the loop that runs.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct AsyncEngine(Guarded<Opened>);

/// Writes every verb twice: by what those who wait call it, and by what those who await do.
macro_rules! verbs {
    ($($wait:ident, $promise:ident => {
        $($verb:ident($($argument:ident: $type:ty),*) -> $answer:ty;)+
    })+) => {
        #[pymethods]
        impl Engine {
            #[new]
            #[pyo3(signature = (flags, sinks=Vec::new()))]
            fn new(py: Python<'_>, flags: Flags, sinks: Vec<String>) -> PyResult<Self> {
                records::start(py)?.map_err(|error| raise(py, &error))?;
                wait_for(py, open(flags, sinks)).map(Self)
            }

            fn sink_feeds(&self, py: Python<'_>) -> PyResult<Vec<SinkFeed>> {
                Ok(self.0.get(py)?.feeds.iter().cloned().map(SinkFeed).collect())
            }

            fn close(&self, py: Python<'_>) -> PyResult<()> {
                wait_for(py, self.0.take(py))
            }

            $($(fn $verb(&self, py: Python<'_>, $($argument: $type),*) -> PyResult<$answer> {
                let opened = self.0.get(py)?;
                $wait(py, verbs::$verb(opened, $($argument),*))
            })+)+
        }

        #[pymethods]
        impl AsyncEngine {
            #[staticmethod]
            #[pyo3(signature = (flags, sinks=Vec::new()))]
            fn open(
                py: Python<'_>,
                flags: Flags,
                sinks: Vec<String>,
            ) -> PyResult<Bound<'_, PyAny>> {
                records::start(py)?.map_err(|error| raise(py, &error))?;
                promise(py, async { open(flags, sinks).await.map(Self) })
            }

            fn sink_feeds(&self, py: Python<'_>) -> PyResult<Vec<AsyncSinkFeed>> {
                Ok(self.0.get(py)?.feeds.iter().cloned().map(AsyncSinkFeed).collect())
            }

            fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                promise(py, self.0.take(py))
            }

            $($(fn $verb<'py>(
                &self,
                py: Python<'py>,
                $($argument: $type),*
            ) -> PyResult<Bound<'py, PyAny>> {
                let opened = self.0.get(py)?;
                $promise(py, verbs::$verb(opened, $($argument),*))
            })+)+
        }
    };
}

verbs! {
    wait_for, promise => {
        place_order(
            user_id: String, items: Vec<(String, i64)>, idempotency_key: Option<String>
        ) -> Order;
        place_orders(rows: Vec<Row>) -> Vec<PlacedRow>;
        change_status(order_id: i64, status: String) -> Order;
        cancel_order(order_id: i64, reason: Option<String>) -> Order;
        delete_order(order_id: i64) -> ();
        upsert_user(
            user_id: String,
            username: Option<String>,
            email: Option<String>,
            address: Option<String>,
            contact: Option<String>
        ) -> ();
        upsert_product(
            product_id: String, name: String, price: Decimal, quantity: Option<i64>
        ) -> ();
        set_stock(product_id: String, quantity: i64) -> ();
        apply_event(
            routing_key: String,
            body: Vec<u8>,
            correlation_id: Option<String>,
            message_id: Option<String>,
            redelivered: bool
        ) -> ();
        execute(
            query: String,
            variables_json: Option<String>,
            operation_name: Option<String>,
            headers: Headers
        ) -> String;
        answer(method: String, target: String, headers: Headers, body: Vec<u8>) -> Answer;
        next_piece(pieces: Pieces) -> Option<Piece>;
        open_socket(headers: Headers) -> Option<Socket>;
        strangler() -> Strangler;
        events_tail(order_id: Option<i64>, limit: i64) -> Vec<Event>;
        events_dead_letters(limit: i64) -> Vec<ParkedMessage>;
        events_retry(ids: Option<Vec<i64>>) -> usize;
        events_skip(ids: Vec<i64>) -> usize;
        events_replay(
            past: PastRow, contract: Option<String>, rate_per_s: i64, dry_run: bool
        ) -> Replayed;
        health() -> Vec<Check>;
    }
    // Short: they ask the database once or twice, and write nothing. They ask nobody else: what
    // they started on the way, such as a link to Redis, would go on only while somebody reads.
    read, promise_read => {
        get_order(order_id: i64, user_id: Option<String>) -> Order;
        list_orders(
            user_id: Option<String>, status: Option<String>, first: i64, after: Option<String>
        ) -> OrderPage;
        order_history(order_id: i64) -> Vec<HistoryEntry>;
        get_user(user_id: String) -> User;
        get_product(product_id: String) -> Product;
    }
}

async fn open(flags: Flags, sinks: Vec<String>) -> Result<Guarded<Opened>> {
    let load = || Settings::load(&flags, Path::new("."), Needs::DATABASE);
    let settings = load()?;
    let (app, feeds) = App::open_with(load()?, Role::Embedded, &sinks).await?;
    let feeds = feeds.into_iter().map(Arc::new).collect();
    Ok(Guarded::new(Opened { app, settings, feeds }))
}

impl Open for Opened {
    const NAME: &str = "engine";

    async fn close(&self) {
        self.app.close().await;
    }
}
