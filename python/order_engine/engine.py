"""`OrderEngine`: the verbs of the engine for Python code, with friendly arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from order_engine import _native, arguments

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    from order_engine.arguments import Id, Item


class OrderEngine:
    """The order engine in this process.

    Connects to the database at once; use it as a context manager, or call `close`. Threads may
    share it. With a broker configured, it sends the events of the orders in the background.

    Every call may raise `Unavailable` when the database cannot be reached.

    Args:
        database_url: `postgresql://user:password@host:port/database`.
        rabbitmq_url: `amqp://user:password@host:port/vhost`; without it events wait in the
            database.
        jwt_secret_key: The secret shared with those who sign tokens; needed for `execute`.
        **settings: Any other setting by its name in the documentation. What is not given here
            comes from the environment, `.env`, `order-engine.toml`, and the defaults.

    Raises:
        Misconfigured: Settings are missing or wrong; `problems` lists them all.
        Unavailable: The database cannot be reached.
    """

    def __init__(
        self,
        *,
        database_url: str | None = None,
        rabbitmq_url: str | None = None,
        jwt_secret_key: str | None = None,
        **settings: str | float | None,
    ) -> None:
        given = {
            "database_url": database_url,
            "rabbitmq_url": rabbitmq_url,
            "jwt_secret_key": jwt_secret_key,
            **settings,
        }
        self._native = _native.Engine(
            {name: _setting(value, name) for name, value in given.items() if value is not None}
        )

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
        return self._native.place_order(
            arguments.opaque_id(user_id, "user_id"),
            arguments.items(items),
            arguments.optional_text(idempotency_key, "idempotency_key"),
        )

    def get_order(self, order_id: Id, *, user_id: Id | None = None) -> _native.Order:
        """Read one order.

        Args:
            order_id: Its number.
            user_id: Only if it is this user's; anybody's by default.

        Raises:
            NotFound: No such order (of this user).
        """
        return self._native.get_order(arguments.order_id(order_id), _user(user_id))

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
        return self._native.list_orders(
            _user(user_id),
            arguments.optional_text(status, "status"),
            arguments.page_size(first),
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
        return self._native.change_status(
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
        return self._native.cancel_order(
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
        self._native.delete_order(arguments.order_id(order_id))

    def order_history(self, order_id: Id) -> list[_native.HistoryEntry]:
        """Tell what happened to an order, oldest first.

        Args:
            order_id: Its number.

        Raises:
            NotFound: No such order.
        """
        return self._native.order_history(arguments.order_id(order_id))

    def execute(
        self,
        query: str,
        variables: Mapping[str, object] | None = None,
        operation_name: str | None = None,
        token: str | None = None,
    ) -> dict[str, Any]:
        """Execute a GraphQL request as the HTTP door would, without HTTP.

        Args:
            query: The document.
            variables: Values for its variables; anything JSON can hold.
            operation_name: Which operation, where the document has several.
            token: The JWT that would stand behind `Authorization: Bearer`.

        Returns:
            The response: `data`, `errors` or both. A refused token or a syntax error stands in
            it as it does over HTTP; it is not raised.

        Raises:
            InvalidInput: Text that is not valid, or variables JSON cannot hold.
        """
        response: dict[str, Any] = json.loads(
            self._native.execute(
                arguments.text(query, "query"),
                None if variables is None else arguments.json_object(variables, "variables"),
                arguments.optional_text(operation_name, "operation_name"),
                arguments.optional_text(token, "token"),
            )
        )
        return response

    def health(self) -> list[_native.Check]:
        """Say how the parts the engine uses are doing; see `ok` and `detail` of each."""
        return self._native.health()

    def close(self) -> None:
        """Stop sending events and close the connections; again does nothing."""
        self._native.close()

    def __enter__(self) -> OrderEngine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _user(user_id: Id | None) -> str | None:
    return None if user_id is None else arguments.opaque_id(user_id, "user_id")


def _setting(value: object, name: str) -> str:
    """Write a setting as the native module reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return arguments.text(value if isinstance(value, str) else str(value), name)
