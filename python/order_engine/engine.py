"""`OrderEngine`: the verbs of the engine for Python code, with friendly arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from order_engine import _native, arguments, configuration
from order_engine.native_engine import NativeEngine
from order_engine.order_rows import OrderRows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime, timedelta
    from decimal import Decimal
    from types import TracebackType

    from order_engine.arguments import Headers, Id, Item
    from order_engine.exceptions import OrderEngineError
    from order_engine.order_rows import OrderRow
    from order_engine.sinks import Sink


class OrderEngine:
    """The order engine in this process.

    Connects to the database at once; use it as a context manager, or call `close`. Threads may
    share it. With a broker configured, it sends the events of the orders in the background.

    Every call may raise `Unavailable`: when the database cannot be reached, and after `close`.
    A fork of the process may go on with it: the first call there connects anew. With gevent the
    greenlet that calls waits, and the others go on.

    What it has to say it logs as `order_engine`, from the level that this logger has now.

    Example:
        >>> with OrderEngine() as engine:
        ...     engine.upsert_product("tea", name="Tea, 100 g", price="7.25", quantity=10)
        ...     order = engine.place_order(user_id=1, items=[("tea", 2)])
        ...     print(order.total, engine.cancel_order(order.id, reason="no thirst").status)
        14.5 cancelled

    Args:
        database_url: `postgresql://user:password@host:port/database`.
        rabbitmq_url: `amqp://user:password@host:port/vhost`; without it events wait in the
            database.
        jwt_secret_key: The secret shared with those who sign tokens; needed for `execute`.
        sinks: Objects with a method `publish(batch)` that are told of every event, by name; see
            docs/SINKS.md.
        **settings: Any other setting by its name in the documentation. What is not given here
            comes from the environment, `.env`, `order-engine.toml`, and the defaults.

    Raises:
        InvalidInput: A sink cannot publish.
        Misconfigured: Settings are missing or wrong; `problems` lists them all.
        Unavailable: The database cannot be reached.
    """

    def __init__(
        self,
        *,
        database_url: str | None = None,
        rabbitmq_url: str | None = None,
        jwt_secret_key: str | None = None,
        sinks: Mapping[str, Sink] | None = None,
        **settings: str | float | None,
    ) -> None:
        given = {
            "database_url": database_url,
            "rabbitmq_url": rabbitmq_url,
            "jwt_secret_key": jwt_secret_key,
            **settings,
        }
        self._opened = NativeEngine(configuration.given(given), sinks)

    @property
    def _core(self) -> _native.Engine:
        return self._opened.here()

    @classmethod
    def from_env(cls) -> OrderEngine:
        """Open the engine on the environment, `.env` and `order-engine.toml` alone."""
        return cls()

    def place_order(
        self,
        *,
        user_id: Id,
        items: Iterable[Item],
        idempotency_key: str | None = None,
    ) -> _native.Order:
        """Place an order: reserve the stock, fix the prices, announce it; all or nothing.

        Args:
            user_id: Who orders.
            items: The lines: `(product_id, quantity)` tuples, dicts or objects that name both.
            idempotency_key: The same key with the same order returns the first order again
                instead of placing another.

        Raises:
            InvalidInput: No lines, too many, a quantity out of range, an unusable key.
            ProductNotFound: The catalogue does not know a product.
            OutOfStock: Less is available than asked for.
            IdempotencyMismatch: The key was used with another order.
            Conflict: The key is being used at this moment; try again.
        """
        return self._core.place_order(
            arguments.opaque_id(user_id, "user_id"),
            arguments.items(items),
            arguments.optional_text(idempotency_key, "idempotency_key"),
        )

    def place_orders(self, rows: Iterable[OrderRow]) -> list[_native.Order | OrderEngineError]:
        """Place many orders at once, each by itself: one that fails does not keep another back.

        Much faster than one call after the other: orders that wait together are committed
        together. Which of them is placed first is not said; a row that shall wait for another
        goes into a later call.

        Args:
            rows: The orders: `(user_id, items)` or `(user_id, items, idempotency_key)`, or dicts
                or objects that name these.

        Returns:
            For each row the order, or what `place_order` would have raised, as a value.

        Raises:
            InvalidInput: `rows` is no list of rows. A wrong row is not raised.
        """
        batch = OrderRows(rows)
        return batch.merge(self._core.place_orders(batch.placeable))

    def get_order(self, order_id: Id, *, user_id: Id | None = None) -> _native.Order:
        """Read one order.

        Args:
            order_id: Its number.
            user_id: Only if it is this user's; anybody's by default.

        Raises:
            NotFound: No such order (of this user).
        """
        return self._core.get_order(
            arguments.order_id(order_id), arguments.optional_id(user_id, "user_id")
        )

    def list_orders(
        self,
        *,
        user_id: Id | None = None,
        status: str | None = None,
        first: int = 20,
        after: str | None = None,
    ) -> _native.OrderPage:
        """Read a page of orders, newest first.

        Args:
            user_id: Only this user's; everybody's by default.
            status: Only those in this status, an `OrderStatus` or its text in any case.
            first: Size of the page, 1 to 100.
            after: The `next_cursor` of the page before.

        Raises:
            InvalidInput: An unknown status, a size out of range, a forged cursor.
        """
        return self._core.list_orders(
            arguments.optional_id(user_id, "user_id"),
            arguments.optional_text(status, "status"),
            arguments.integer(first, "first"),
            arguments.optional_text(after, "after"),
        )

    def iterate_orders(
        self,
        *,
        user_id: Id | None = None,
        status: str | None = None,
        page_size: int = 100,
    ) -> Iterator[_native.Order]:
        """Go through all orders, newest first, reading a page when it is needed.

        Args:
            user_id: Only this user's; everybody's by default.
            status: Only those in this status.
            page_size: Orders read at once, 1 to 100.

        Raises:
            InvalidInput: An unknown status, a size out of range.
        """
        after: str | None = None
        while True:
            page = self.list_orders(user_id=user_id, status=status, first=page_size, after=after)
            yield from page.orders
            after = page.next_cursor
            if after is None:
                return

    def change_status(self, order_id: Id, status: str) -> _native.Order:
        """Move an order to another status; the one it has already changes nothing.

        Args:
            order_id: Its number.
            status: An `OrderStatus` or its text in any case.

        Raises:
            InvalidInput: An unknown status.
            NotFound: No such order.
            InvalidTransition: It cannot go there; `allowed` says where it can.
        """
        return self._core.change_status(
            arguments.order_id(order_id), arguments.text(status, "status")
        )

    def cancel_order(self, order_id: Id, *, reason: str | None = None) -> _native.Order:
        """Cancel an order and give back what it reserved.

        Args:
            order_id: Its number.
            reason: Kept in the order's history; at most 500 characters.

        Raises:
            InvalidInput: A reason that is too long.
            NotFound: No such order.
            InvalidTransition: It is too late for that.
        """
        return self._core.cancel_order(
            arguments.order_id(order_id), arguments.optional_text(reason, "reason")
        )

    def delete_order(self, order_id: Id) -> None:
        """Delete an order, so that nobody sees it any more, and give back what it reserved.

        Args:
            order_id: Its number.

        Raises:
            NotFound: No such order.
            InvalidTransition: It is on its way.
        """
        self._core.delete_order(arguments.order_id(order_id))

    def order_history(self, order_id: Id) -> list[_native.HistoryEntry]:
        """Tell what happened to an order, oldest first.

        Args:
            order_id: Its number.

        Raises:
            NotFound: No such order.
        """
        return self._core.order_history(arguments.order_id(order_id))

    def get_user(self, user_id: Id) -> _native.User:
        """Read what is known of a user.

        Args:
            user_id: Who.

        Raises:
            NotFound: No service has announced this user, and `upsert_user` has not either. Such a
                user may order all the same, unless a setting refuses it.
        """
        return self._core.get_user(arguments.opaque_id(user_id, "user_id"))

    def upsert_user(
        self,
        user_id: Id,
        *,
        username: str | None = None,
        email: str | None = None,
        address: str | None = None,
        contact: str | None = None,
    ) -> None:
        """Make a user known, or more of them; what is not given stays as it is known.

        Orders that are placed from now on go to the new address.

        Args:
            user_id: Who.
            username: The name to show.
            email: Where to write to.
            address: Where orders go.
            contact: A telephone number or the like.

        Raises:
            InvalidInput: Text that cannot be kept.
        """
        self._core.upsert_user(
            arguments.opaque_id(user_id, "user_id"),
            arguments.optional_text(username, "username"),
            arguments.optional_text(email, "email"),
            arguments.optional_text(address, "address"),
            arguments.optional_text(contact, "contact"),
        )

    def get_product(self, product_id: Id) -> _native.Product:
        """Read a product: its name and price, and how many of it can be ordered now.

        Args:
            product_id: Which; also one that is not sold, because only its stock is known.

        Raises:
            ProductNotFound: Nothing has been heard of it.
        """
        return self._core.get_product(arguments.opaque_id(product_id, "product_id"))

    def upsert_product(
        self,
        product_id: Id,
        *,
        name: str,
        price: Decimal | float | str,
        quantity: int | None = None,
    ) -> None:
        """Make a product known, or change its name and price; placed orders keep theirs.

        Args:
            product_id: Which.
            name: The name to show.
            price: Of one piece, 0 to below 10^15, at most four decimals, in the configured
                currency. A float stands for the digits Python prints of it.
            quantity: Pieces in stock; counts only as long as no stock is known. See `set_stock`.

        Raises:
            InvalidInput: A price or a quantity out of range.
        """
        self._core.upsert_product(
            arguments.opaque_id(product_id, "product_id"),
            arguments.text(name, "name"),
            arguments.amount(price, "price"),
            None if quantity is None else arguments.integer(quantity, "quantity"),
        )

    def set_stock(self, product_id: Id, quantity: int) -> None:
        """Tell how many of a product there are, as an `inventory.updated` event would.

        The number counts what placed orders still hold. One lower than the last is taken as the
        product service's answer to those orders, the oldest first: what it subtracted is not
        held back once more.

        Args:
            product_id: Which; one that is not known yet is not sold before it has a price.
            quantity: Pieces, 0 or more.

        Raises:
            InvalidInput: A quantity out of range.
        """
        self._core.set_stock(
            arguments.opaque_id(product_id, "product_id"),
            arguments.integer(quantity, "quantity"),
        )

    def apply_event(
        self,
        routing_key: str,
        body: bytes | str | Mapping[str, object] | Sequence[object],
        *,
        correlation_id: str | None = None,
        message_id: str | None = None,
        redelivered: bool = False,
    ) -> None:
        """Take in a message that a consumer of yours received, all of it or nothing.

        Users, products and stock are understood as by the engine's own intake. A message that
        was taken in before, here or there, does nothing: one with a message id by that id,
        another one if the broker says that it is a redelivery and its body has been taken in.

        Args:
            routing_key: What it came with: `user.registered`, `inventory.updated`, …
            body: Its JSON, or the dict or list that was made of it.
            correlation_id: The message's own; an `inventory.updated` says with it which order
                it answers.
            message_id: The message's own; pika has it in `properties.message_id`.
            redelivered: Whether the broker says that it may have been delivered before; pika has
                it in `method.redelivered`.

        Raises:
            InvalidInput: It is not understood, or something in it is out of range.
            Conflict: It has no message id, and the engine's own intake is at work somewhere: the
                same message comes there, and nothing could tell that it was taken in twice.
        """
        self._core.apply_event(
            arguments.text(routing_key, "routing_key"),
            arguments.message_body(body),
            arguments.optional_text(correlation_id, "correlation_id"),
            arguments.optional_text(message_id, "message_id"),
            bool(redelivered),
        )

    def execute(
        self,
        query: str,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        token: str | None = None,
        headers: Headers | None = None,
    ) -> dict[str, Any]:
        """Execute a GraphQL request as the HTTP door would, without HTTP.

        Args:
            query: The document.
            variables: Values for its variables; anything JSON can hold.
            operation_name: Which operation, where the document has several.
            token: The JWT that would stand behind `Authorization: Bearer`.
            headers: Headers that the request came with, as a mapping or as pairs; of use are
                `Authorization` and `Idempotency-Key`.

        Returns:
            The response: `data`, `errors` or both. A refused token or a syntax error stands in
            it as it does over HTTP; it is not raised.

        Raises:
            InvalidInput: Text that is not valid, variables JSON cannot hold, a malformed header.
        """
        response: dict[str, Any] = json.loads(
            self._core.execute(
                arguments.text(query, "query"),
                None if variables is None else arguments.json_object(variables, "variables"),
                arguments.optional_text(operation_name, "operation_name"),
                arguments.headers(headers, token),
            )
        )
        return response

    def strangler(self) -> _native.Strangler:
        """Give the switch between this program's own code and the engine.

        `order_engine.flask` asks it about every request; other frameworks can do the same.
        """
        return self._core.strangler()

    def answer_http(
        self, method: str, target: str, headers: Headers, body: bytes = b""
    ) -> _native.Answer:
        """Answer an HTTP request that another server took in, as the engine's own server would.

        `order_engine.wsgi`, `order_engine.asgi` and `order_engine.flask` do this for whole apps.

        Args:
            method: `GET`, `POST`, …
            target: Path and query, percent-encoded; the path begins with `/`.
            headers: Those of the request, as a mapping or as pairs.
            body: Its body; one of more than 1 MiB is refused, so no more need be read of it.

        Returns:
            Status, headers and body. A stream has `pieces` instead of a body; see `next_piece`.

        Raises:
            InvalidInput: This is no HTTP request.
            Misconfigured: No secret is set to check tokens with.
        """
        return self._core.answer(
            arguments.text(method, "method"),
            arguments.text(target, "target"),
            arguments.headers(headers),
            bytes(body),
        )

    def next_piece(self, pieces: _native.Pieces) -> bytes | None:
        """Wait for the next piece of a streamed answer; None when that was all."""
        return self._core.next_piece(pieces)

    def events_tail(self, *, order_id: Id | None = None, limit: int = 20) -> list[_native.Event]:
        """List the latest events of orders and what became of their messages, oldest first.

        Args:
            order_id: Only events of this order.
            limit: At most this many, 1 to 1000.

        Raises:
            InvalidInput: A limit out of range.
        """
        return self._core.events_tail(
            None if order_id is None else arguments.order_id(order_id),
            arguments.integer(limit, "limit"),
        )

    def events_dead_letters(self, *, limit: int = 100) -> list[_native.ParkedMessage]:
        """List messages that were set aside and wait for a decision, the longest waiting first.

        Args:
            limit: At most this many, 1 to 1000.

        Raises:
            InvalidInput: A limit out of range.
        """
        return self._core.events_dead_letters(arguments.integer(limit, "limit"))

    def events_retry(self, ids: Iterable[int] | None = None) -> int:
        """Give parked messages another try.

        Args:
            ids: Their numbers; all of them by default.

        Returns:
            How many.

        Raises:
            NotFound: No parked message has one of these ids; nothing was changed.
            InvalidInput: An incoming one is still not understood: it stays.
        """
        return self._core.events_retry(None if ids is None else arguments.message_ids(ids))

    def events_skip(self, ids: Iterable[int]) -> int:
        """Give parked messages up for good, so that those behind them go on.

        Args:
            ids: Their numbers.

        Returns:
            How many.

        Raises:
            NotFound: No parked message has one of these ids; nothing was changed.
        """
        return self._core.events_skip(arguments.message_ids(ids))

    def events_replay(  # noqa: PLR0913 - each but two narrows the past.
        self,
        *,
        contract: str | None = None,
        order_ids: Iterable[Id] | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        after: str | None = None,
        rate_per_s: int = 1000,
        dry_run: bool = False,
    ) -> _native.Replayed:
        """Tell consumers past events again, such as those of a queue that was lost.

        The messages are those of the first time, with the same ids, written from the history as
        they would be today; each carries the header `x-replay: true`. They leave in the order of
        each order's versions, oldest orders first, and before what is live and still waits. What
        has not left yet is not told twice. Repeating a replay is safe: it sends the same again.

        Waits whenever a thousand of them wait to be sent, for as long as some leave.

        Args:
            contract: Only to the consumers of this contract, which must be enabled.
            order_ids: Only events of these orders.
            since: Only events from this moment on: an aware datetime, or a timedelta for how long
                ago.
            until: Only events before this moment; now by default.
            after: Only events behind this one: the `cursor` of a replay that was left early.
            rate_per_s: Messages put into the outbox per second, 1 to 100 000.
            dry_run: Only count what would be told.

        Returns:
            How many events and messages, and how many of these still wait to be sent.

        Raises:
            InvalidInput: A wrong argument; a past that ends before it begins.
            Unavailable: Also when none of the messages leaves for a minute: no engine sends them,
                or a message of each is parked. `context["cursor"]` says where to go on.
        """
        return self._core.events_replay(
            arguments.past(order_ids, since, until, after),
            arguments.optional_text(contract, "contract"),
            arguments.integer(rate_per_s, "rate_per_s"),
            bool(dry_run),
        )

    def health(self) -> list[_native.Check]:
        """Say how the parts the engine uses are doing; see `ok` and `detail` of each."""
        return self._core.health()

    def close(self) -> None:
        """Stop sending events and close the connections; again does nothing."""
        self._opened.close()

    def __enter__(self) -> OrderEngine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
