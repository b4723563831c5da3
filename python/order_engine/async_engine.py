"""`AsyncOrderEngine`: the verbs of `OrderEngine` as coroutines."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from order_engine import _native, arguments, configuration
from order_engine import sinks as sinks_of
from order_engine.exceptions import Unavailable
from order_engine.order_rows import OrderRows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from decimal import Decimal
    from types import TracebackType

    from order_engine.arguments import Headers, Id, Item
    from order_engine.exceptions import OrderEngineError
    from order_engine.order_rows import OrderRow
    from order_engine.sinks import AsyncSink, Sink


class AsyncOrderEngine:
    """`OrderEngine` for asyncio: the same verbs, arguments, results and errors, to be awaited.

    The work is done on the engine's own threads; the loop goes on. Any number of calls may be
    under way at once, from any loop of the process. A lone read of an order, list, history, user
    or product begins in the loop's thread, which stays with it for a moment: 2 ms at most, and
    seldom where the database does not answer within 0.5 ms.

    Cancelling a call ends its work, unless that has been committed already or is being so:
    whether a cancelled `place_order` has placed the order, only its `idempotency_key` tells.

    It connects in `open`, which `async with` calls; until then every call raises `Unavailable`.

    Example:
        >>> async def main():
        ...     async with AsyncOrderEngine() as engine:
        ...         await engine.upsert_product("mug", name="Mug", price="9.50", quantity=10)
        ...         orders = [engine.place_order(user_id=1, items=[("mug", 1)]) for _ in range(3)]
        ...         return sum(order.total for order in await asyncio.gather(*orders))
        >>> asyncio.run(main())
        Decimal('28.5')

    Args:
        database_url: See `OrderEngine`, as for the others.
        rabbitmq_url: Where events are sent to.
        jwt_secret_key: What tokens are checked with.
        sinks: As for `OrderEngine`; here `publish` may be a coroutine function too.
        **settings: Any other setting.
    """

    def __init__(
        self,
        *,
        database_url: str | None = None,
        rabbitmq_url: str | None = None,
        jwt_secret_key: str | None = None,
        sinks: Mapping[str, Sink | AsyncSink] | None = None,
        **settings: str | float | None,
    ) -> None:
        self._settings = configuration.given(
            {
                "database_url": database_url,
                "rabbitmq_url": rabbitmq_url,
                "jwt_secret_key": jwt_secret_key,
                **settings,
            }
        )
        self._sinks = sinks_of.checked(sinks)
        already = configuration.value(self._settings, "sinks") if self._sinks else None
        sinks_of.named(self._settings, already, self._sinks)
        self._opened: _native.AsyncEngine | None = None
        self._feeding: list[asyncio.Task[None]] = []

    @classmethod
    def from_env(cls) -> AsyncOrderEngine:
        """See `OrderEngine.from_env`; it connects in `open`."""
        return cls()

    async def open(self) -> AsyncOrderEngine:
        """Connect and give the engine itself; again does nothing.

        Raises:
            Misconfigured: Settings are missing or wrong; `problems` lists them all.
            Unavailable: The database cannot be reached.
        """
        if self._opened is None:
            self._opened = await _native.AsyncEngine.open(self._settings, list(self._sinks))
            pairs = zip(self._sinks.items(), self._opened.sink_feeds(), strict=True)
            self._feeding = [
                asyncio.create_task(sinks_of.feed(name, sink, source))
                for (name, sink), source in pairs
            ]
        return self

    @property
    def _core(self) -> _native.AsyncEngine:
        if self._opened is None:
            raise Unavailable("This engine is not open yet. Use `async with`, or await open().")
        return self._opened

    async def place_order(
        self,
        *,
        user_id: Id,
        items: Iterable[Item],
        idempotency_key: str | None = None,
    ) -> _native.Order:
        """See `OrderEngine.place_order`."""
        return await self._core.place_order(
            arguments.opaque_id(user_id, "user_id"),
            arguments.items(items),
            arguments.optional_text(idempotency_key, "idempotency_key"),
        )

    async def place_orders(
        self, rows: Iterable[OrderRow]
    ) -> list[_native.Order | OrderEngineError]:
        """See `OrderEngine.place_orders`."""
        batch = OrderRows(rows)
        return batch.merge(await self._core.place_orders(batch.placeable))

    async def get_order(self, order_id: Id, *, user_id: Id | None = None) -> _native.Order:
        """See `OrderEngine.get_order`."""
        return await self._core.get_order(
            arguments.order_id(order_id), arguments.optional_id(user_id, "user_id")
        )

    async def list_orders(
        self,
        *,
        user_id: Id | None = None,
        status: str | None = None,
        first: int = 20,
        after: str | None = None,
    ) -> _native.OrderPage:
        """See `OrderEngine.list_orders`."""
        return await self._core.list_orders(
            arguments.optional_id(user_id, "user_id"),
            arguments.optional_text(status, "status"),
            arguments.integer(first, "first"),
            arguments.optional_text(after, "after"),
        )

    async def iterate_orders(
        self,
        *,
        user_id: Id | None = None,
        status: str | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[_native.Order]:
        """See `OrderEngine.iterate_orders`; for `async for`."""
        after: str | None = None
        while True:
            page = await self.list_orders(
                user_id=user_id, status=status, first=page_size, after=after
            )
            for order in page.orders:
                yield order
            after = page.next_cursor
            if after is None:
                return

    async def change_status(self, order_id: Id, status: str) -> _native.Order:
        """See `OrderEngine.change_status`."""
        return await self._core.change_status(
            arguments.order_id(order_id), arguments.text(status, "status")
        )

    async def cancel_order(self, order_id: Id, *, reason: str | None = None) -> _native.Order:
        """See `OrderEngine.cancel_order`."""
        return await self._core.cancel_order(
            arguments.order_id(order_id), arguments.optional_text(reason, "reason")
        )

    async def delete_order(self, order_id: Id) -> None:
        """See `OrderEngine.delete_order`."""
        await self._core.delete_order(arguments.order_id(order_id))

    async def order_history(self, order_id: Id) -> list[_native.HistoryEntry]:
        """See `OrderEngine.order_history`."""
        return await self._core.order_history(arguments.order_id(order_id))

    async def get_user(self, user_id: Id) -> _native.User:
        """See `OrderEngine.get_user`."""
        return await self._core.get_user(arguments.opaque_id(user_id, "user_id"))

    async def upsert_user(
        self,
        user_id: Id,
        *,
        username: str | None = None,
        email: str | None = None,
        address: str | None = None,
        contact: str | None = None,
    ) -> None:
        """See `OrderEngine.upsert_user`."""
        await self._core.upsert_user(
            arguments.opaque_id(user_id, "user_id"),
            arguments.optional_text(username, "username"),
            arguments.optional_text(email, "email"),
            arguments.optional_text(address, "address"),
            arguments.optional_text(contact, "contact"),
        )

    async def get_product(self, product_id: Id) -> _native.Product:
        """See `OrderEngine.get_product`."""
        return await self._core.get_product(arguments.opaque_id(product_id, "product_id"))

    async def upsert_product(
        self,
        product_id: Id,
        *,
        name: str,
        price: Decimal | float | str,
        quantity: int | None = None,
    ) -> None:
        """See `OrderEngine.upsert_product`."""
        await self._core.upsert_product(
            arguments.opaque_id(product_id, "product_id"),
            arguments.text(name, "name"),
            arguments.amount(price, "price"),
            None if quantity is None else arguments.integer(quantity, "quantity"),
        )

    async def set_stock(self, product_id: Id, quantity: int) -> None:
        """See `OrderEngine.set_stock`."""
        await self._core.set_stock(
            arguments.opaque_id(product_id, "product_id"),
            arguments.integer(quantity, "quantity"),
        )

    async def apply_event(
        self,
        routing_key: str,
        body: bytes | str | Mapping[str, object] | Sequence[object],
        *,
        correlation_id: str | None = None,
        message_id: str | None = None,
        redelivered: bool = False,
    ) -> None:
        """See `OrderEngine.apply_event`."""
        await self._core.apply_event(
            arguments.text(routing_key, "routing_key"),
            arguments.message_body(body),
            arguments.optional_text(correlation_id, "correlation_id"),
            arguments.optional_text(message_id, "message_id"),
            bool(redelivered),
        )

    async def execute(
        self,
        query: str,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        token: str | None = None,
        headers: Headers | None = None,
    ) -> dict[str, Any]:
        """See `OrderEngine.execute`."""
        response: dict[str, Any] = json.loads(
            await self._core.execute(
                arguments.text(query, "query"),
                None if variables is None else arguments.json_object(variables, "variables"),
                arguments.optional_text(operation_name, "operation_name"),
                arguments.headers(headers, token),
            )
        )
        return response

    async def answer_http(
        self, method: str, target: str, headers: Headers, body: bytes = b""
    ) -> _native.Answer:
        """See `OrderEngine.answer_http`."""
        return await self._core.answer(
            arguments.text(method, "method"),
            arguments.text(target, "target"),
            arguments.headers(headers),
            bytes(body),
        )

    async def next_piece(self, pieces: _native.Pieces) -> bytes | None:
        """See `OrderEngine.next_piece`."""
        return await self._core.next_piece(pieces)

    async def open_socket(self, headers: Headers) -> _native.Socket | None:
        """Open the engine's side of a WebSocket on `/graphql` that another server holds.

        Args:
            headers: Those of the request, as a mapping or as pairs.

        Returns:
            The socket; None when the client offers no protocol of GraphQL: refuse it.
        """
        return await self._core.open_socket(arguments.headers(headers))

    async def events_tail(
        self, *, order_id: Id | None = None, limit: int = 20
    ) -> list[_native.Event]:
        """See `OrderEngine.events_tail`."""
        return await self._core.events_tail(
            None if order_id is None else arguments.order_id(order_id),
            arguments.integer(limit, "limit"),
        )

    async def events_dead_letters(self, *, limit: int = 100) -> list[_native.ParkedMessage]:
        """See `OrderEngine.events_dead_letters`."""
        return await self._core.events_dead_letters(arguments.integer(limit, "limit"))

    async def events_retry(self, ids: Iterable[int] | None = None) -> int:
        """See `OrderEngine.events_retry`."""
        return await self._core.events_retry(None if ids is None else arguments.message_ids(ids))

    async def events_skip(self, ids: Iterable[int]) -> int:
        """See `OrderEngine.events_skip`."""
        return await self._core.events_skip(arguments.message_ids(ids))

    async def events_replay(  # noqa: PLR0913 - each but two narrows the past.
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
        """See `OrderEngine.events_replay`."""
        return await self._core.events_replay(
            arguments.past(order_ids, since, until, after),
            arguments.optional_text(contract, "contract"),
            arguments.integer(rate_per_s, "rate_per_s"),
            bool(dry_run),
        )

    async def health(self) -> list[_native.Check]:
        """See `OrderEngine.health`."""
        return await self._core.health()

    async def close(self) -> None:
        """See `OrderEngine.close`; an engine that was never opened stays so."""
        if self._opened is not None:
            await self._opened.close()
            await asyncio.gather(*self._feeding)

    async def __aenter__(self) -> AsyncOrderEngine:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
