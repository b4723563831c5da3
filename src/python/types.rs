//! The result classes of the engine's operations.

use chrono::{DateTime, Utc};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use rust_decimal::Decimal;

use crate::app;
use crate::config;
use crate::domain::ids::OrderId;
use crate::domain::money::with_cents;
use crate::domain::order as domain;
use crate::domain::query::OrderPage;
use crate::domain::status::OrderStatus;
use crate::domain::{product, user};
use crate::error::Result;
use crate::operations::{self, DeadLetter};
use crate::python::annotation::Annotation;
use crate::python::errors::raise;
use crate::python::result_class::{self, Tuple, result_class};
use crate::setting::Setting;

result_class! {
    /// One line of an order: a product, its price and a quantity.
    PyOrderLine as "OrderLine" {
        /// The line's number, unique among the lines of all orders.
        id: i64,
        /// The product's id.
        product_id: String,
        /// The product's name when the order was placed.
        name: String,
        /// Number of units, at least 1.
        quantity: u32,
        /// Price of one unit when the order was placed, in the order's currency.
        unit_price: Money,
    }
}

result_class! {
    /// An order as it was when it was read.
    PyOrder as "Order" {
        /// The order's number, at least 1.
        id: i64,
        /// Id of the customer.
        user_id: String,
        /// The order's status; equal to its text, such as `"pending"`.
        status: Status,
        /// The lines in the order in which they were given.
        lines: Tuple<PyOrderLine>,
        /// Sum of the lines; for an order of the contract `jobs`, what its client stated.
        total: Money,
        /// Currency of all amounts, an ISO 4217 code such as `USD`.
        currency: String,
        /// Delivery address at the time of placement; None if it was not known.
        address: Option<String>,
        /// Starts at 1 and increases by 1 with every change.
        version: i32,
        /// Time of placement.
        created_at: DateTime<Utc>,
        /// Time of the latest change.
        updated_at: DateTime<Utc>,
    }
}

result_class! {
    /// One page of orders.
    PyOrderPage as "OrderPage" {
        /// The orders, at most `limit`.
        orders: Tuple<PyOrder>,
        /// The `cursor` argument that reads the next page; None on the last page.
        next_cursor: Option<String>,
    }
}

result_class! {
    /// One change of an order.
    PyHistoryEntry as "HistoryEntry" {
        /// The order's version after the change.
        version: i32,
        /// Time of the change.
        at: DateTime<Utc>,
        /// Who made the change: a user id, the `actor` of the call, or `system`.
        actor: String,
        /// Kind of change: `placed`, `updated` or `deleted`.
        action: String,
        /// Status before the change; None for the first entry.
        previous_status: Option<Status>,
        /// Status after the change.
        status: Status,
        /// The `reason` of the call, if one was given.
        reason: Option<String>,
    }
}

result_class! {
    /// A product of the catalog and its stock.
    PyProduct as "Product" {
        /// The product's id.
        product_id: String,
        /// Display name; None while only the stock is known.
        name: Option<String>,
        /// Price of one unit; None while only the stock is known.
        price: Option<Money>,
        /// Currency of the price, an ISO 4217 code.
        currency: String,
        /// Units in stock as last reported by the product service; None before the first report.
        reported: Option<i64>,
        /// Units reserved by orders that the reported stock does not account for yet.
        reserved: i64,
        /// Units that can be ordered now: `reported` minus `reserved`, at least 0.
        available: i64,
        /// Time of the latest change.
        updated_at: DateTime<Utc>,
    }
}

result_class! {
    /// A user as published by other services or set with `upsert_user`.
    PyUser as "User" {
        /// The user's id.
        user_id: String,
        /// Display name, if known.
        username: Option<String>,
        /// Email address, if known.
        email: Option<String>,
        /// Delivery address of new orders, if known.
        address: Option<String>,
        /// Telephone number or other contact, if known.
        contact: Option<String>,
        /// Time of the latest change.
        updated_at: DateTime<Utc>,
    }
}

result_class! {
    /// Progress or result of a replay.
    PyReplayProgress as "ReplayProgress" {
        /// Events processed so far.
        events: u64,
        /// Messages written to the outbox; with `dry_run`, messages that would be written.
        messages: u64,
        /// Replayed messages that were not published yet when this was counted.
        waiting: u64,
        /// The `after` argument that resumes behind the last event; None before the first event.
        cursor: Option<String>,
        /// Only events before this time are replayed. Pass it on to resume the same replay.
        until: DateTime<Utc>,
    }
}

result_class! {
    /// One setting and its effective value.
    PySettingValue as "SettingValue" {
        /// Name of the setting, such as `database_url`.
        name: String,
        /// Effective value; secrets are masked. None if there is no value.
        value: Option<String>,
        /// Origin of the value.
        ///
        /// `flag`, `environment (DATABASE_URL)`, `.env (DATABASE_URL)`, `order-engine.toml`,
        /// `default` or `not set`.
        origin: String,
    }
}

