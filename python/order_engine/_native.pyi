"""The native module: the engine behind `OrderEngine` and the `order-engine` command.

Written by `make generate` from the native module; do not edit it.

`flags` are settings by name, as text: `{"database_url": "postgresql://...", "port": "5000"}`.
Lists are separated by commas; booleans are `true` and `false`. Settings that are not given come
from the environment, `.env` and `order-engine.toml` in the working directory, and the defaults.

Every exception is one of `order_engine.exceptions.KINDS`. Any call may raise `Misconfigured`,
`Unavailable` and `Internal`; the docstrings name the others.

Results are immutable, hashable and picklable. They compare by value and can be used in `match`
and as dataclasses. Times are aware datetimes in UTC, amounts are `Decimal` with at least two
decimals.
"""

from asyncio import Future
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar, final

from order_engine.argument_types import Headers, Id, Line, OrderRow
from order_engine.exceptions import OrderEngineError
from order_engine.status import OrderStatus

__all__ = [
    "AsyncConsumer",
    "AsyncEngine",
    "AsyncSinkFeed",
    "Check",
    "Consumer",
    "DeadLetter",
    "DeadLetterEvent",
    "Delivery",
    "DemoCatalog",
    "DemoProduct",
    "Engine",
    "Event",
    "HistoryEntry",
    "HttpResponse",
    "MigrationRouter",
    "Order",
    "OrderLine",
    "OrderPage",
    "Product",
    "ReplayProgress",
    "ResponseStream",
    "RoutingDecision",
    "RoutingRule",
    "SettingInfo",
    "SettingValue",
    "ShadowCounts",
    "ShadowDifference",
    "ShadowReport",
    "SinkFeed",
    "SinkMessage",
    "Stop",
    "User",
    "WebSocket",
    "__version__",
    "adopt",
    "consumer_dead_letters",
    "consumer_retry",
    "consumer_skip",
    "describe_contract",
    "describe_settings",
    "described_contracts",
    "doctor",
    "error_kinds",
    "events_dead_letters",
    "events_replay",
    "events_retry",
    "events_skip",
    "events_tail",
    "migrate",
    "mint_token",
    "reset_test_database",
    "routing_rules",
    "seed_demo",
    "serve",
    "set_routing_rule",
    "settings",
    "shadow_clear",
    "shadow_ignore",
    "shadow_report",
    "undo_adoption",
    "unknown_variables",
    "validate_settings",
    "work",
]

__version__: str

@final
class AsyncConsumer:
    """The same for asyncio: every call returns a future of the running loop."""
    def __new__(
        cls, flags: dict[str, str], queue: str, routing_keys: list[str], stop: Stop
    ) -> AsyncConsumer: ...
    def next(self) -> Future[Delivery | None]: ...
    def acknowledge(self, delivery: Delivery) -> Future[None]: ...
    def dead_letter(self, delivery: Delivery, reason: str, attempts: int) -> Future[None]: ...
    def pause(self, seconds: float) -> Future[None]: ...
    def close(self) -> Future[None]: ...

