//! `Engine`: the verbs, for Python code in this process.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;

use crate::app::{App, Role};
use crate::config::{Needs, Settings};
use crate::domain::caller::Caller;
use crate::domain::ids::{IdempotencyKey, OrderId, ProductId, UserId};
use crate::domain::placement::{Item, PlaceOrder};
use crate::domain::query::{OrderFilter, checked_page_size};
use crate::domain::status::OrderStatus;
use crate::error::{Error, ErrorKind, Result};
use crate::python::bridge::wait_for;
use crate::python::errors::raise;
use crate::python::types::{Check, HistoryEntry, Order, OrderPage};

/// The engine in this process: a pool of database connections and the relay of events.
#[pyclass(frozen, module = "order_engine._native")]
pub(super) struct Engine {
    process: u32,
    app: Mutex<Option<Arc<App>>>,
}

#[pymethods]
impl Engine {
    #[new]
    fn new(py: Python<'_>, flags: HashMap<String, String>) -> PyResult<Self> {
        let app = wait_for(py, async move {
            let settings = Settings::load(&flags, Path::new("."), Needs::DATABASE)?;
            App::open(settings, Role::Embedded).await
        })?;
        Ok(Self { process: std::process::id(), app: Mutex::new(Some(Arc::new(app))) })
    }

    #[pyo3(signature = (user_id, items, idempotency_key=None))]
    fn place_order(
        &self,
        py: Python<'_>,
        user_id: String,
        items: Vec<(String, i64)>,
        idempotency_key: Option<String>,
    ) -> PyResult<Order> {
        self.call(py, |app| async move {
            let request = PlaceOrder {
                user: UserId::parse(user_id)?,
                items: items.into_iter().map(item).collect::<Result<_>>()?,
                key: idempotency_key.map(IdempotencyKey::parse).transpose()?,
            };
            let placed = app.engine().place_order(&Caller::System, request).await?;
            Ok(placed.order.into())
        })
    }

    #[pyo3(signature = (order_id, user_id=None))]
    fn get_order(&self, py: Python<'_>, order_id: i64, user_id: Option<String>) -> PyResult<Order> {
        self.call(py, move |app| async move {
            let id = number(order_id)?;
            let user = user_id.map(UserId::parse).transpose()?;
            let order = app.engine().get_order(&Caller::System, id).await?;
            if user.is_some_and(|user| user != order.user) {
                return Err(not_found(order_id));
            }
            Ok(order.into())
        })
    }

    #[pyo3(signature = (user_id=None, status=None, first=20, after=None))]
    fn list_orders(
        &self,
        py: Python<'_>,
        user_id: Option<String>,
        status: Option<String>,
        first: i64,
        after: Option<String>,
    ) -> PyResult<OrderPage> {
        self.call(py, move |app| async move {
            let filter = OrderFilter {
                user: user_id.map(UserId::parse).transpose()?,
                status: status.as_deref().map(OrderStatus::parse).transpose()?,
                after: after.as_deref().map(cursor).transpose()?,
            };
            let first = checked_page_size(first)?;
            Ok(app.engine().list_orders(&Caller::System, &filter, first).await?.into())
        })
    }

    fn change_status(&self, py: Python<'_>, order_id: i64, status: String) -> PyResult<Order> {
        self.call(py, move |app| async move {
            let to = OrderStatus::parse(&status)?;
            let id = number(order_id)?;
            Ok(app.engine().change_status(&Caller::System, id, to, None).await?.into())
        })
    }

    #[pyo3(signature = (order_id, reason=None))]
    fn cancel_order(
        &self,
        py: Python<'_>,
        order_id: i64,
        reason: Option<String>,
    ) -> PyResult<Order> {
        self.call(py, move |app| async move {
            let id = number(order_id)?;
            Ok(app.engine().cancel_order(&Caller::System, id, reason).await?.into())
        })
    }

    fn delete_order(&self, py: Python<'_>, order_id: i64) -> PyResult<()> {
        self.call(py, move |app| async move {
            app.engine().delete_order(&Caller::System, number(order_id)?).await.map(drop)
        })
    }

    fn order_history(&self, py: Python<'_>, order_id: i64) -> PyResult<Vec<HistoryEntry>> {
        self.call(py, move |app| async move {
            let history = app.engine().order_history(&Caller::System, number(order_id)?).await?;
            Ok(history.into_iter().map(HistoryEntry::from).collect())
        })
    }

    #[pyo3(signature = (query, variables_json=None, operation_name=None, token=None))]
    fn execute(
        &self,
        py: Python<'_>,
        query: String,
        variables_json: Option<String>,
        operation_name: Option<String>,
        token: Option<String>,
    ) -> PyResult<String> {
        self.call(py, move |app| async move {
            let variables = variables_json.as_deref();
            app.execute(query, variables, operation_name, token.as_deref()).await
        })
    }

    fn health(&self, py: Python<'_>) -> PyResult<Vec<Check>> {
        self.call(
            py,
            |app| async move { Ok(app.health().await.into_iter().map(Check::from).collect()) },
        )
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if self.process != std::process::id() {
            // The connections belong to the parent, which goes on using them.
            return Ok(());
        }
        let open = py.detach(|| self.lock().take());
        let Some(app) = open else { return Ok(()) };
        wait_for(py, async move {
            app.close().await;
            Ok(())
        })
    }
}

impl Engine {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<App>>> {
        self.app.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` with the open engine.
    fn call<T, F>(&self, py: Python<'_>, work: impl FnOnce(Arc<App>) -> F) -> PyResult<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let app = self.open_app().map_err(|error| raise(py, &error))?;
        wait_for(py, work(app))
    }

    fn open_app(&self) -> Result<Arc<App>> {
        if self.process != std::process::id() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "This engine was opened in process {} and cannot be used in its fork {}. \
                     Open an OrderEngine of its own after the fork.",
                    self.process,
                    std::process::id()
                ),
            ));
        }
        self.lock().clone().ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "This engine is closed. Open a new OrderEngine.")
        })
    }
}

fn item((product, quantity): (String, i64)) -> Result<Item> {
    let quantity = u32::try_from(quantity).map_err(|error| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("The quantity of product {product:?} must be 1 or more, not {quantity}."),
        )
        .because(error)
    })?;
    Ok(Item { product: ProductId::parse(product)?, quantity })
}

/// A number below 1 names no order.
fn number(order_id: i64) -> Result<OrderId> {
    OrderId::parse(&order_id.to_string()).ok_or_else(|| not_found(order_id))
}

fn not_found(order_id: i64) -> Error {
    Error::new(ErrorKind::NotFound, format!("Order with id {order_id} not found"))
}

fn cursor(after: &str) -> Result<OrderId> {
    OrderId::parse(after).ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, "after is not the next_cursor of an earlier page.")
    })
}
