//! What calls return: immutable objects that compare by value.

use chrono::{DateTime, Utc};
use pyo3::prelude::*;
use rust_decimal::Decimal;

use crate::app;
use crate::config::Described;
use crate::domain::order as domain;
use crate::domain::query::Page;
use crate::domain::status::OrderStatus;

macro_rules! result_class {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)+ }) => {
        $(#[$doc])*
        #[pyclass(frozen, eq, get_all, module = "order_engine._native")]
        #[derive(Clone, Debug, PartialEq)]
        pub(super) struct $name {
            $(pub $field: $type,)+
        }

        #[pymethods]
        impl $name {
            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                let fields = [$(
                    format!("{}={}", stringify!($field), slf.getattr(stringify!($field))?.repr()?),
                )+];
                Ok(format!("{}({})", stringify!($name), fields.join(", ")))
            }
        }
    };
}

result_class! {
    /// One line of an order.
    OrderLine {
        id: i64,
        product_id: String,
        name: String,
        quantity: u32,
        unit_price: Decimal,
    }
}

result_class! {
    /// An order as it stood when it was read.
    Order {
        id: i64,
        user_id: String,
        status: String,
        lines: Lines,
        total: Decimal,
        currency: String,
        address: Option<String>,
        version: i32,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

result_class! {
    /// Some orders, and where the next ones begin.
    OrderPage {
        orders: Orders,
        next_cursor: Option<String>,
    }
}

result_class! {
    /// One thing that happened to an order.
    HistoryEntry {
        version: i32,
        at: DateTime<Utc>,
        actor: String,
        action: String,
        previous_status: Option<String>,
        status: String,
        reason: Option<String>,
    }
}

result_class! {
    /// One setting as it would take effect.
    Setting {
        name: String,
        value: Option<String>,
        origin: String,
    }
}

result_class! {
    /// The state of one part the engine uses.
    Check {
        name: String,
        ok: bool,
        detail: String,
        remedy: Option<String>,
    }
}

result_class! {
    /// What the demo data consist of.
    DemoCatalogue {
        user_id: String,
        products: Vec<(String, String, Decimal, i64)>,
    }
}

result_class! {
    /// One thing that happened to an order, which the engine announces.
    Event {
        order_id: i64,
        version: i32,
        at: DateTime<Utc>,
        action: String,
        status: String,
        delivery: String,
    }
}

result_class! {
    /// A message set aside because it could not be sent, or not be understood.
    ParkedMessage {
        id: i64,
        direction: String,
        topic: String,
        order_id: Option<i64>,
        reason: String,
        attempts: i32,
        parked_at: DateTime<Utc>,
    }
}

/// The lines of an order: a tuple in Python.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lines(Vec<OrderLine>);

/// The orders of a page: a tuple in Python.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Orders(Vec<Order>);

macro_rules! as_tuple {
    ($name:ident) => {
        impl<'py> IntoPyObject<'py> for $name {
            type Target = pyo3::types::PyTuple;
            type Output = Bound<'py, Self::Target>;
            type Error = PyErr;

            fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
                pyo3::types::PyTuple::new(py, self.0)
            }
        }
    };
}

as_tuple!(Lines);
as_tuple!(Orders);

impl From<domain::Order> for Order {
    fn from(order: domain::Order) -> Self {
        Self {
            id: order.id.get(),
            user_id: order.user.to_string(),
            status: order.status.as_str().to_owned(),
            lines: Lines(order.lines.into_iter().map(OrderLine::from).collect()),
            total: order.total,
            currency: order.currency.to_string(),
            address: order.address,
            version: order.version,
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}

impl From<domain::Line> for OrderLine {
    fn from(line: domain::Line) -> Self {
        Self {
            id: line.id,
            product_id: line.product.to_string(),
            name: line.name,
            quantity: line.quantity,
            unit_price: line.unit_price,
        }
    }
}

impl From<Page> for OrderPage {
    fn from(page: Page) -> Self {
        let last = page.orders.last().map(|order| order.id.to_string());
        Self {
            next_cursor: last.filter(|_| page.has_next),
            orders: Orders(page.orders.into_iter().map(Order::from).collect()),
        }
    }
}

impl From<domain::HistoryEntry> for HistoryEntry {
    fn from(entry: domain::HistoryEntry) -> Self {
        Self {
            version: entry.version,
            at: entry.at,
            actor: entry.actor,
            action: entry.action,
            previous_status: entry.previous.map(OrderStatus::as_str).map(str::to_owned),
            status: entry.status.as_str().to_owned(),
            reason: entry.reason,
        }
    }
}

impl From<Described> for Setting {
    fn from(setting: Described) -> Self {
        Self { name: setting.name.to_owned(), value: setting.value, origin: setting.origin }
    }
}

impl From<app::Check> for Check {
    fn from(check: app::Check) -> Self {
        Self { name: check.name, ok: check.is_ok, detail: check.detail, remedy: check.remedy }
    }
}