@final
class AsyncEngine:
    """The engine for asyncio: every operation returns an awaitable.

    Cancelling it cancels the work, except for `close` and for an order that is already being
    written.
    """
    @staticmethod
    def open(flags: dict[str, str], sinks: list[str]) -> Future[AsyncEngine]:
        """Connect to the database and start the background work.

        Args:
            flags: Settings.
            sinks: Names of the sinks that this process serves.

        Returns:
            The open engine.
        """
    def sink_feeds(self) -> list[AsyncSinkFeed]:
        """Return the batches for the sinks of this process, in the order of their names.

        Returns:
            One feed for each sink.
        """
    def close(self) -> Future[None]: ...
    def place_order(
        self,
        *,
        user_id: Id,
        lines: Iterable[Line],
        idempotency_key: str | None = None,
        actor: Id | None = None,
    ) -> Future[Order]: ...
    def place_orders(
        self, rows: Iterable[OrderRow], *, actor: Id | None = None
    ) -> Future[list[Order | OrderEngineError]]: ...
    def get_order(self, order_id: Id, *, user_id: Id | None = None) -> Future[Order]: ...
    def list_orders(
        self,
        *,
        user_id: Id | None = None,
        status: OrderStatus | str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> Future[OrderPage]: ...
    def change_status(
        self,
        order_id: Id,
        status: OrderStatus | str,
        *,
        reason: str | None = None,
        actor: Id | None = None,
    ) -> Future[Order]: ...
    def cancel_order(
        self, order_id: Id, *, reason: str | None = None, actor: Id | None = None
    ) -> Future[Order]: ...
    def delete_order(
        self, order_id: Id, *, reason: str | None = None, actor: Id | None = None
    ) -> Future[None]: ...
    def order_history(self, order_id: Id) -> Future[list[HistoryEntry]]: ...
    def get_user(self, user_id: Id) -> Future[User]: ...
    def upsert_user(
        self,
        user_id: Id,
        *,
        username: str | None = None,
        email: str | None = None,
        address: str | None = None,
        contact: str | None = None,
    ) -> Future[None]: ...
    def get_product(self, product_id: Id) -> Future[Product]: ...
    def upsert_product(
        self,
        product_id: Id,
        *,
        name: str,
        price: Decimal | float | str,
        quantity: int | None = None,
    ) -> Future[None]: ...
    def set_stock(self, product_id: Id, quantity: int) -> Future[None]: ...
    def apply_event(
        self,
        routing_key: str,
        body: bytes | str | Mapping[str, object] | Sequence[object],
        *,
        correlation_id: str | None = None,
        message_id: str | None = None,
        redelivered: bool = False,
    ) -> Future[None]: ...
    def execute(
        self,
        query: str,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        token: str | None = None,
        headers: Headers | None = None,
    ) -> Future[dict[str, Any]]: ...
    def handle_http(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | None = None,
        client: str | None = None,
    ) -> Future[HttpResponse]: ...
    def next_chunk(self, stream: ResponseStream) -> Future[bytes | None]: ...
    def open_websocket(
        self, headers: Headers, client: str | None = None
    ) -> Future[WebSocket | None]: ...
    def migration_router(self) -> Future[MigrationRouter]: ...
    def events_tail(
        self, *, order_id: Id | None = None, limit: int = 20
    ) -> Future[list[Event]]: ...
    def events_dead_letters(self, *, limit: int = 100) -> Future[list[DeadLetter]]: ...
    def events_retry(self, ids: Iterable[int] | None = None) -> Future[int]: ...
    def events_skip(self, ids: Iterable[int]) -> Future[int]: ...
    def events_replay(
        self,
        *,
        contract: str | None = None,
        order_ids: Iterable[Id] | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        after: str | None = None,
        rate_per_s: int = 1000,
        dry_run: bool = False,
    ) -> Future[ReplayProgress]: ...
    def health(self) -> Future[list[Check]]: ...

@final
class AsyncSinkFeed:
    """The batches for one sink, for asyncio. See `SinkFeed`."""
    def next(self) -> Future[list[SinkMessage] | None]:
        """Wait for the next batch.

        Returns:
            The batch; None when the engine is closed.
        """
    def settle(self, rejections: list[str | None]) -> None:
        """Report the outcome of each message of the batch.

        Args:
            rejections: For each message None, or why the sink rejected it.
        """
    def fail(self, reason: str) -> None:
        """Report that the outcome of the whole batch is unknown. It is sent again.

        Args:
            reason: What happened.
        """

@final
class Check:
    """Health of one part that the engine uses."""

    __match_args__ = ("name", "ok", "detail", "remedy")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(cls, name: str, ok: bool, detail: str, remedy: str | None) -> Check: ...
    @property
    def name(self) -> str:
        """Name of the part, such as `postgresql`."""
    @property
    def ok(self) -> bool:
        """Whether the part works."""
    @property
    def detail(self) -> str:
        """What was found, and at which address. Contains no secrets."""
    @property
    def remedy(self) -> str | None:
        """What to do; None if nothing is to be done."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class Consumer:
    """A queue that this process consumes, one delivery after the other.

    Connects on the first `next`. Calls raise `Unavailable` after `close`, and in a fork.
    """
    def __new__(
        cls, flags: dict[str, str], queue: str, routing_keys: list[str], stop: Stop
    ) -> Consumer: ...
    def next(self) -> Delivery | None:
        """Wait for the next delivery, through every outage of the broker.

        Returns the same delivery again until it is acknowledged or dead-lettered.

        Returns:
            The delivery; None once `stop` is set.
        """
    def acknowledge(self, delivery: Delivery) -> None:
        """Acknowledge a delivery. If the broker does not receive that, it delivers it again.

        Args:
            delivery: The delivery.
        """
    def dead_letter(self, delivery: Delivery, reason: str, attempts: int) -> None:
        """Move a delivery to the dead letters, then acknowledge it.

        Args:
            delivery: The delivery.
            reason: Why it could not be processed.
            attempts: How many times its function was called.
        """
    def pause(self, seconds: float) -> None:
        """Wait for a time, or until `stop` is set.

        Args:
            seconds: The time, one day at most.
        """
    def close(self) -> None:
        """Set `stop` and close the connection. Unacknowledged deliveries go to other consumers."""

@final
class DeadLetter:
    """A message that could not be published or applied and needs a decision."""

    __match_args__ = (
        "id",
        "direction",
        "topic",
        "order_id",
        "reason",
        "attempts",
        "dead_lettered_at",
        "body",
    )
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls,
        id: int,
        direction: str,
        topic: str,
        order_id: int | None,
        reason: str,
        attempts: int,
        dead_lettered_at: datetime,
        body: str,
    ) -> DeadLetter: ...
    @property
    def id(self) -> int:
        """The message's number, unique among outgoing and incoming messages."""
    @property
    def direction(self) -> str:
        """`outgoing` or `incoming`."""
    @property
    def topic(self) -> str:
        """Routing key, topic or queue."""
    @property
    def order_id(self) -> int | None:
        """The order of an outgoing message."""
    @property
    def reason(self) -> str:
        """Why it could not be published or applied."""
    @property
    def attempts(self) -> int:
        """Number of failed attempts."""
    @property
    def dead_lettered_at(self) -> datetime:
        """Since when the message is a dead letter."""
    @property
    def body(self) -> str:
        """The message, at most its first 4,096 characters."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class DeadLetterEvent:
    """A message that a consumer could not process."""

    __match_args__ = (
        "id",
        "routing_key",
        "message_id",
        "attempts",
        "dead_lettered_at",
        "reason",
        "text",
    )
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls,
        id: str,
        routing_key: str,
        message_id: str | None,
        attempts: int,
        dead_lettered_at: datetime | None,
        reason: str,
        text: str,
    ) -> DeadLetterEvent: ...
    @property
    def id(self) -> str:
        """Id for retry and skip."""
    @property
    def routing_key(self) -> str:
        """The original routing key."""
    @property
    def message_id(self) -> str | None:
        """Message id, if the sender set one."""
    @property
    def attempts(self) -> int:
        """How many times its function was called; 0 if the message could not be decoded."""
    @property
    def dead_lettered_at(self) -> datetime | None:
        """When it became a dead letter; None if another program put it there."""
    @property
    def reason(self) -> str:
        """Why it could not be processed, at most 500 characters."""
    @property
    def text(self) -> str:
        """The body as text."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class Delivery:
    """One delivery of a message."""
    @property
    def body(self) -> bytes:
        """The body."""
    @property
    def correlation_id(self) -> str | None:
        """Correlation id, if the sender set one."""
    @property
    def headers_json(self) -> str:
        """The sender's headers, as a JSON object."""
    @property
    def message_id(self) -> str | None:
        """Message id, if the sender set one."""
    @property
    def redelivered(self) -> bool:
        """Whether the broker may have delivered the message before."""
    @property
    def routing_key(self) -> str:
        """The original routing key, also of a dead letter that is delivered again."""

@final
class DemoCatalog:
    """The demo user and products."""

    __match_args__ = ("user_id", "products")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(cls, user_id: str, products: tuple[DemoProduct, ...]) -> DemoCatalog: ...
    @property
    def user_id(self) -> str:
        """Id of the demo user."""
    @property
    def products(self) -> tuple[DemoProduct, ...]:
        """The demo products."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class DemoProduct:
    """One demo product."""

    __match_args__ = ("product_id", "name", "price", "quantity")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(cls, product_id: str, name: str, price: Decimal, quantity: int) -> DemoProduct: ...
    @property
    def product_id(self) -> str:
        """The product's id."""
    @property
    def name(self) -> str:
        """Display name."""
    @property
    def price(self) -> Decimal:
        """Price of one unit."""
    @property
    def quantity(self) -> int:
        """Units in stock."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class Engine:
    """The engine in this process, opened: connection pool, relays and consumers.

    Calls wait with the interpreter lock released.
    """
    @staticmethod
    def open(flags: dict[str, str], sinks: list[str]) -> Engine:
        """Connect to the database and start the background work.

        Args:
            flags: Settings.
            sinks: Names of the sinks that this process serves.

        Returns:
            The open engine.
        """
    def sink_feeds(self) -> list[SinkFeed]:
        """Return the batches for the sinks of this process, in the order of their names.

        Returns:
            One feed for each sink.
        """
    def close(self) -> None:
        """Stop the background work and close the connections. Closing again does nothing."""
    def place_order(
        self,
        *,
        user_id: Id,
        lines: Iterable[Line],
        idempotency_key: str | None = None,
        actor: Id | None = None,
    ) -> Order:
        """Place an order: reserve the stock, fix the prices and record the events, all or nothing.

        Args:
            user_id: The customer.
            lines: What is ordered: `(product_id, quantity)` tuples, or dicts or objects with
                `product_id` and `quantity`.
            idempotency_key: Makes a retry safe: a second call with the same key and the same order
                returns the first order. 1 to 255 characters.
            actor: Who places the order, for its history; `system` by default.

        Returns:
            The order as stored.

        Raises:
            InvalidInput: No lines, a quantity out of range, or an invalid key.
            TooLarge: Too many lines.
            ProductNotFound: A product is not in the catalog.
            OutOfStock: Fewer units are available than ordered.
            UnknownUser: The user is unknown and `allow_unknown_users` is off.
            IdempotencyMismatch: The key was used for a different order.
            Conflict: Another call is using the key right now. Retry.
            OutcomeUnknown: The connection broke during the commit. Retry with the same key.
        """
    def place_orders(
        self, rows: Iterable[OrderRow], *, actor: Id | None = None
    ) -> list[Order | OrderEngineError]:
        """Place many orders in one call, each on its own: a failure affects only its own row.

        Much faster than separate calls, because orders are committed in groups. The rows are
        placed in no particular order; put a row that depends on another one into a later call.

        Args:
            rows: The orders: `(user_id, lines)` or `(user_id, lines, idempotency_key)` tuples, or
                dicts or objects with these names.
            actor: Who places the orders, for their history; `system` by default.

        Returns:
            For each row its order, or the error that `place_order` would have raised.

        Raises:
            InvalidInput: `rows` is not iterable. A wrong row does not raise.
        """
    def get_order(self, order_id: Id, *, user_id: Id | None = None) -> Order:
        """Read one order.

        Args:
            order_id: The order's number, or its id of 24 hex digits.
            user_id: Only if it is this user's order; any user's by default.

        Returns:
            The order.

        Raises:
            NotFound: There is no such order, or it is another user's.
        """
    def list_orders(
        self,
        *,
        user_id: Id | None = None,
        status: OrderStatus | str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> OrderPage:
        """Read one page of orders, newest first.

        Args:
            user_id: Only orders of this user; of all users by default.
            status: Only orders in this status, in any case.
            limit: Size of the page, 1 to 100.
            cursor: The `next_cursor` of the previous page.

        Returns:
            The orders, and the cursor of the next page.

        Raises:
            InvalidInput: An unknown status, a limit out of range, or an invalid cursor.
        """
    def change_status(
        self,
        order_id: Id,
        status: OrderStatus | str,
        *,
        reason: str | None = None,
        actor: Id | None = None,
    ) -> Order:
        """Move an order to another status. Moving it to its current status changes nothing.

        Args:
            order_id: The order's number, or its id of 24 hex digits.
            status: The new status, in any case.
            reason: Reason for the order's history, at most 500 characters.
            actor: Who makes the change, for the history; `system` by default.

        Returns:
            The order after the change.

        Raises:
            InvalidInput: An unknown status, or a reason that is too long.
            NotFound: There is no such order.
            InvalidTransition: The current status does not allow this; see `allowed`.
        """
    def cancel_order(
        self, order_id: Id, *, reason: str | None = None, actor: Id | None = None
    ) -> Order:
        """Cancel an order and release the stock that it reserved.

        Args:
            order_id: The order's number, or its id of 24 hex digits.
            reason: Reason for the order's history, at most 500 characters.
            actor: Who cancels, for the history; `system` by default.

        Returns:
            The cancelled order.

        Raises:
            InvalidInput: A reason that is too long.
            NotFound: There is no such order.
            InvalidTransition: The order has been shipped, delivered or returned.
        """
    def delete_order(
        self, order_id: Id, *, reason: str | None = None, actor: Id | None = None
    ) -> None:
        """Delete an order and release the stock that it reserved. Its history is kept.

        Args:
            order_id: The order's number, or its id of 24 hex digits.
            reason: Reason for the order's history, at most 500 characters.
            actor: Who deletes, for the history; `system` by default.

        Raises:
            InvalidInput: A reason that is too long.
            NotFound: There is no such order.
            InvalidTransition: The order has been shipped and not delivered yet.
        """
    def order_history(self, order_id: Id) -> list[HistoryEntry]:
        """Read the changes of an order, oldest first; also of a deleted order.

        Args:
            order_id: The order's number, or its id of 24 hex digits.

        Returns:
            One entry for each version of the order.

        Raises:
            NotFound: There is no such order.
        """
    def get_user(self, user_id: Id) -> User:
        """Read a user.

        Args:
            user_id: The user's id.

        Returns:
            What is known about the user.

        Raises:
            NotFound: No event and no `upsert_user` has named this user. Such a user may place
                orders unless `allow_unknown_users` is off.
        """
    def upsert_user(
        self,
        user_id: Id,
        *,
        username: str | None = None,
        email: str | None = None,
        address: str | None = None,
        contact: str | None = None,
    ) -> None:
        """Create or update a user. Arguments that are left out keep their value.

        A new address applies to orders that are placed from now on.

        Args:
            user_id: The user's id.
            username: Display name.
            email: Email address.
            address: Delivery address.
            contact: Telephone number or other contact.

        Raises:
            InvalidInput: Text that PostgreSQL cannot store.
        """
    def get_product(self, product_id: Id) -> Product:
        """Read a product: name, price and stock.

        Args:
            product_id: The product's id.

        Returns:
            The product; without a price if only its stock is known.

        Raises:
            ProductNotFound: The product is unknown.
        """
    def upsert_product(
        self,
        product_id: Id,
        *,
        name: str,
        price: Decimal | float | str,
        quantity: int | None = None,
    ) -> None:
        """Create a product, or change its name and price. Placed orders keep theirs.

        Args:
            product_id: The product's id.
            name: Display name.
            price: Price of one unit in the configured currency, from 0 to below 10^15, at most four
                decimals. A float stands for the digits that Python prints.
            quantity: Initial stock in units. Ignored if the stock is already known; then use
                `set_stock`.

        Raises:
            InvalidInput: A price or a quantity out of range.
        """
    def set_stock(self, product_id: Id, quantity: int) -> None:
        """Set the stock of a product, as an `inventory.updated` event would.

        The number includes units that are reserved by placed orders. A lower number than before is
        taken as the product service's deduction for those orders, oldest first, so that they are
        not deducted twice.

        Args:
            product_id: The product's id. Through this API a product without a price cannot be
                ordered.
            quantity: Units in stock, 0 or more.

        Raises:
            InvalidInput: A quantity out of range.
        """
    def apply_event(
        self,
        routing_key: str,
        body: bytes | str | Mapping[str, object] | Sequence[object],
        *,
        correlation_id: str | None = None,
        message_id: str | None = None,
        redelivered: bool = False,
    ) -> None:
        """Apply a message that your own consumer received, all of it or nothing.

        Users, products and stock are read as by the engine's own consumer. A message that was
        applied before, here or there, is ignored: it is recognized by its message id, or, if it
        has none, by its body when the broker marks it as redelivered.

        Args:
            routing_key: Routing key of the message, such as `user.registered`.
            body: The JSON, or the dict or list that it stands for.
            correlation_id: Correlation id of the message. With `inventory.updated` it names the
                order.
            message_id: Message id; in pika `properties.message_id`.
            redelivered: Whether the broker may have delivered the message before; in pika
                `method.redelivered`.

        Raises:
            InvalidInput: The message cannot be decoded, or a value is out of range.
            Conflict: The message has no id and the engine's own consumer is running: the same
                message arrives there, and a duplicate could not be recognized.
        """
    def execute(
        self,
        query: str,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        token: str | None = None,
        headers: Headers | None = None,
    ) -> dict[str, Any]:
        """Execute a GraphQL request in this process, as the HTTP endpoint would.

        Args:
            query: The GraphQL document.
            variables: Values of its variables.
            operation_name: The operation to execute, if the document has several.
            token: The JWT for `Authorization: Bearer`.
            headers: Headers of the request; `Authorization` and `Idempotency-Key` are used.

        Returns:
            The response with `data`, `errors` or both. An invalid token or document is reported in
            `errors`, not raised.

        Raises:
            InvalidInput: Text that is not valid, variables that JSON cannot express, or a malformed
                header.
            Misconfigured: No contract with GraphQL is served, or no secret is set.
        """
    def handle_http(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | None = None,
        client: str | None = None,
    ) -> HttpResponse:
        """Answer an HTTP request that another server received.

        `order_engine.wsgi`, `order_engine.asgi` and `order_engine.flask` do this for whole apps.

        Args:
            method: `GET`, `POST` and so on.
            target: Path and query, percent-encoded; the path starts with `/`.
            headers: Headers of the request.
            body: Body of the request. More than 1 MiB is refused.
            client: Address of the client, for rate limits and `*_auth_networks`.

        Returns:
            Status, headers, body. A streamed body is in `stream`; see `next_chunk`.

        Raises:
            InvalidInput: The arguments are not an HTTP request.
            Misconfigured: No secret is set to verify tokens with.
        """
    def next_chunk(self, stream: ResponseStream) -> bytes | None:
        """Wait for the next chunk of a streamed body.

        Args:
            stream: The `stream` of a response.

        Returns:
            The chunk; None at the end.
        """
    def open_websocket(self, headers: Headers, client: str | None = None) -> WebSocket | None:
        """Open the engine's side of a WebSocket on `/graphql` that another server holds.

        Args:
            headers: Headers of the upgrade request.
            client: Address of the client.

        Returns:
            The socket; None if the client offers no GraphQL protocol. Then refuse the connection.
        """
    def migration_router(self) -> MigrationRouter:
        """Return the migration router between the program's own code and the engine.

        `order_engine.flask` asks it about every request.

        Returns:
            The router; the first call loads its rules.
        """
    def events_tail(self, *, order_id: Id | None = None, limit: int = 20) -> list[Event]:
        """List the latest events and the delivery state of their messages, oldest first.

        Args:
            order_id: Only events of this order.
            limit: Number of events, 1 to 1,000.

        Returns:
            The events.

        Raises:
            InvalidInput: A limit out of range.
        """
    def events_dead_letters(self, *, limit: int = 100) -> list[DeadLetter]:
        """List the messages that could not be published or applied, oldest first.

        Args:
            limit: Number of messages, 1 to 1,000.

        Returns:
            The messages, each with the reason.

        Raises:
            InvalidInput: A limit out of range.
        """
    def events_retry(self, ids: Iterable[int] | None = None) -> int:
        """Publish or apply dead letters again. Their attempts are counted anew.

        Args:
            ids: The messages' numbers; all of them by default.

        Returns:
            Number of messages.

        Raises:
            NotFound: One of the ids is not a dead letter; nothing was changed.
            InvalidInput: An incoming message still cannot be decoded; it stays a dead letter.
        """
    def events_skip(self, ids: Iterable[int]) -> int:
        """Discard dead letters for good, so that the messages behind them are published.

        Args:
            ids: The messages' numbers.

        Returns:
            Number of messages.

        Raises:
            NotFound: One of the ids is not a dead letter; nothing was changed.
        """
    def events_replay(
        self,
        *,
        contract: str | None = None,
        order_ids: Iterable[Id] | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        after: str | None = None,
        rate_per_s: int = 1000,
        dry_run: bool = False,
    ) -> ReplayProgress:
        """Publish past events again, for example after a queue was lost.

        The messages are rebuilt from the history with their original ids, and carry the header
        `x-replay: true`. They are sent in the order of each order's versions, oldest orders first,
        before live events that are still waiting. A message that is still waiting is not sent
        twice. Repeating a replay is safe: it sends the same messages again.

        The call pauses whenever 1,000 of its messages are waiting.

        Args:
            contract: Only for the consumers of this contract, which must be enabled.
            order_ids: Only events of these orders.
            since: Only events from this time on: an aware datetime, or a timedelta before now.
            until: Only events before this time; now by default.
            after: The `cursor` of an interrupted replay, to resume it.
            rate_per_s: Messages written to the outbox per second, 1 to 100,000.
            dry_run: Only count the messages.

        Returns:
            Number of events and messages, and of messages that still wait.

        Raises:
            InvalidInput: A wrong argument, or `until` is not after `since`.
            Unavailable: No message was published for a minute: no relay is running, or each order
                has a dead letter. `context["cursor"]` is the place to resume at.
        """
    def health(self) -> list[Check]:
        """Check the parts that the engine uses: database, brokers, caches.

        Returns:
            One entry for each part.
        """

@final
class Event:
    """One event of an order and the delivery state of its messages."""

    __match_args__ = ("order_id", "version", "at", "action", "status", "delivery")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls,
        order_id: int,
        version: int,
        at: datetime,
        action: str,
        status: OrderStatus,
        delivery: str,
    ) -> Event: ...
    @property
    def order_id(self) -> int:
        """The order's number."""
    @property
    def version(self) -> int:
        """The order's version after the event."""
    @property
    def at(self) -> datetime:
        """Time of the event."""
    @property
    def action(self) -> str:
        """Kind of change: `placed`, `updated` or `deleted`."""
    @property
    def status(self) -> OrderStatus:
        """Status after the event."""
    @property
    def delivery(self) -> str:
        """Delivery state of the event's messages.

        `waiting` or `dead-lettered` while at least one message is; `done` when none is left.
        """
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class HistoryEntry:
    """One change of an order."""

    __match_args__ = ("version", "at", "actor", "action", "previous_status", "status", "reason")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls,
        version: int,
        at: datetime,
        actor: str,
        action: str,
        previous_status: OrderStatus | None,
        status: OrderStatus,
        reason: str | None,
    ) -> HistoryEntry: ...
    @property
    def version(self) -> int:
        """The order's version after the change."""
    @property
    def at(self) -> datetime:
        """Time of the change."""
    @property
    def actor(self) -> str:
        """Who made the change: a user id, the `actor` of the call, or `system`."""
    @property
    def action(self) -> str:
        """Kind of change: `placed`, `updated` or `deleted`."""
    @property
    def previous_status(self) -> OrderStatus | None:
        """Status before the change; None for the first entry."""
    @property
    def status(self) -> OrderStatus:
        """Status after the change."""
    @property
    def reason(self) -> str | None:
        """The `reason` of the call, if one was given."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class HttpResponse:
    """The response to an HTTP request, whole or as a stream."""
    @property
    def body(self) -> bytes:
        """The whole body; empty for a stream."""
    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names in lower case, and values.

        `content-length` is among them unless the body is a stream.
        """
    @property
    def status(self) -> int:
        """The status code."""
    @property
    def stream(self) -> ResponseStream | None:
        """The streamed body, for `next_chunk`; None if `body` is complete."""

