//! The native engine: every operation of `OrderEngine` and `AsyncOrderEngine`, declared once.
//!
//! The docstrings here are the source of the Python API: `make generate` writes the stub and the
//! Python classes from them. Types stand in the docstrings, in Google style.
#![allow(clippy::doc_markdown, reason = "the doc comments are Python docstrings")]

use std::future::Future;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use pyo3::prelude::*;

use crate::app::Consistency;
use crate::app::consuming::Delivery;
use crate::domain::caller::Caller;
use crate::domain::external_event::{ExternalEvent, ProductEvent, StockEvent, UserEvent};
use crate::domain::money::checked_amount;
use crate::domain::query::{OrderFilter, checked_page_size};
use crate::domain::status::OrderStatus;
use crate::error::Result;
use crate::operations::{self, ReplayOptions};
use crate::python::arguments::{self, Argument, Flags, valid};
use crate::python::bridge::{CallStyle, Json, Nothing, wait_for};
use crate::python::errors::raise;
use crate::python::migration_router::PyMigrationRouter;
use crate::python::opened_engine::{OpenedEngine, open};
use crate::python::process_bound::ProcessBound;
use crate::python::records;
use crate::python::sinks::SinkFeed;
use crate::python::types::{
    PlacedRow, PyCheck, PyDeadLetter, PyEvent, PyHistoryEntry, PyOrder, PyOrderPage, PyProduct,
    PyReplayProgress, PyUser,
};
use crate::python::web::{PyHttpResponse, PyResponseStream, PyWebSocket};

/// Orders of one `place_orders` call that are placed at the same time: a fraction of what the
/// engine's queue holds.
const ROWS_IN_FLIGHT: usize = 1024;

/// The engine in this process, opened: connection pool, relays and consumers.
///
/// Calls wait with the interpreter lock released.
#[pyclass(frozen, subclass, name = "Engine", module = "order_engine._native")]
pub(super) struct PyEngine {
    pub opened: ProcessBound<OpenedEngine>,
    pub style: CallStyle,
}

impl PyEngine {
    fn run<'py, T, F>(
        &self,
        py: Python<'py>,
        work: impl FnOnce(Arc<OpenedEngine>) -> F,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        T: for<'any> IntoPyObject<'any> + Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.style.run(py, work(self.opened.get(py)?))
    }

    fn read<'py, T, F>(
        &self,
        py: Python<'py>,
        work: impl FnOnce(Arc<OpenedEngine>) -> F,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        T: for<'any> IntoPyObject<'any> + Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.style.read(py, work(self.opened.get(py)?))
    }

    fn apply<'py>(&self, py: Python<'py>, event: ExternalEvent) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, move |opened| async move {
            opened.app.engine().apply_events(&[event]).await.map(|()| Nothing)
        })
    }
}

#[pymethods]
impl PyEngine {
    /// Connect to the database and start the background work.
    ///
    /// Args:
    ///     flags (dict[str, str]): Settings.
    ///     sinks (list[str]): Names of the sinks that this process serves.
    ///
    /// Returns:
    ///     Engine: The open engine.
    #[staticmethod]
    #[pyo3(signature = (flags, sinks))]
    fn open(py: Python<'_>, flags: Flags, sinks: Vec<String>) -> PyResult<Self> {
        records::start(py)?.map_err(|error| raise(py, &error))?;
        let opened = wait_for(py, open(flags, sinks))?;
        Ok(Self { opened, style: CallStyle::Blocking })
    }

    /// Return the batches for the sinks of this process, in the order of their names.
    ///
    /// Returns:
    ///     list[SinkFeed]: One feed for each sink.
    fn sink_feeds(&self, py: Python<'_>) -> PyResult<Vec<SinkFeed>> {
        Ok(self.opened.get(py)?.sinks.iter().cloned().map(SinkFeed).collect())
    }

