"""`OrderEngine`: the blocking API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from order_engine import configuration
from order_engine.connection import Connection
from order_engine.generated.operations import EngineOperations, EventOperations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from typing_extensions import Unpack

    from order_engine import _native
    from order_engine.argument_types import Id
    from order_engine.generated.settings import Settings
    from order_engine.sinks import Sink
    from order_engine.status import OrderStatus


class OrderEngine(EngineOperations):
    """The order engine in this process.

    Connects to the database with the first call, with `open`, or on entering a `with` block. Close
    it with `close` or by leaving the block. Threads may share it. If a broker is configured, it
    publishes the events of orders in the background while it is open.

    Every call may raise `Unavailable`: if the database cannot be reached, or after `close`. After a
    fork, the first call in the child opens a new connection. Under gevent, a call blocks only its
    own greenlet.

    Log records go to the logger `order_engine`. Its level is read when the engine is opened.

    Example:
        >>> with OrderEngine() as engine:
        ...     engine.upsert_product("tea", name="Tea, 100 g", price="7.25", quantity=10)
        ...     order = engine.place_order(user_id="1", lines=[("tea", 2)])
        ...     print(order.total, engine.cancel_order(order.id, reason="changed my mind").status)
        14.50 cancelled

    Args:
        sinks: Objects with a method `publish(batch)` that receive every event, by name; see
            docs/SINKS.md.
        **settings: Settings by name, see `Settings` and docs/CONFIG.md. Other settings come from
            the environment, `.env`, `order-engine.toml`, and the defaults, in this order.

    Raises:
        InvalidInput: A sink has no method `publish`.
        Misconfigured: A setting is unknown or wrong; `problems` lists them all.
    """

    def __init__(
        self, *, sinks: Mapping[str, Sink] | None = None, **settings: Unpack[Settings]
    ) -> None:
        self._connection = Connection(configuration.given(settings), sinks)

    @classmethod
    def from_env(cls) -> OrderEngine:
        """Create an engine from the environment, `.env` and `order-engine.toml` alone."""
        return cls()

    @property
    def events(self) -> EventOperations:
        """The operations on events: `tail`, `dead_letters`, `retry`, `skip`, `replay`."""
        return EventOperations(self._connection)

    def iter_orders(
        self,
        *,
        user_id: Id | None = None,
        status: OrderStatus | str | None = None,
        page_size: int = 100,
    ) -> Iterator[_native.Order]:
        """Iterate over all orders, newest first, reading one page at a time.

        Args:
            user_id: Only orders of this user; of all users by default.
            status: Only orders in this status, in any case.
            page_size: Orders read at a time, 1 to 100.

        Raises:
            InvalidInput: An unknown status, or a page size out of range.
        """
        cursor: str | None = None
        while True:
            page = self.list_orders(user_id=user_id, status=status, limit=page_size, cursor=cursor)
            yield from page.orders
            cursor = page.next_cursor
            if cursor is None:
                return

    def open(self) -> OrderEngine:
        """Connect to the database now and return the engine itself.

        Raises:
            Misconfigured: Settings are missing; `problems` lists them all.
            Unavailable: The database cannot be reached, or the engine is closed.
        """
        self._connection.engine()
        return self

    def close(self) -> None:
        """Stop publishing events and close the connections. Closing again does nothing."""
        self._connection.close()

    def __enter__(self) -> OrderEngine:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