@final
class MigrationRouter:
    """The migration router of this process. It follows changes of the routing rules."""
    def route(self, method: str, target: str, headers: Headers, body: bytes) -> RoutingDecision:
        """Decide who answers a request; in stage `shadow`, start running it on the engine as well.

        Takes microseconds. If the answers of the operation differed within the last minute, it
        waits for the engine's answer, 50 ms at most.

        Args:
            method: `GET`, `POST` and so on.
            target: Path and query, percent-encoded.
            headers: Headers of the request.
            body: Body of the request.

        Returns:
            Who answers.

        Raises:
            Unavailable: This process is a fork of the one that opened the router.
        """

@final
class Order:
    """An order as it was when it was read."""

    __match_args__ = (
        "id",
        "user_id",
        "status",
        "lines",
        "total",
        "currency",
        "address",
        "version",
        "created_at",
        "updated_at",
    )
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls,
        id: int,
        user_id: str,
        status: OrderStatus,
        lines: tuple[OrderLine, ...],
        total: Decimal,
        currency: str,
        address: str | None,
        version: int,
        created_at: datetime,
        updated_at: datetime,
    ) -> Order: ...
    @property
    def id(self) -> int:
        """The order's number, at least 1."""
    @property
    def user_id(self) -> str:
        """Id of the customer."""
    @property
    def status(self) -> OrderStatus:
        """The order's status; equal to its text, such as `"pending"`."""
    @property
    def lines(self) -> tuple[OrderLine, ...]:
        """The lines in the order in which they were given."""
    @property
    def total(self) -> Decimal:
        """Sum of the lines; for an order of the contract `jobs`, what its client stated."""
    @property
    def currency(self) -> str:
        """Currency of all amounts, an ISO 4217 code such as `USD`."""
    @property
    def address(self) -> str | None:
        """Delivery address at the time of placement; None if it was not known."""
    @property
    def version(self) -> int:
        """Starts at 1 and increases by 1 with every change."""
    @property
    def created_at(self) -> datetime:
        """Time of placement."""
    @property
    def updated_at(self) -> datetime:
        """Time of the latest change."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class OrderLine:
    """One line of an order: a product, its price and a quantity."""

    __match_args__ = ("id", "product_id", "name", "quantity", "unit_price")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls, id: int, product_id: str, name: str, quantity: int, unit_price: Decimal
    ) -> OrderLine: ...
    @property
    def id(self) -> int:
        """The line's number, unique among the lines of all orders."""
    @property
    def product_id(self) -> str:
        """The product's id."""
    @property
    def name(self) -> str:
        """The product's name when the order was placed."""
    @property
    def quantity(self) -> int:
        """Number of units, at least 1."""
    @property
    def unit_price(self) -> Decimal:
        """Price of one unit when the order was placed, in the order's currency."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class OrderPage:
    """One page of orders."""

    __match_args__ = ("orders", "next_cursor")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(cls, orders: tuple[Order, ...], next_cursor: str | None) -> OrderPage: ...
    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders, at most `limit`."""
    @property
    def next_cursor(self) -> str | None:
        """The `cursor` argument that reads the next page; None on the last page."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class Product:
    """A product of the catalog and its stock."""

    __match_args__ = (
        "product_id",
        "name",
        "price",
        "currency",
        "reported",
        "reserved",
        "available",
        "updated_at",
    )
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls,
        product_id: str,
        name: str | None,
        price: Decimal | None,
        currency: str,
        reported: int | None,
        reserved: int,
        available: int,
        updated_at: datetime,
    ) -> Product: ...
    @property
    def product_id(self) -> str:
        """The product's id."""
    @property
    def name(self) -> str | None:
        """Display name; None while only the stock is known."""
    @property
    def price(self) -> Decimal | None:
        """Price of one unit; None while only the stock is known."""
    @property
    def currency(self) -> str:
        """Currency of the price, an ISO 4217 code."""
    @property
    def reported(self) -> int | None:
        """Units in stock as last reported by the product service; None before the first report."""
    @property
    def reserved(self) -> int:
        """Units reserved by orders that the reported stock does not account for yet."""
    @property
    def available(self) -> int:
        """Units that can be ordered now: `reported` minus `reserved`, at least 0."""
    @property
    def updated_at(self) -> datetime:
        """Time of the latest change."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class ReplayProgress:
    """Progress or result of a replay."""

    __match_args__ = ("events", "messages", "waiting", "cursor", "until")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls, events: int, messages: int, waiting: int, cursor: str | None, until: datetime
    ) -> ReplayProgress: ...
    @property
    def events(self) -> int:
        """Events processed so far."""
    @property
    def messages(self) -> int:
        """Messages written to the outbox; with `dry_run`, messages that would be written."""
    @property
    def waiting(self) -> int:
        """Replayed messages that were not published yet when this was counted."""
    @property
    def cursor(self) -> str | None:
        """The `after` argument that resumes behind the last event; None before the first event."""
    @property
    def until(self) -> datetime:
        """Only events before this time are replayed. Pass it on to resume the same replay."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class ResponseStream:
    """A streamed body. Dropping it ends the stream."""

