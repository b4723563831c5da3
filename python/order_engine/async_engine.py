"""`AsyncOrderEngine`: the API for asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from order_engine import configuration
from order_engine.connection import AsyncConnection
from order_engine.generated.async_operations import AsyncEngineOperations, AsyncEventOperations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from typing_extensions import Unpack

    from order_engine import _native
    from order_engine.argument_types import Id
    from order_engine.generated.settings import Settings
    from order_engine.sinks import AsyncSink, Sink
    from order_engine.status import OrderStatus


class AsyncOrderEngine(AsyncEngineOperations):
    """The order engine for asyncio: the operations of `OrderEngine` as coroutines.

    The work runs on the engine's own threads. Any number of calls may be in progress at the same
    time, from any event loop of the process. A single read of an order, list, history, user or
    product starts in the loop's thread, which it occupies for 2 ms at most.

    Cancelling a call cancels its work unless that has been committed. Whether a cancelled
    `place_order` has placed the order can be found out with its `idempotency_key`.

    Connects with the first call, with `open`, or on entering an `async with` block.

    Example:
        >>> async def main():
        ...     async with AsyncOrderEngine() as engine:
        ...         await engine.upsert_product("mug", name="Mug", price="9.50", quantity=10)
        ...         orders = [engine.place_order(user_id="1", lines=[("mug", 1)]) for _ in range(3)]
        ...         return sum(order.total for order in await asyncio.gather(*orders))
        >>> asyncio.run(main())
        Decimal('28.50')

    Args:
        sinks: As for `OrderEngine`; `publish` may also be a coroutine function.
        **settings: As for `OrderEngine`.

    Raises:
        InvalidInput: A sink has no method `publish`.
        Misconfigured: A setting is unknown or wrong; `problems` lists them all.
    """

    def __init__(
        self, *, sinks: Mapping[str, Sink | AsyncSink] | None = None, **settings: Unpack[Settings]
    ) -> None:
        self._connection = AsyncConnection(configuration.given(settings), sinks)

    @classmethod
    def from_env(cls) -> AsyncOrderEngine:
        """Create an engine from the environment, `.env` and `order-engine.toml` alone."""
        return cls()

    @property
    def events(self) -> AsyncEventOperations:
        """The operations on events: `tail`, `dead_letters`, `retry`, `skip`, `replay`."""
        return AsyncEventOperations(self._connection)

    async def iter_orders(
        self,
        *,
        user_id: Id | None = None,
        status: OrderStatus | str | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[_native.Order]:
        """Iterate over all orders with `async for`, newest first, reading one page at a time.

        Args:
            user_id: Only orders of this user; of all users by default.
            status: Only orders in this status, in any case.
            page_size: Orders read at a time, 1 to 100.

        Raises:
            InvalidInput: An unknown status, or a page size out of range.
        """
        cursor: str | None = None
        while True:
            page = await self.list_orders(
                user_id=user_id, status=status, limit=page_size, cursor=cursor
            )
            for order in page.orders:
                yield order
            cursor = page.next_cursor
            if cursor is None:
                return

    async def open(self) -> AsyncOrderEngine:
        """Connect to the database now and return the engine itself.

        Raises:
            Misconfigured: Settings are missing; `problems` lists them all.
            Unavailable: The database cannot be reached, or the engine is closed.
        """
        await self._connection.engine()
        return self

    async def close(self) -> None:
        """Stop publishing events and close the connections. Closing again does nothing."""
        await self._connection.close()

    async def __aenter__(self) -> AsyncOrderEngine:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
