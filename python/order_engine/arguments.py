"""What callers may pass, made into what the native module takes; refused with a clear message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from order_engine.exceptions import InvalidInput

Id: TypeAlias = "int | str"
"""An id as an integer or as text; `1` and `"1"` are the same."""

INT64_MAX = 2**63 - 1
ORDER_NUMBER = re.compile("[0-9]{1,18}")


@runtime_checkable
class HasProductAndQuantity(Protocol):
    """Any object that names a product and how many of it: a dataclass, a model, a row."""

    @property
    def product_id(self) -> Id:
        """The product."""

    @property
    def quantity(self) -> int:
        """Pieces, at least 1."""


Item: TypeAlias = "tuple[Id, int] | Mapping[str, object] | HasProductAndQuantity"
"""One line to order: `(product_id, quantity)`, a dict with `product_id` (or `productId`) and
`quantity`, or an object with these attributes.
"""


def text(value: object, name: str) -> str:
    """Pass text on if it can be written as UTF-8, which a lone surrogate cannot."""
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be text, not {_described(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{name} holds a lone surrogate at position {error.start}, which is not valid text"
        ) from None
    return value


def optional_text(value: object, name: str) -> str | None:
    """Pass text or None on."""
    return None if value is None else text(value, name)


def opaque_id(value: object, name: str) -> str:
    """Make the text of a user's or product's id."""
    if isinstance(value, str):
        return text(value, name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(_integer(value, name))
    raise InvalidInput(f"{name} must be text or a whole number, not {_described(value)}")


def order_id(value: object) -> int:
    """Make the number of an order, from an integer or from its decimal digits."""
    if isinstance(value, str) and ORDER_NUMBER.fullmatch(value):
        return int(value)
    return _integer(value, "order_id")


def page_size(value: object) -> int:
    """Pass the size of a page on, if it is a whole number."""
    return _integer(value, "first")


def json_object(values: Mapping[str, object], name: str) -> str:
    """Write a mapping as a JSON object."""
    if not isinstance(values, Mapping):
        raise InvalidInput(f"{name} must be a dict, not {_described(values)}")
    try:
        return json.dumps(dict(values), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} cannot be written as JSON: {error}") from None


def items(values: Iterable[Item]) -> list[tuple[str, int]]:
    """Make `(product_id, quantity)` lines of everything that names both."""
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise InvalidInput(f"items must be a list of items, not {_described(values)}")
    return [_item(value, f"items[{index}]") for index, value in enumerate(values)]


def _item(value: object, where: str) -> tuple[str, int]:
    product_id, quantity = _product_and_quantity(value, where)
    return (
        opaque_id(product_id, f"{where}: product_id"),
        _integer(quantity, f"{where}: quantity"),
    )


def _product_and_quantity(value: object, where: str) -> tuple[object, object]:
    match value:
        case {"product_id": product_id, "quantity": quantity}:
            return product_id, quantity
        case {"productId": product_id, "quantity": quantity}:
            return product_id, quantity
        # Before the pair: a named tuple is both, and its names decide.
        case HasProductAndQuantity(product_id=product_id, quantity=quantity):
            return product_id, quantity
        case [product_id, quantity]:
            return product_id, quantity
    raise InvalidInput(
        f"{where} must be (product_id, quantity), or have a product_id and a quantity; "
        f"it is {_described(value)}"
    )


def _integer(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(f"{name} must be a whole number, not {_described(value)}")
    if abs(value) > INT64_MAX:
        raise InvalidInput(f"{name} is out of range")
    return value


def _described(value: object) -> str:
    """Name a value for a message: small numbers and words as they are, all else by its type."""
    kind = type(value).__name__
    return f"{value!r} ({kind})" if isinstance(value, float | bool) else f"of type {kind}"