@final
class RoutingDecision:
    """Who answers one request."""
    @property
    def stage(self) -> str:
        """`engine` if the engine answers; `legacy` or `shadow` if the legacy code does."""
    def report_legacy(self, status: int, body: bytes) -> None:
        """Report the legacy code's answer, to compare it with the engine's.

        Args:
            status: HTTP status.
            body: Body of the answer.
        """

@final
class RoutingRule:
    """Who answers one operation: the legacy code or the engine."""

    __match_args__ = ("operation", "stage", "percent", "users", "ignored", "updated_at")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls,
        operation: str,
        stage: str | None,
        percent: int | None,
        users: tuple[str, ...],
        ignored: tuple[str, ...],
        updated_at: datetime,
    ) -> RoutingRule: ...
    @property
    def operation(self) -> str:
        """A GraphQL field, a route, or `*` for all operations without a rule of their own."""
    @property
    def stage(self) -> str | None:
        """`legacy`, `shadow` or `engine`; None if the rule only sets `ignored`."""
    @property
    def percent(self) -> int | None:
        """Share of users for whom the stage applies, 0 to 100; None for all users."""
    @property
    def users(self) -> tuple[str, ...]:
        """Users for whom the stage applies regardless of `percent`."""
    @property
    def ignored(self) -> tuple[str, ...]:
        """Response fields that are not compared."""
    @property
    def updated_at(self) -> datetime:
        """Time of the latest change."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class SettingInfo:
    """Description of one setting."""

    __match_args__ = ("name", "variables", "default", "secret", "help")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls, name: str, variables: tuple[str, ...], default: str, secret: bool, help: str
    ) -> SettingInfo: ...
    @property
    def name(self) -> str:
        """Name of the setting, such as `database_url`."""
    @property
    def variables(self) -> tuple[str, ...]:
        """Environment variables that set it; the first one that is set wins."""
    @property
    def default(self) -> str:
        """Default value as text; empty if there is none."""
    @property
    def secret(self) -> bool:
        """Whether the value is a secret and must not be shown."""
    @property
    def help(self) -> str:
        """What the setting does, with unit and range."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class SettingValue:
    """One setting and its effective value."""

    __match_args__ = ("name", "value", "origin")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(cls, name: str, value: str | None, origin: str) -> SettingValue: ...
    @property
    def name(self) -> str:
        """Name of the setting, such as `database_url`."""
    @property
    def value(self) -> str | None:
        """Effective value; secrets are masked. None if there is no value."""
    @property
    def origin(self) -> str:
        """Origin of the value.

        `flag`, `environment (DATABASE_URL)`, `.env (DATABASE_URL)`, `order-engine.toml`,
        `default` or `not set`.
        """
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class ShadowCounts:
    """Outcomes of the shadowed requests of one operation."""

    __match_args__ = ("operation", "matched", "differed", "unsettled", "failed", "skipped", "since")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls,
        operation: str,
        matched: int,
        differed: int,
        unsettled: int,
        failed: int,
        skipped: int,
        since: datetime,
    ) -> ShadowCounts: ...
    @property
    def operation(self) -> str:
        """The operation; `other` for requests that name no known operation."""
    @property
    def matched(self) -> int:
        """Requests that both sides answered alike."""
    @property
    def differed(self) -> int:
        """Requests that the engine answered differently."""
    @property
    def unsettled(self) -> int:
        """Requests with different answers during which the data may have changed."""
    @property
    def failed(self) -> int:
        """Requests for which the engine had no answer: lock conflict, timeout, or no database."""
    @property
    def skipped(self) -> int:
        """Requests that were not run on the engine, or had no legacy answer to compare with."""
    @property
    def since(self) -> datetime:
        """Start of the count."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class ShadowDifference:
    """A shadowed request that the engine answered differently."""

    __match_args__ = (
        "id",
        "operation",
        "at",
        "request",
        "legacy_status",
        "legacy",
        "engine_status",
        "engine",
        "paths",
    )
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls,
        id: int,
        operation: str,
        at: datetime,
        request: str,
        legacy_status: int,
        legacy: str,
        engine_status: int,
        engine: str,
        paths: tuple[str, ...],
    ) -> ShadowDifference: ...
    @property
    def id(self) -> int:
        """Number of the difference; later ones have higher numbers."""
    @property
    def operation(self) -> str:
        """The operation."""
    @property
    def at(self) -> datetime:
        """Time of the request."""
    @property
    def request(self) -> str:
        """Document and variables as JSON, without headers; at most 16 KiB."""
    @property
    def legacy_status(self) -> int:
        """HTTP status of the legacy answer."""
    @property
    def legacy(self) -> str:
        """Body of the legacy answer; at most 16 KiB."""
    @property
    def engine_status(self) -> int:
        """HTTP status of the engine's answer."""
    @property
    def engine(self) -> str:
        """Body of the engine's answer; at most 16 KiB."""
    @property
    def paths(self) -> tuple[str, ...]:
        """Paths at which the answers differ, at most 50, such as `createOrder.orders.0.status`."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class ShadowReport:
    """Outcomes of shadowed requests."""

    __match_args__ = ("counts", "differences")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls, counts: tuple[ShadowCounts, ...], differences: tuple[ShadowDifference, ...]
    ) -> ShadowReport: ...
    @property
    def counts(self) -> tuple[ShadowCounts, ...]:
        """Counts of each operation."""
    @property
    def differences(self) -> tuple[ShadowDifference, ...]:
        """Differences, newest first; the latest 1,000 of each operation are kept."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class SinkFeed:
    """The batches for one sink, for a thread.

    Call `next`, then `settle` or `fail`, for one batch after the other.
    """
    def next(self) -> list[SinkMessage] | None:
        """Wait for the next batch.

        Returns:
            The batch; None when the engine is closed.
        """
    def settle(self, rejections: list[str | None]) -> None:
        """Report the outcome of each message of the batch.

        Args:
            rejections: For each message None, or why the sink rejected it.
        """
    def fail(self, reason: str) -> None:
        """Report that the outcome of the whole batch is unknown. It is sent again.

        Args:
            reason: What happened.
        """

