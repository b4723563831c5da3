//! What calls return: immutable objects that compare by value.

use chrono::{DateTime, Utc};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use rust_decimal::Decimal;

use crate::app;
use crate::config::Described;
use crate::domain::ids::OrderId;
use crate::domain::order as domain;
use crate::domain::query::Page;
use crate::domain::status::OrderStatus;
use crate::domain::{product, user};
use crate::error::Result;
use crate::operations::{self, DeadLetter};
use crate::python::errors::raise;
use crate::python::result_class::{plain, result_class};

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
        status: Status,
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
        previous_status: Option<Status>,
        status: Status,
        reason: Option<String>,
    }
}

result_class! {
    /// A product of the catalogue, and how many of it there are.
    Product {
        product_id: String,
        name: Option<String>,
        price: Option<Decimal>,
        currency: String,
        reported: Option<i64>,
        reserved: i64,
        available: i64,
        updated_at: DateTime<Utc>,
    }
}

result_class! {
    /// A user as other services have announced one.
    User {
        user_id: String,
        username: Option<String>,
        email: Option<String>,
        address: Option<String>,
        contact: Option<String>,
        updated_at: DateTime<Utc>,
    }
}

result_class! {
    /// What a replay of the past has done so far.
    Replayed {
        events: u64,
        messages: u64,
        waiting: u64,
        cursor: Option<String>,
        until: DateTime<Utc>,
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
        status: Status,
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
        dead_lettered_at: DateTime<Utc>,
    }
}

result_class! {
    /// Who answers one operation.
    Switch {
        operation: String,
        stage: Option<String>,
        percent: Option<u8>,
        users: Words,
        ignored: Words,
        updated_at: DateTime<Utc>,
    }
}

result_class! {
    /// What became of the shadowed requests of one operation.
    ShadowCounts {
        operation: String,
        matched: i64,
        differed: i64,
        unsettled: i64,
        failed: i64,
        skipped: i64,
        since: DateTime<Utc>,
    }
}

result_class! {
    /// A request that the engine would have answered otherwise.
    ShadowDifference {
        id: i64,
        operation: String,
        at: DateTime<Utc>,
        request: String,
        legacy_status: u16,
        legacy: String,
        engine_status: u16,
        engine: String,
        paths: Words,
    }
}

result_class! {
    /// What shadowed requests have shown.
    ShadowReport {
        counts: AllCounts,
        differences: Differences,
    }
}

/// A status: a member of `OrderStatus` in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Status(OrderStatus);

impl<'py> IntoPyObject<'py> for Status {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        CLASS.import(py, "order_engine.status", "OrderStatus")?.call1((self.0.as_str(),))
    }
}

impl FromPyObject<'_, '_> for Status {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let text: String = value.extract()?;
        OrderStatus::parse(&text).map(Self).map_err(|error| raise(value.py(), &error))
    }
}

/// The lines of an order: a tuple in Python.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lines(Vec<OrderLine>);

/// The orders of a page: a tuple in Python.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Orders(Vec<Order>);

/// Names: a tuple in Python.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Words(Vec<String>);

/// The counts of a report: a tuple in Python.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AllCounts(Vec<ShadowCounts>);

/// The differences of a report: a tuple in Python.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Differences(Vec<ShadowDifference>);

macro_rules! as_tuple {
    ($name:ident, $member:ty) => {
        impl<'py> IntoPyObject<'py> for $name {
            type Target = PyTuple;
            type Output = Bound<'py, Self::Target>;
            type Error = PyErr;

            fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
                PyTuple::new(py, self.0)
            }
        }

        impl FromPyObject<'_, '_> for $name {
            type Error = PyErr;

            fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
                value.extract::<Vec<$member>>().map(Self)
            }
        }
    };
}

as_tuple!(Lines, OrderLine);
as_tuple!(Orders, Order);
as_tuple!(Words, String);
as_tuple!(AllCounts, ShadowCounts);
as_tuple!(Differences, ShadowDifference);

/// What became of one row of several: an order, or the exception as a value.
pub(super) struct PlacedRow(pub Result<Order>);

impl<'py> IntoPyObject<'py> for PlacedRow {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        match self.0 {
            Ok(order) => order.into_bound_py_any(py),
            Err(error) => Ok(raise(py, &error).into_value(py).into_bound(py).into_any()),
        }
    }
}

impl From<domain::Order> for Order {
    fn from(order: domain::Order) -> Self {
        Self {
            id: order.id.get(),
            user_id: order.user.to_string(),
            status: Status(order.status),
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

impl From<domain::OrderLine> for OrderLine {
    fn from(line: domain::OrderLine) -> Self {
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
            previous_status: entry.previous.map(Status),
            status: Status(entry.status),
            reason: entry.reason,
        }
    }
}

impl From<product::Product> for Product {
    fn from(product: product::Product) -> Self {
        Self {
            product_id: product.id.to_string(),
            name: product.name,
            price: product.price,
            currency: product.currency.to_string(),
            reported: product.level.reported,
            reserved: product.level.reserved,
            available: product.level.available(),
            updated_at: product.updated_at,
        }
    }
}

impl From<user::User> for User {
    fn from(user: user::User) -> Self {
        Self {
            user_id: user.id.to_string(),
            username: user.username,
            email: user.email,
            address: user.address,
            contact: user.contact,
            updated_at: user.updated_at,
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

impl From<(domain::HistoryEntry, &'static str)> for Event {
    fn from((entry, delivery): (domain::HistoryEntry, &'static str)) -> Self {
        Self {
            order_id: entry.order.get(),
            version: entry.version,
            at: entry.at,
            action: entry.action,
            status: Status(entry.status),
            delivery: delivery.to_owned(),
        }
    }
}

impl From<operations::Replayed> for Replayed {
    fn from(replayed: operations::Replayed) -> Self {
        Self {
            events: replayed.events,
            messages: replayed.messages,
            waiting: replayed.waiting,
            cursor: replayed.told.map(|position| position.to_string()),
            until: replayed.until,
        }
    }
}

impl From<DeadLetter> for ParkedMessage {
    fn from(message: DeadLetter) -> Self {
        Self {
            id: message.id,
            direction: message.direction,
            topic: message.topic,
            order_id: message.order.map(OrderId::get),
            reason: message.reason,
            attempts: message.attempts,
            dead_lettered_at: message.dead_lettered_at,
        }
    }
}

impl From<operations::SetSwitch> for Switch {
    fn from(set: operations::SetSwitch) -> Self {
        Self {
            operation: set.operation,
            stage: set.switch.stage.map(|stage| stage.as_str().to_owned()),
            percent: set.switch.percent,
            users: Words(set.switch.users),
            ignored: Words(set.switch.ignored),
            updated_at: set.updated_at,
        }
    }
}

impl From<operations::Report> for ShadowReport {
    fn from(report: operations::Report) -> Self {
        let counts = report.counts.into_iter().map(|(operation, counts, since)| ShadowCounts {
            operation,
            matched: counts.matched,
            differed: counts.differed,
            unsettled: counts.unsettled,
            failed: counts.failed,
            skipped: counts.skipped,
            since,
        });
        let differences = report.differences.into_iter().map(|(id, one)| ShadowDifference {
            id,
            operation: one.operation,
            at: one.at,
            request: one.request,
            legacy_status: one.legacy.0,
            legacy: one.legacy.1,
            engine_status: one.engine.0,
            engine: one.engine.1,
            paths: Words(one.paths),
        });
        Self {
            counts: AllCounts(counts.collect()),
            differences: Differences(differences.collect()),
        }
    }
}