result_class! {
    /// Description of one setting.
    PySettingInfo as "SettingInfo" {
        /// Name of the setting, such as `database_url`.
        name: String,
        /// Environment variables that set it; the first one that is set wins.
        variables: Tuple<String>,
        /// Default value as text; empty if there is none.
        default: String,
        /// Whether the value is a secret and must not be shown.
        secret: bool,
        /// What the setting does, with unit and range.
        help: String,
    }
}

result_class! {
    /// Health of one part that the engine uses.
    PyCheck as "Check" {
        /// Name of the part, such as `postgresql`.
        name: String,
        /// Whether the part works.
        ok: bool,
        /// What was found, and at which address. Contains no secrets.
        detail: String,
        /// What to do; None if nothing is to be done.
        remedy: Option<String>,
    }
}

result_class! {
    /// The demo user and products.
    PyDemoCatalog as "DemoCatalog" {
        /// Id of the demo user.
        user_id: String,
        /// The demo products.
        products: Tuple<PyDemoProduct>,
    }
}

result_class! {
    /// One demo product.
    PyDemoProduct as "DemoProduct" {
        /// The product's id.
        product_id: String,
        /// Display name.
        name: String,
        /// Price of one unit.
        price: Money,
        /// Units in stock.
        quantity: i64,
    }
}

result_class! {
    /// One event of an order and the delivery state of its messages.
    PyEvent as "Event" {
        /// The order's number.
        order_id: i64,
        /// The order's version after the event.
        version: i32,
        /// Time of the event.
        at: DateTime<Utc>,
        /// Kind of change: `placed`, `updated` or `deleted`.
        action: String,
        /// Status after the event.
        status: Status,
        /// Delivery state of the event's messages.
        ///
        /// `waiting` or `dead-lettered` while at least one message is; `done` when none is left.
        delivery: String,
    }
}

result_class! {
    /// A message that could not be published or applied and needs a decision.
    PyDeadLetter as "DeadLetter" {
        /// The message's number, unique among outgoing and incoming messages.
        id: i64,
        /// `outgoing` or `incoming`.
        direction: String,
        /// Routing key, topic or queue.
        topic: String,
        /// The order of an outgoing message.
        order_id: Option<i64>,
        /// Why it could not be published or applied.
        reason: String,
        /// Number of failed attempts.
        attempts: i32,
        /// Since when the message is a dead letter.
        dead_lettered_at: DateTime<Utc>,
        /// The message, at most its first 4,096 characters.
        body: String,
    }
}

result_class! {
    /// Who answers one operation: the legacy code or the engine.
    PyRoutingRule as "RoutingRule" {
        /// A GraphQL field, a route, or `*` for all operations without a rule of their own.
        operation: String,
        /// `legacy`, `shadow` or `engine`; None if the rule only sets `ignored`.
        stage: Option<String>,
        /// Share of users for whom the stage applies, 0 to 100; None for all users.
        percent: Option<u8>,
        /// Users for whom the stage applies regardless of `percent`.
        users: Tuple<String>,
        /// Response fields that are not compared.
        ignored: Tuple<String>,
        /// Time of the latest change.
        updated_at: DateTime<Utc>,
    }
}

result_class! {
    /// Outcomes of the shadowed requests of one operation.
    PyShadowCounts as "ShadowCounts" {
        /// The operation; `other` for requests that name no known operation.
        operation: String,
        /// Requests that both sides answered alike.
        matched: i64,
        /// Requests that the engine answered differently.
        differed: i64,
        /// Requests with different answers during which the data may have changed.
        unsettled: i64,
        /// Requests for which the engine had no answer: lock conflict, timeout, or no database.
        failed: i64,
        /// Requests that were not run on the engine, or had no legacy answer to compare with.
        skipped: i64,
        /// Start of the count.
        since: DateTime<Utc>,
    }
}

result_class! {
    /// A shadowed request that the engine answered differently.
    PyShadowDifference as "ShadowDifference" {
        /// Number of the difference; later ones have higher numbers.
        id: i64,
        /// The operation.
        operation: String,
        /// Time of the request.
        at: DateTime<Utc>,
        /// Document and variables as JSON, without headers; at most 16 KiB.
        request: String,
        /// HTTP status of the legacy answer.
        legacy_status: u16,
        /// Body of the legacy answer; at most 16 KiB.
        legacy: String,
        /// HTTP status of the engine's answer.
        engine_status: u16,
        /// Body of the engine's answer; at most 16 KiB.
        engine: String,
        /// Paths at which the answers differ, at most 50, such as `createOrder.orders.0.status`.
        paths: Tuple<String>,
    }
}

result_class! {
    /// Outcomes of shadowed requests.
    PyShadowReport as "ShadowReport" {
        /// Counts of each operation.
        counts: Tuple<PyShadowCounts>,
        /// Differences, newest first; the latest 1,000 of each operation are kept.
        differences: Tuple<PyShadowDifference>,
    }
}

/// A status: a member of `OrderStatus` in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Status(OrderStatus);

impl Annotation for Status {
    fn annotation() -> String {
        "OrderStatus".to_owned()
    }
}

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