@final
class SinkMessage:
    """An event as a sink receives it."""

    __match_args__ = (
        "message_id",
        "event",
        "order_id",
        "hex_id",
        "version",
        "body",
        "attempts",
        "replayed",
    )
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls,
        message_id: str,
        event: str,
        order_id: int,
        hex_id: str,
        version: int,
        body: str,
        attempts: int,
        replayed: bool,
    ) -> SinkMessage: ...
    @property
    def message_id(self) -> str:
        """Id of the event, the same on every attempt."""
    @property
    def event(self) -> str:
        """`order.placed`, `order.updated` or `order.deleted`."""
    @property
    def order_id(self) -> int:
        """The order's number."""
    @property
    def hex_id(self) -> str:
        """The order's id as 24 hex digits, the `_id` of some contracts."""
    @property
    def version(self) -> int:
        """The order's version after the event: 1 for a new order."""
    @property
    def body(self) -> str:
        """The event as JSON; see docs/SINKS.md."""
    @property
    def attempts(self) -> int:
        """How many times the sink has rejected this message."""
    @property
    def replayed(self) -> bool:
        """Whether a replay sent the message."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class Stop:
    """A signal that ends the waits of a consumer.

    Setting it neither blocks nor fails: it may be set in a signal handler, from any thread, and
    before or after the consumer's lifetime.
    """
    def __new__(cls) -> Stop: ...
    def set(self) -> None:
        """Set the signal for good."""
    def is_set(self) -> bool:
        """Return whether the signal is set.

        Returns:
            Whether it is.
        """

@final
class User:
    """A user as published by other services or set with `upsert_user`."""

    __match_args__ = ("user_id", "username", "email", "address", "contact", "updated_at")
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    def __new__(
        cls,
        user_id: str,
        username: str | None,
        email: str | None,
        address: str | None,
        contact: str | None,
        updated_at: datetime,
    ) -> User: ...
    @property
    def user_id(self) -> str:
        """The user's id."""
    @property
    def username(self) -> str | None:
        """Display name, if known."""
    @property
    def email(self) -> str | None:
        """Email address, if known."""
    @property
    def address(self) -> str | None:
        """Delivery address of new orders, if known."""
    @property
    def contact(self) -> str | None:
        """Telephone number or other contact, if known."""
    @property
    def updated_at(self) -> datetime:
        """Time of the latest change."""
    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name.

        Nested results become dicts and tuples become lists; other values stay as they are.

        Returns:
            A new dict.
        """

@final
class WebSocket:
    """The engine's side of a WebSocket. Dropping it means that the client is gone."""
    @property
    def protocol(self) -> str:
        """The selected subprotocol, for the response to the client."""
    def receive(self, text: str) -> Future[bool]:
        """Pass on a message of the client.

        Args:
            text: The message.

        Returns:
            False when the socket has ended.
        """
    def next(self) -> Future[str | tuple[int, str] | None]:
        """Wait for the next message to the client. Pings are left to the server.

        Returns:
            Text, or the close code and reason, or None at the end.
        """

