"""Types of the arguments that `OrderEngine` and `AsyncOrderEngine` accept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Id: TypeAlias = "int | str"
"""An id as an argument: text, or an int that stands for its digits.

Ids of users and products are text: results have them as `str`, so `user_id=1` comes back as `"1"`.
An order's number is an `int` in results; as an argument, its 24 hex digits are accepted too.
"""

Headers: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]"
"""Headers of a request: a mapping, or pairs where a header may occur twice."""


class HasProductAndQuantity(Protocol):
    """An object that names a product and a quantity: a dataclass, a model, a row."""

    @property
    def product_id(self) -> Id:
        """The product's id."""
        raise NotImplementedError

    @property
    def quantity(self) -> int:
        """Number of units, at least 1."""
        raise NotImplementedError


Line: TypeAlias = "tuple[Id, int] | Mapping[str, object] | HasProductAndQuantity"
"""One line to order: `(product_id, quantity)`, a dict with `product_id` (or `productId`) and
`quantity`, or an object with these attributes.
"""


class HasUserAndLines(Protocol):
    """An object that names a user and order lines; it may have an `idempotency_key` too."""

    @property
    def user_id(self) -> Id:
        """The customer."""
        raise NotImplementedError

    @property
    def lines(self) -> Iterable[Line]:
        """The lines."""
        raise NotImplementedError


OrderTuple: TypeAlias = "tuple[Id, Iterable[Line]] | tuple[Id, Iterable[Line], str | None]"
OrderRow: TypeAlias = "OrderTuple | Mapping[str, object] | HasUserAndLines"
"""One order to place: `(user_id, lines)`, `(user_id, lines, idempotency_key)`, or a dict or an
object with these names.
"""
