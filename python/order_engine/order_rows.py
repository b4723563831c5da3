"""Several orders placed with one call: the rows a caller gives, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from order_engine import arguments
from order_engine.exceptions import InvalidInput

if TYPE_CHECKING:
    from order_engine._native import Order
    from order_engine.arguments import Id, Item
    from order_engine.exceptions import OrderEngineError

NativeRow: TypeAlias = "tuple[str, list[tuple[str, int]], str | None]"


@runtime_checkable
class HasUserAndItems(Protocol):
    """Any object that names a user and what is ordered; it may have an `idempotency_key` too."""

    @property
    def user_id(self) -> Id:
        """Who orders."""
        raise NotImplementedError

    @property
    def items(self) -> Iterable[Item]:
        """The lines."""
        raise NotImplementedError


OrderTuple: TypeAlias = "tuple[Id, Iterable[Item]] | tuple[Id, Iterable[Item], str | None]"
OrderRow: TypeAlias = "OrderTuple | Mapping[str, object] | HasUserAndItems"
"""One order to place: `(user_id, items)`, `(user_id, items, idempotency_key)`, or a dict or an
object that names them.
"""


class OrderRows:
    """The rows of one call; those that cannot be placed at all keep their place."""

    def __init__(self, rows: Iterable[OrderRow]) -> None:
        if isinstance(rows, str | Mapping) or not isinstance(rows, Iterable):
            raise InvalidInput(f"rows must be a list of orders, not {arguments.described(rows)}")
        self._refused: dict[int, OrderEngineError] = {}
        self.placeable: list[NativeRow] = []
        for index, row in enumerate(rows):
            self._sort_in(index, row)

    def _sort_in(self, index: int, row: OrderRow) -> None:
        try:
            self.placeable.append(_row(row))
        except InvalidInput as error:
            self._refused[index] = InvalidInput(f"rows[{index}]: {error.message}")

    def merge(self, placed: list[Order | OrderEngineError]) -> list[Order | OrderEngineError]:
        """Give what became of every row, in the caller's order."""
        answers = iter(placed)
        count = len(placed) + len(self._refused)
        return [self._refused.get(index) or next(answers) for index in range(count)]


def _row(value: object) -> NativeRow:
    user_id, items, key = _parts(value)
    if not isinstance(items, Iterable):
        raise InvalidInput(f"items must be a list of items, not {arguments.described(items)}")
    return (
        arguments.opaque_id(user_id, "user_id"),
        arguments.items(items),
        arguments.optional_text(key, "idempotency_key"),
    )


def _parts(value: object) -> tuple[object, object, object]:
    match value:
        case {"user_id": user_id, "items": items, **others}:
            return user_id, items, others.get("idempotency_key")
        # Before the tuples: a named tuple is both, and its names decide.
        case HasUserAndItems(user_id=user_id, items=items):
            return user_id, items, getattr(value, "idempotency_key", None)
        case [user_id, items]:
            return user_id, items, None
        case [user_id, items, key]:
            return user_id, items, key
    raise InvalidInput(
        "an order must be (user_id, items) or (user_id, items, idempotency_key), or have a user_id "
        f"and items; it is {arguments.described(value)}"
    )