def adopt(
    flags: dict[str, str],
    *,
    dry_run: bool = False,
    announce: bool | None = None,
    time_zone: str | None = None,
    map_status: list[str] = ...,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> str:
    """Adopt the database of an older application, which continues to use it.

    An interrupted adoption resumes when it is called again. Repeating an adoption brings the
    engine's tables up to date with the older ones.

    Args:
        flags: Settings.
        dry_run: Only check; changes nothing.
        announce: Whether the engine publishes the older application's changes. None keeps the
            previous choice, initially off.
        time_zone: Time zone of the older application's timestamps. None keeps the previous choice,
            initially UTC.
        map_status: What the older application's own words for a status mean, such as
            `Paid=confirmed`; `null` stands for a missing status. Entries of earlier runs remain.
        on_progress: Called with the stage, the number of rows done and their total. An exception
            stops the adoption and is raised here.

    Returns:
        The report as JSON.

    Raises:
        Misconfigured: The database does not have the expected tables; `problems` lists why.
        InvalidInput: An unknown time zone, or another one than before; an invalid entry of
            `map_status`.
        Conflict: Another adoption of this database is running.
    """

def consumer_dead_letters(
    flags: dict[str, str], queue: str, limit: int = 100
) -> list[DeadLetterEvent]:
    """List the dead letters of a queue's consumers, oldest first.

    Args:
        flags: Settings.
        queue: The queue that is consumed.
        limit: Number of messages, 1 to 1,000.

    Returns:
        The messages.

    Raises:
        InvalidInput: A limit out of range.
    """

def consumer_retry(flags: dict[str, str], queue: str, ids: list[str] | None = None) -> int:
    """Put dead letters back into their queue.

    Args:
        flags: Settings.
        queue: The queue that is consumed.
        ids: The messages; None means all of them.

    Returns:
        Number of messages.

    Raises:
        NotFound: The queue does not exist.
    """

def consumer_skip(flags: dict[str, str], queue: str, ids: list[str]) -> int:
    """Discard dead letters for good.

    Args:
        flags: Settings.
        queue: The queue that is consumed.
        ids: The messages.

    Returns:
        Number of messages.
    """

def describe_contract(flags: dict[str, str], contract: str, language: str) -> str:
    """Describe one part of a contract, as configured. Connects to nothing.

    Args:
        flags: Settings.
        contract: Name of the contract.
        language: `openapi` for the REST API, `graphql` for the GraphQL schema, `asyncapi` for the
            events.

    Returns:
        The description; ends with a newline.

    Raises:
        Misconfigured: There is no such contract, it has no such part, or settings are wrong.
        InvalidInput: There is no such language.
    """

def describe_settings(flags: dict[str, str]) -> list[SettingValue]:
    """List every setting with its effective value, in the order of the documentation.

    Wrong values are listed as they are; secrets are masked.

    Args:
        flags: Settings.

    Returns:
        The settings.
    """

def described_contracts(language: str) -> list[str]:
    """List the contracts that a language can describe.

    Args:
        language: `openapi`, `graphql` or `asyncapi`.

    Returns:
        Names of the contracts.

    Raises:
        InvalidInput: There is no such language.
    """

def doctor(flags: dict[str, str], check_ports: bool = True) -> list[Check]:
    """Check every part that the engine would use: settings, database, tables, brokers, ports.

    A part that does not work is reported as an entry that is not `ok`; it does not raise.

    Args:
        flags: Settings.
        check_ports: Whether to check that the ports are free.

    Returns:
        One entry for each part.
    """

def error_kinds() -> dict[str, bool]:
    """Return the code of every error kind.

    Returns:
        For each code, whether the same call may succeed when it is made again.
    """

def events_dead_letters(flags: dict[str, str], limit: int = 100) -> list[DeadLetter]:
    """List the messages that could not be published or applied, oldest first.

    Args:
        flags: Settings.
        limit: Number of messages, 1 to 1,000.

    Returns:
        The messages, each with the reason.

    Raises:
        InvalidInput: A limit out of range.
    """

def events_replay(
    flags: dict[str, str],
    *,
    order_ids: Iterable[Id] | None = None,
    since: datetime | timedelta | None = None,
    until: datetime | timedelta | None = None,
    after: str | None = None,
    rate_per_s: int = 1000,
    dry_run: bool = False,
    on_progress: Callable[[ReplayProgress], None] | None = None,
) -> ReplayProgress:
    """Publish past events again, for the contracts of the settings.

    Args:
        flags: Settings.
        order_ids: Only events of these orders.
        since: Only events from this time on.
        until: Only events before this time; now by default.
        after: The `cursor` of an interrupted replay, to resume it.
        rate_per_s: Messages written to the outbox per second, 1 to 100,000.
        dry_run: Only count the messages.
        on_progress: Called about once a second and at the end; also before a KeyboardInterrupt is
            raised. An exception stops the replay and is raised here.

    Returns:
        Number of events and messages, and of messages that still wait.

    Raises:
        InvalidInput: A wrong argument, or `until` is not after `since`.
        Unavailable: Also when no message is published for a minute; `context["cursor"]` is the
            place to resume at.
    """

def events_retry(flags: dict[str, str], ids: list[int] | None = None) -> int:
    """Publish or apply dead letters again.

    Args:
        flags: Settings.
        ids: The messages' numbers; None means all of them.

    Returns:
        Number of messages.

    Raises:
        NotFound: One of the ids is not a dead letter; nothing was changed.
    """

def events_skip(flags: dict[str, str], ids: list[int]) -> int:
    """Discard dead letters for good, so that the messages behind them are published.

    Args:
        flags: Settings.
        ids: The messages' numbers.

    Returns:
        Number of messages.

    Raises:
        NotFound: One of the ids is not a dead letter; nothing was changed.
    """

def events_tail(flags: dict[str, str], order_id: Id | None = None, limit: int = 20) -> list[Event]:
    """List the latest events and the delivery state of their messages, oldest first.

    Args:
        flags: Settings.
        order_id: Only events of this order.
        limit: Number of events, 1 to 1,000.

    Returns:
        The events.

    Raises:
        InvalidInput: A limit out of range.
    """

def migrate(flags: dict[str, str]) -> list[str]:
    """Apply the migrations that the database lacks. Concurrent calls wait for each other.

    Args:
        flags: Settings.

    Returns:
        Names of the applied migrations.
    """

def mint_token(
    flags: dict[str, str], user_id: str, admin: bool = False, expires_seconds: int = 3600
) -> str:
    """Sign a token with the configured `jwt_secret_key`.

    Args:
        flags: Settings.
        user_id: User id to issue the token for.
        admin: Whether to grant the admin role.
        expires_seconds: Lifetime, 1 to 31,536,000 seconds (one year).

    Returns:
        The token.

    Raises:
        InvalidInput: An empty user id, or a lifetime out of range.
    """

def reset_test_database(flags: dict[str, str]) -> None:
    """Empty the tables of a test database. Only a server for tests permits this.

    Args:
        flags: Settings.
    """

def routing_rules(flags: dict[str, str]) -> list[RoutingRule]:
    """List the routing rules, by operation.

    Args:
        flags: Settings.

    Returns:
        The rules.
    """

def seed_demo(flags: dict[str, str]) -> DemoCatalog:
    """Create the demo user and products. Needs a migrated database.

    Existing products get their names and prices again, and keep their stock.

    Args:
        flags: Settings.

    Returns:
        The user and the products.
    """

def serve(flags: dict[str, str], on_ready: Callable[[list[str]], None] | None = None) -> None:
    """Serve the configured contracts until SIGINT, SIGTERM or SIGHUP.

    Requests in progress are finished. Call it from the main thread.

    Args:
        flags: Settings.
        on_ready: Called once when every port is open, with the base URLs in the order of the
            setting `contract`. An exception stops the server and is raised here.

    Raises:
        Misconfigured: Also when a port is in use; the message names it.
    """

def set_routing_rule(
    flags: dict[str, str],
    operation: str | None,
    stage: str | None,
    percent: int | None,
    users: list[str],
) -> bool:
    """Set who answers an operation. Running processes follow within a second.

    The stage applies to the named users and to a share of all others. The remaining users get the
    stage before it: `shadow` before `engine`, `legacy` before `shadow`.

    Args:
        flags: Settings.
        operation: A GraphQL field (`createOrder`) or a route (`GET /`). None sets the stage of all
            operations and removes the rules of single ones.
        stage: `legacy`, `shadow` or `engine`. None removes the operation's stage, or, for all
            operations, restores the setting `migration_stage`.
        percent: Share of users for whom the stage applies, 0 to 100; always the same users. None
            without `users` means all users.
        users: Users for whom the stage applies in any case.

    Returns:
        Whether the engine has such an operation. If not, only the legacy code may have it.

    Raises:
        InvalidInput: A name, share or user is out of range, or `legacy` is limited to some users.
    """

def settings() -> list[SettingInfo]:
    """List every setting with its description, in the order of the documentation.

    Returns:
        The settings.
    """

def shadow_clear(flags: dict[str, str], operation: str | None = None) -> int:
    """Delete the outcomes of shadowed requests.

    Args:
        flags: Settings.
        operation: Only of this operation.

    Returns:
        Number of deleted differences.
    """

def shadow_ignore(flags: dict[str, str], operation: str, fields: list[str]) -> None:
    """Replace the list of response fields of an operation that are not compared.

    Args:
        flags: Settings.
        operation: A GraphQL field or a route; `*` for all operations.
        fields: Names, which match everywhere, or paths such as `createOrder.orders.status`.
    """

def shadow_report(
    flags: dict[str, str], operation: str | None = None, limit: int = 20
) -> ShadowReport:
    """Read the outcomes of shadowed requests: counts, and the newest differences.

    Args:
        flags: Settings.
        operation: Only of this operation.
        limit: Number of differences, 1 to 1,000.

    Returns:
        The outcomes.
    """

def undo_adoption(flags: dict[str, str], *, force: bool = False) -> str:
    """Undo an adoption. The older application's tables stay, with everything written since.

    Args:
        flags: Settings.
        force: Undo even if the older tables lack data that the engine has.

    Returns:
        The report as JSON.

    Raises:
        Misconfigured: There is no adoption, or data would be lost.
        Conflict: Another adoption of this database is running.
    """

def unknown_variables() -> list[str]:
    """List the variables of the environment and `.env` that look like settings but set nothing.

    Returns:
        One sentence for each, with a suggestion if a setting has a similar name.
    """

def validate_settings(flags: dict[str, str], *, for_server: bool = True) -> None:
    """Check the settings without connecting to anything.

    Args:
        flags: Settings.
        for_server: Whether everything that a server needs must be set.

    Raises:
        Misconfigured: Settings are missing or wrong; `problems` lists them all.
    """

def work(
    flags: dict[str, str], role: str, on_ready: Callable[[list[str]], None] | None = None
) -> None:
    """Run only the relay or only the consumer until SIGINT, SIGTERM or SIGHUP.

    Call it from the main thread.

    Args:
        flags: Settings; a broker must be among them.
        role: `relay` publishes events; `consumer` applies incoming ones.
        on_ready: Called once, with an empty list, when the work has started.

    Raises:
        InvalidInput: An unknown role.
    """