    /// Stop the background work and close the connections. Closing again does nothing.
    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.style.run(py, self.opened.take(py))
    }

    /// Place an order: reserve the stock, fix the prices and record the events, all or nothing.
    ///
    /// Args:
    ///     user_id (Id): The customer.
    ///     lines (Iterable[Line]): What is ordered: `(product_id, quantity)` tuples, or dicts or
    ///         objects with `product_id` and `quantity`.
    ///     idempotency_key (str | None): Makes a retry safe: a second call with the same key and
    ///         the same order returns the first order. 1 to 255 characters.
    ///     actor (Id | None): Who places the order, for its history; `system` by default.
    ///
    /// Returns:
    ///     Order: The order as stored.
    ///
    /// Raises:
    ///     InvalidInput: No lines, a quantity out of range, or an invalid key.
    ///     TooLarge: Too many lines.
    ///     ProductNotFound: A product is not in the catalog.
    ///     OutOfStock: Fewer units are available than ordered.
    ///     UnknownUser: The user is unknown and `allow_unknown_users` is off.
    ///     IdempotencyMismatch: The key was used for a different order.
    ///     Conflict: Another call is using the key right now. Retry.
    ///     OutcomeUnknown: The connection broke during the commit. Retry with the same key.
    #[pyo3(signature = (*, user_id, lines, idempotency_key=None, actor=None))]
    fn place_order<'py>(
        &self,
        py: Python<'py>,
        user_id: &Argument<'py>,
        lines: &Argument<'py>,
        idempotency_key: Option<&Argument<'py>>,
        actor: Option<&Argument<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let request = arguments::placement(user_id, lines, idempotency_key)?;
        let caller = arguments::caller(actor)?;
        self.run(py, move |opened| async move {
            let placed = opened.app.engine().place_order(&caller, request).await?;
            Ok(PyOrder::from(placed.order))
        })
    }

    /// Place many orders in one call, each on its own: a failure affects only its own row.
    ///
    /// Much faster than separate calls, because orders are committed in groups. The rows are
    /// placed in no particular order; put a row that depends on another one into a later call.
    ///
    /// Args:
    ///     rows (Iterable[OrderRow]): The orders: `(user_id, lines)` or
    ///         `(user_id, lines, idempotency_key)` tuples, or dicts or objects with these names.
    ///     actor (Id | None): Who places the orders, for their history; `system` by default.
    ///
    /// Returns:
    ///     list[Order | OrderEngineError]: For each row its order, or the error that `place_order`
    ///         would have raised.
    ///
    /// Raises:
    ///     InvalidInput: `rows` is not iterable. A wrong row does not raise.
    #[pyo3(signature = (rows, *, actor=None))]
    fn place_orders<'py>(
        &self,
        py: Python<'py>,
        rows: &Argument<'py>,
        actor: Option<&Argument<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let rows = arguments::rows(rows)?;
        let caller = Arc::new(arguments::caller(actor)?);
        self.run(py, move |opened| async move {
            let placed = stream::iter(rows).map(|request| {
                let (opened, caller) = (Arc::clone(&opened), Arc::clone(&caller));
                async move {
                    let placed = match request {
                        Ok(request) => opened.app.engine().place_order(&caller, request).await,
                        Err(error) => Err(error),
                    };
                    PlacedRow(placed.map(|placed| placed.order.into()))
                }
            });
            Ok(placed.buffered(ROWS_IN_FLIGHT).collect::<Vec<_>>().await)
        })
    }

    /// Read one order.
    ///
    /// Args:
    ///     order_id (Id): The order's number, or its id of 24 hex digits.
    ///     user_id (Id | None): Only if it is this user's order; any user's by default.
    ///
    /// Returns:
    ///     Order: The order.
    ///
    /// Raises:
    ///     NotFound: There is no such order, or it is another user's.
    #[pyo3(signature = (order_id, *, user_id=None))]
    fn get_order<'py>(
        &self,
        py: Python<'py>,
        order_id: &Argument<'py>,
        user_id: Option<&Argument<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let id = arguments::order_id(order_id)?;
        let user = arguments::optional_user_id(user_id)?;
        self.read(py, move |opened| async move {
            let engine = opened.app.engine();
            let order = engine.get_order(&Caller::System, id, Consistency::Latest).await?;
            match user.is_some_and(|user| user != order.user) {
                true => Err(arguments::order_not_found(id)),
                false => Ok(PyOrder::from(order)),
            }
        })
    }

    /// Read one page of orders, newest first.
    ///
    /// Args:
    ///     user_id (Id | None): Only orders of this user; of all users by default.
    ///     status (OrderStatus | str | None): Only orders in this status, in any case.
    ///     limit (int): Size of the page, 1 to 100.
    ///     cursor (str | None): The `next_cursor` of the previous page.
    ///
    /// Returns:
    ///     OrderPage: The orders, and the cursor of the next page.
    ///
    /// Raises:
    ///     InvalidInput: An unknown status, a limit out of range, or an invalid cursor.
    #[pyo3(signature = (*, user_id=None, status=None, limit=20, cursor=None))]
    fn list_orders<'py>(
        &self,
        py: Python<'py>,
        user_id: Option<&Argument<'py>>,
        status: Option<&Argument<'py>>,
        #[pyo3(from_py_with = arguments::limit)] limit: i64,
        cursor: Option<&Argument<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let status = arguments::optional_text(status, "status")?;
        let after = arguments::optional_text(cursor, "cursor")?;
        let filter = OrderFilter {
            user: arguments::optional_user_id(user_id)?,
            status: valid(py, status.as_deref().map(OrderStatus::parse).transpose())?,
            after: valid(py, after.as_deref().map(arguments::page_cursor).transpose())?,
        };
        let limit = valid(py, checked_page_size(limit))?;
        self.read(py, move |opened| async move {
            let page = opened.app.engine().list_orders(&Caller::System, &filter, limit).await?;
            Ok(PyOrderPage::from(page))
        })
    }

    /// Move an order to another status. Moving it to its current status changes nothing.
    ///
    /// Args:
    ///     order_id (Id): The order's number, or its id of 24 hex digits.
    ///     status (OrderStatus | str): The new status, in any case.
    ///     reason (str | None): Reason for the order's history, at most 500 characters.
    ///     actor (Id | None): Who makes the change, for the history; `system` by default.
    ///
    /// Returns:
    ///     Order: The order after the change.
    ///
    /// Raises:
    ///     InvalidInput: An unknown status, or a reason that is too long.
    ///     NotFound: There is no such order.
    ///     InvalidTransition: The current status does not allow this; see `allowed`.
    #[pyo3(signature = (order_id, status, *, reason=None, actor=None))]
    fn change_status<'py>(
        &self,
        py: Python<'py>,
        order_id: &Argument<'py>,
        status: &Argument<'py>,
        reason: Option<&Argument<'py>>,
        actor: Option<&Argument<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let id = arguments::order_id(order_id)?;
        let status = valid(py, OrderStatus::parse(&arguments::text(status, "status")?))?;
        let reason = arguments::optional_text(reason, "reason")?;
        let caller = arguments::caller(actor)?;
        self.run(py, move |opened| async move {
            let order = opened.app.engine().change_status(&caller, id, status, reason).await?;
            Ok(PyOrder::from(order))
        })
    }

    /// Cancel an order and release the stock that it reserved.
    ///
    /// Args:
    ///     order_id (Id): The order's number, or its id of 24 hex digits.
    ///     reason (str | None): Reason for the order's history, at most 500 characters.
    ///     actor (Id | None): Who cancels, for the history; `system` by default.
    ///
    /// Returns:
    ///     Order: The cancelled order.
    ///
    /// Raises:
    ///     InvalidInput: A reason that is too long.
    ///     NotFound: There is no such order.
    ///     InvalidTransition: The order has been shipped, delivered or returned.
    #[pyo3(signature = (order_id, *, reason=None, actor=None))]
    fn cancel_order<'py>(
        &self,
        py: Python<'py>,
        order_id: &Argument<'py>,
        reason: Option<&Argument<'py>>,
        actor: Option<&Argument<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let id = arguments::order_id(order_id)?;
        let reason = arguments::optional_text(reason, "reason")?;
        let caller = arguments::caller(actor)?;
        self.run(py, move |opened| async move {
            Ok(PyOrder::from(opened.app.engine().cancel_order(&caller, id, reason).await?))
        })
    }

    /// Delete an order and release the stock that it reserved. Its history is kept.
    ///
    /// Args:
    ///     order_id (Id): The order's number, or its id of 24 hex digits.
    ///     reason (str | None): Reason for the order's history, at most 500 characters.
    ///     actor (Id | None): Who deletes, for the history; `system` by default.
    ///
    /// Raises:
    ///     InvalidInput: A reason that is too long.
    ///     NotFound: There is no such order.
    ///     InvalidTransition: The order has been shipped and not delivered yet.
    #[pyo3(signature = (order_id, *, reason=None, actor=None))]
    fn delete_order<'py>(
        &self,
        py: Python<'py>,
        order_id: &Argument<'py>,
        reason: Option<&Argument<'py>>,
        actor: Option<&Argument<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let id = arguments::order_id(order_id)?;
        let reason = arguments::optional_text(reason, "reason")?;
        let caller = arguments::caller(actor)?;
        self.run(py, move |opened| async move {
            opened.app.engine().delete_order(&caller, id, reason).await.map(|_| Nothing)
        })
    }

    /// Read the changes of an order, oldest first; also of a deleted order.
    ///
    /// Args:
    ///     order_id (Id): The order's number, or its id of 24 hex digits.
    ///
    /// Returns:
    ///     list[HistoryEntry]: One entry for each version of the order.
    ///
    /// Raises:
    ///     NotFound: There is no such order.
    #[pyo3(signature = (order_id))]
    fn order_history<'py>(
        &self,
        py: Python<'py>,
        order_id: &Argument<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let id = arguments::order_id(order_id)?;
        self.read(py, move |opened| async move {
            let history = opened.app.engine().order_history(&Caller::System, id).await?;
            Ok(history.into_iter().map(PyHistoryEntry::from).collect::<Vec<_>>())
        })
    }

    /// Read a user.
    ///
    /// Args:
    ///     user_id (Id): The user's id.
    ///
    /// Returns:
    ///     User: What is known about the user.
    ///
    /// Raises:
    ///     NotFound: No event and no `upsert_user` has named this user. Such a user may place
    ///         orders unless `allow_unknown_users` is off.
    #[pyo3(signature = (user_id))]
    fn get_user<'py>(
        &self,
        py: Python<'py>,
        user_id: &Argument<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let id = arguments::user_id(user_id)?;
        self.read(py, move |opened| async move {
            Ok(PyUser::from(opened.app.engine().get_user(&id).await?))
        })
    }

    /// Create or update a user. Arguments that are left out keep their value.
    ///
    /// A new address applies to orders that are placed from now on.
    ///
    /// Args:
    ///     user_id (Id): The user's id.
    ///     username (str | None): Display name.
    ///     email (str | None): Email address.
    ///     address (str | None): Delivery address.
    ///     contact (str | None): Telephone number or other contact.
    ///
    /// Raises:
    ///     InvalidInput: Text that PostgreSQL cannot store.
    #[pyo3(signature = (user_id, *, username=None, email=None, address=None, contact=None))]
    fn upsert_user<'py>(
        &self,
        py: Python<'py>,
        user_id: &Argument<'py>,
        username: Option<&Argument<'py>>,
        email: Option<&Argument<'py>>,
        address: Option<&Argument<'py>>,
        contact: Option<&Argument<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let user = UserEvent {
            user: arguments::user_id(user_id)?,
            username: arguments::optional_text(username, "username")?,
            email: arguments::optional_text(email, "email")?,
            address: arguments::optional_text(address, "address")?,
            contact: arguments::optional_text(contact, "contact")?,
            preferences: None,
        };
        self.apply(py, ExternalEvent::User(user))
    }

    /// Read a product: name, price and stock.
    ///
    /// Args:
    ///     product_id (Id): The product's id.
    ///
    /// Returns:
    ///     Product: The product; without a price if only its stock is known.
    ///
    /// Raises:
    ///     ProductNotFound: The product is unknown.
    #[pyo3(signature = (product_id))]
    fn get_product<'py>(
        &self,
        py: Python<'py>,
        product_id: &Argument<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let id = arguments::product_id(product_id)?;
        self.read(py, move |opened| async move {
            Ok(PyProduct::from(opened.app.engine().get_product(&id).await?))
        })
    }

    /// Create a product, or change its name and price. Placed orders keep theirs.
    ///
    /// Args:
    ///     product_id (Id): The product's id.
    ///     name (str): Display name.
    ///     price (Decimal | float | str): Price of one unit in the configured currency, from 0 to
    ///         below 10^15, at most four decimals. A float stands for the digits that Python
    ///         prints.
    ///     quantity (int | None): Initial stock in units. Ignored if the stock is already known;
    ///         then use `set_stock`.
    ///
    /// Raises:
    ///     InvalidInput: A price or a quantity out of range.
    #[pyo3(signature = (product_id, *, name, price, quantity=None))]
    fn upsert_product<'py>(
        &self,
        py: Python<'py>,
        product_id: &Argument<'py>,
        name: &Argument<'py>,
        price: &Argument<'py>,
        quantity: Option<&Argument<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let product = ProductEvent {
            product: arguments::product_id(product_id)?,
            name: arguments::text(name, "name")?,
            price: valid(py, checked_amount(arguments::amount(price, "price")?))?,
            quantity: quantity.map(arguments::stock).transpose()?,
        };
        self.apply(py, ExternalEvent::Product(product))
    }

    /// Set the stock of a product, as an `inventory.updated` event would.
    ///
    /// The number includes units that are reserved by placed orders. A lower number than before is
    /// taken as the product service's deduction for those orders, oldest first, so that they are
    /// not deducted twice.
    ///
    /// Args:
    ///     product_id (Id): The product's id. Through this API a product without a price cannot
    ///         be ordered.
    ///     quantity (int): Units in stock, 0 or more.
    ///
    /// Raises:
    ///     InvalidInput: A quantity out of range.
    #[pyo3(signature = (product_id, quantity))]
    fn set_stock<'py>(
        &self,
        py: Python<'py>,
        product_id: &Argument<'py>,
        quantity: &Argument<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let product = arguments::product_id(product_id)?;
        let quantity = arguments::stock(quantity)?;
        self.apply(py, ExternalEvent::Stock(StockEvent { product, quantity, order: None }))
    }

    /// Apply a message that your own consumer received, all of it or nothing.
    ///
    /// Users, products and stock are read as by the engine's own consumer. A message that was
    /// applied before, here or there, is ignored: it is recognized by its message id, or, if it
    /// has none, by its body when the broker marks it as redelivered.
    ///
    /// Args:
    ///     routing_key (str): Routing key of the message, such as `user.registered`.
    ///     body (bytes | str | Mapping[str, object] | Sequence[object]): The JSON, or the dict or
    ///         list that it stands for.
    ///     correlation_id (str | None): Correlation id of the message. With `inventory.updated` it
    ///         names the order.
    ///     message_id (str | None): Message id; in pika `properties.message_id`.
    ///     redelivered (bool): Whether the broker may have delivered the message before; in pika
    ///         `method.redelivered`.
    ///
    /// Raises:
    ///     InvalidInput: The message cannot be decoded, or a value is out of range.
    ///     Conflict: The message has no id and the engine's own consumer is running: the same
    ///         message arrives there, and a duplicate could not be recognized.
    #[pyo3(signature = (
        routing_key, body, *, correlation_id=None, message_id=None, redelivered=false
    ))]
    fn apply_event<'py>(
        &self,
        py: Python<'py>,
        routing_key: &Argument<'py>,
        body: &Argument<'py>,
        correlation_id: Option<&Argument<'py>>,
        message_id: Option<&Argument<'py>>,
        redelivered: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let delivery = Delivery {
            topic: arguments::text(routing_key, "routing_key")?,
            body: arguments::message_body(body)?,
            correlation_id: arguments::optional_text(correlation_id, "correlation_id")?,
            message_id: arguments::optional_text(message_id, "message_id")?,
            redelivered,
            ..Delivery::default()
        };
        self.run(py, move |opened| async move {
            opened.app.apply_message(&delivery).await.map(|()| Nothing)
        })
    }

    /// Execute a GraphQL request in this process, as the HTTP endpoint would.
    ///
    /// Args:
    ///     query (str): The GraphQL document.
    ///     variables (Mapping[str, object] | None): Values of its variables.
    ///     operation_name (str | None): The operation to execute, if the document has several.
    ///     token (str | None): The JWT for `Authorization: Bearer`.
    ///     headers (Headers | None): Headers of the request; `Authorization` and
    ///         `Idempotency-Key` are used.
    ///
    /// Returns:
    ///     dict[str, Any]: The response with `data`, `errors` or both. An invalid token or document
    ///         is reported in `errors`, not raised.
    ///
    /// Raises:
    ///     InvalidInput: Text that is not valid, variables that JSON cannot express, or a
    ///         malformed header.
    ///     Misconfigured: No contract with GraphQL is served, or no secret is set.
    #[pyo3(signature = (query, variables=None, operation_name=None, token=None, headers=None))]
    fn execute<'py>(
        &self,
        py: Python<'py>,
        query: &Argument<'py>,
        variables: Option<&Argument<'py>>,
        operation_name: Option<&Argument<'py>>,
        token: Option<&Argument<'py>>,
        headers: Option<&Argument<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let query = arguments::text(query, "query")?;
        let variables =
            variables.map(|values| arguments::json_object(values, "variables")).transpose()?;
        let operation = arguments::optional_text(operation_name, "operation_name")?;
        let headers = arguments::headers(headers, token)?;
        self.run(py, move |opened| async move {
            opened.app.execute(query, variables.as_deref(), operation, headers).await.map(Json)
        })
    }

    /// Answer an HTTP request that another server received.
    ///
    /// `order_engine.wsgi`, `order_engine.asgi` and `order_engine.flask` do this for whole apps.
    ///
    /// Args:
    ///     method (str): `GET`, `POST` and so on.
    ///     target (str): Path and query, percent-encoded; the path starts with `/`.
    ///     headers (Headers): Headers of the request.
    ///     body (bytes | None): Body of the request. More than 1 MiB is refused.
    ///     client (str | None): Address of the client, for rate limits and `*_auth_networks`.
    ///
    /// Returns:
    ///     HttpResponse: Status, headers, body. A streamed body is in `stream`; see `next_chunk`.
    ///
    /// Raises:
    ///     InvalidInput: The arguments are not an HTTP request.
    ///     Misconfigured: No secret is set to verify tokens with.
    #[pyo3(signature = (method, target, headers, body=None, client=None))]
    fn handle_http<'py>(
        &self,
        py: Python<'py>,
        method: &Argument<'py>,
        target: &Argument<'py>,
        headers: &Argument<'py>,
        body: Option<&Argument<'py>>,
        client: Option<&Argument<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let asked = arguments::http_request(method, target, headers, body, client)?;
        self.run(py, move |opened| async move {
            opened.app.answer(asked).await.map(PyHttpResponse::from)
        })
    }

    /// Wait for the next chunk of a streamed body.
    ///
    /// Args:
    ///     stream (ResponseStream): The `stream` of a response.
    ///
    /// Returns:
    ///     bytes | None: The chunk; None at the end.
    #[pyo3(signature = (stream))]
    fn next_chunk<'py>(
        &self,
        py: Python<'py>,
        stream: PyResponseStream,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, move |_| async move { stream.next().await })
    }

    /// Open the engine's side of a WebSocket on `/graphql` that another server holds.
    ///
    /// Args:
    ///     headers (Headers): Headers of the upgrade request.
    ///     client (str | None): Address of the client.
    ///
    /// Returns:
    ///     WebSocket | None: The socket; None if the client offers no GraphQL protocol. Then refuse
    ///         the connection.
    #[pyo3(signature = (headers, client=None))]
    fn open_websocket<'py>(
        &self,
        py: Python<'py>,
        headers: &Argument<'py>,
        client: Option<&Argument<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let client = arguments::address(client)?;
        let headers = arguments::headers(Some(headers), None)?;
        self.run(py, move |opened| async move {
            Ok(opened.app.socket(headers, client)?.map(PyWebSocket::from))
        })
    }

    /// Return the migration router between the program's own code and the engine.
    ///
    /// `order_engine.flask` asks it about every request.
    ///
    /// Returns:
    ///     MigrationRouter: The router; the first call loads its rules.
    #[pyo3(signature = ())]
    fn migration_router<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, move |opened| async move {
            opened.app.migration_router().await.map(PyMigrationRouter::from)
        })
    }

    /// List the latest events and the delivery state of their messages, oldest first.
    ///
    /// Args:
    ///     order_id (Id | None): Only events of this order.
    ///     limit (int): Number of events, 1 to 1,000.
    ///
    /// Returns:
    ///     list[Event]: The events.
    ///
    /// Raises:
    ///     InvalidInput: A limit out of range.
    #[pyo3(signature = (*, order_id=None, limit=20))]
    fn events_tail<'py>(
        &self,
        py: Python<'py>,
        order_id: Option<&Argument<'py>>,
        #[pyo3(from_py_with = arguments::limit)] limit: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let order = order_id.map(arguments::order_id).transpose()?;
        self.run(py, move |opened| async move {
            let events = operations::events_tail(opened.app.engine(), order, limit).await?;
            let events = events.into_iter().map(|event| (event.entry, event.delivery).into());
            Ok(events.collect::<Vec<PyEvent>>())
        })
    }

    /// List the messages that could not be published or applied, oldest first.
    ///
    /// Args:
    ///     limit (int): Number of messages, 1 to 1,000.
    ///
    /// Returns:
    ///     list[DeadLetter]: The messages, each with the reason.
    ///
    /// Raises:
    ///     InvalidInput: A limit out of range.
    #[pyo3(signature = (*, limit=100))]
    fn events_dead_letters<'py>(
        &self,
        py: Python<'py>,
        #[pyo3(from_py_with = arguments::limit)] limit: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, move |opened| async move {
            let messages = operations::events_dead_letters(opened.app.engine(), limit).await?;
            Ok(messages.into_iter().map(PyDeadLetter::from).collect::<Vec<_>>())
        })
    }

    /// Publish or apply dead letters again. Their attempts are counted anew.
    ///
    /// Args:
    ///     ids (Iterable[int] | None): The messages' numbers; all of them by default.
    ///
    /// Returns:
    ///     int: Number of messages.
    ///
    /// Raises:
    ///     NotFound: One of the ids is not a dead letter; nothing was changed.
    ///     InvalidInput: An incoming message still cannot be decoded; it stays a dead letter.
    #[pyo3(signature = (ids=None))]
    fn events_retry<'py>(
        &self,
        py: Python<'py>,
        ids: Option<&Argument<'py>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let ids = ids.map(arguments::message_ids).transpose()?;
        self.run(py, move |opened| async move {
            let engine = opened.app.engine();
            operations::events_retry(engine, opened.app.contracts(), ids.as_deref()).await
        })
    }

    /// Discard dead letters for good, so that the messages behind them are published.
    ///
    /// Args:
    ///     ids (Iterable[int]): The messages' numbers.
    ///
    /// Returns:
    ///     int: Number of messages.
    ///
    /// Raises:
    ///     NotFound: One of the ids is not a dead letter; nothing was changed.
    #[pyo3(signature = (ids))]
    fn events_skip<'py>(
        &self,
        py: Python<'py>,
        ids: &Argument<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let ids = arguments::message_ids(ids)?;
        self.run(py, move |opened| async move {
            operations::events_skip(opened.app.engine(), &ids).await
        })
    }

    /// Publish past events again, for example after a queue was lost.
    ///
    /// The messages are rebuilt from the history with their original ids, and carry the header
    /// `x-replay: true`. They are sent in the order of each order's versions, oldest orders first,
    /// before live events that are still waiting. A message that is still waiting is not sent
    /// twice. Repeating a replay is safe: it sends the same messages again.
    ///
    /// The call pauses whenever 1,000 of its messages are waiting.
    ///
    /// Args:
    ///     contract (str | None): Only for the consumers of this contract, which must be enabled.
    ///     order_ids (Iterable[Id] | None): Only events of these orders.
    ///     since (datetime | timedelta | None): Only events from this time on: an aware datetime,
    ///         or a timedelta before now.
    ///     until (datetime | timedelta | None): Only events before this time; now by default.
    ///     after (str | None): The `cursor` of an interrupted replay, to resume it.
    ///     rate_per_s (int): Messages written to the outbox per second, 1 to 100,000.
    ///     dry_run (bool): Only count the messages.
    ///
    /// Returns:
    ///     ReplayProgress: Number of events and messages, and of messages that still wait.
    ///
    /// Raises:
    ///     InvalidInput: A wrong argument, or `until` is not after `since`.
    ///     Unavailable: No message was published for a minute: no relay is running, or each order
    ///         has a dead letter. `context["cursor"]` is the place to resume at.
    #[pyo3(signature = (
        *, contract=None, order_ids=None, since=None, until=None, after=None, rate_per_s=1000,
        dry_run=false
    ))]
    #[expect(clippy::too_many_arguments, reason = "each but two narrows the events")]
    fn events_replay<'py>(
        &self,
        py: Python<'py>,
        contract: Option<&Argument<'py>>,
        order_ids: Option<&Argument<'py>>,
        since: Option<&Argument<'py>>,
        until: Option<&Argument<'py>>,
        after: Option<&Argument<'py>>,
        #[pyo3(from_py_with = arguments::rate)] rate_per_s: i64,
        dry_run: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = ReplayOptions {
            filter: arguments::replay_filter(order_ids, since, until, after)?,
            contract: arguments::optional_text(contract, "contract")?,
            rate_per_s,
            dry_run,
            patience: ReplayOptions::PATIENCE,
        };
        self.run(py, move |opened| async move {
            let engine = opened.app.engine();
            let done =
                operations::events_replay(engine, opened.app.contracts(), options, |_| ()).await?;
            Ok(PyReplayProgress::from(done))
        })
    }

    /// Check the parts that the engine uses: database, brokers, caches.
    ///
    /// Returns:
    ///     list[Check]: One entry for each part.
    #[pyo3(signature = ())]
    fn health<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.run(py, move |opened| async move {
            let checks = opened.app.health().await;
            Ok(checks.into_iter().map(PyCheck::from).collect::<Vec<_>>())
        })
    }
}