/// An amount with two decimals, or as many as it needs: the same however it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Money(Decimal);

impl From<Decimal> for Money {
    fn from(amount: Decimal) -> Self {
        Self(with_cents(amount))
    }
}

impl Annotation for Money {
    fn annotation() -> String {
        Decimal::annotation()
    }
}

impl<'py> IntoPyObject<'py> for Money {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        self.0.into_bound_py_any(py)
    }
}

impl FromPyObject<'_, '_> for Money {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        value.extract::<Decimal>().map(Self::from)
    }
}

/// The outcome of one row of `place_orders`: an order, or an exception as a value.
pub(super) struct PlacedRow(pub Result<PyOrder>);

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

impl From<domain::Order> for PyOrder {
    fn from(order: domain::Order) -> Self {
        Self {
            id: order.id.get(),
            user_id: order.user.to_string(),
            status: Status(order.status),
            lines: order.lines.into_iter().map(PyOrderLine::from).collect(),
            total: order.total.into(),
            currency: order.currency.to_string(),
            address: order.address,
            version: order.version,
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}

impl From<domain::OrderLine> for PyOrderLine {
    fn from(line: domain::OrderLine) -> Self {
        Self {
            id: line.id,
            product_id: line.product.to_string(),
            name: line.name,
            quantity: line.quantity,
            unit_price: line.unit_price.into(),
        }
    }
}

impl From<OrderPage> for PyOrderPage {
    fn from(page: OrderPage) -> Self {
        let last = page.orders.last().map(|order| order.id.to_string());
        Self {
            next_cursor: last.filter(|_| page.has_next),
            orders: page.orders.into_iter().map(PyOrder::from).collect(),
        }
    }
}

impl From<domain::HistoryEntry> for PyHistoryEntry {
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

impl From<product::Product> for PyProduct {
    fn from(product: product::Product) -> Self {
        Self {
            product_id: product.id.to_string(),
            name: product.name,
            price: product.price.map(Money::from),
            currency: product.currency.to_string(),
            reported: product.level.reported,
            reserved: product.level.reserved,
            available: product.level.available(),
            updated_at: product.updated_at,
        }
    }
}

impl From<user::User> for PyUser {
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

impl From<config::Described> for PySettingValue {
    fn from(setting: config::Described) -> Self {
        Self { name: setting.name.to_owned(), value: setting.value, origin: setting.origin }
    }
}

impl From<&Setting> for PySettingInfo {
    fn from(setting: &Setting) -> Self {
        Self {
            name: setting.name.to_owned(),
            variables: setting.variables.iter().map(|name| (*name).to_owned()).collect(),
            default: setting.default.to_owned(),
            secret: setting.is_secret,
            help: setting.help.to_owned(),
        }
    }
}

impl From<app::Check> for PyCheck {
    fn from(check: app::Check) -> Self {
        Self { name: check.name, ok: check.is_ok, detail: check.detail, remedy: check.remedy }
    }
}

impl From<(domain::HistoryEntry, &'static str)> for PyEvent {
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

impl From<operations::Replayed> for PyReplayProgress {
    fn from(replayed: operations::Replayed) -> Self {
        Self {
            events: replayed.events,
            messages: replayed.messages,
            waiting: replayed.waiting,
            cursor: replayed.position.map(|position| position.to_string()),
            until: replayed.until,
        }
    }
}

impl From<DeadLetter> for PyDeadLetter {
    fn from(message: DeadLetter) -> Self {
        Self {
            id: message.id,
            direction: message.direction,
            topic: message.topic,
            order_id: message.order.map(OrderId::get),
            reason: message.reason,
            attempts: message.attempts,
            dead_lettered_at: message.dead_lettered_at,
            body: message.body,
        }
    }
}

impl From<operations::StoredRoutingRule> for PyRoutingRule {
    fn from(set: operations::StoredRoutingRule) -> Self {
        Self {
            operation: set.operation,
            stage: set.switch.stage.map(|stage| stage.as_str().to_owned()),
            percent: set.switch.percent,
            users: Tuple(set.switch.users),
            ignored: Tuple(set.switch.ignored),
            updated_at: set.updated_at,
        }
    }
}

impl From<operations::ShadowReport> for PyShadowReport {
    fn from(report: operations::ShadowReport) -> Self {
        let counts = report.counts.into_iter().map(|(operation, counts, since)| PyShadowCounts {
            operation,
            matched: counts.matched,
            differed: counts.differed,
            unsettled: counts.unsettled,
            failed: counts.failed,
            skipped: counts.skipped,
            since,
        });
        let differences = report.differences.into_iter().map(|(id, one)| PyShadowDifference {
            id,
            operation: one.operation,
            at: one.at,
            request: one.request,
            legacy_status: one.legacy.0,
            legacy: one.legacy.1,
            engine_status: one.engine.0,
            engine: one.engine.1,
            paths: Tuple(one.paths),
        });
        Self { counts: counts.collect(), differences: differences.collect() }
    }
}
