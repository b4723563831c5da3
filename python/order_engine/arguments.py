"""What callers may pass, made into what the native module takes; refused with a clear message."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Protocol, TypeAlias, runtime_checkable

from order_engine.exceptions import InvalidInput

Id: TypeAlias = "int | str"
"""An id as an integer or as text; `1` and `"1"` are the same."""

Headers: TypeAlias = "Mapping[str, str] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]"
"""Headers of a request: a mapping, or pairs where one comes twice."""

INT64_MAX = 2**63 - 1
AMOUNT_LIMIT = 10**15
AMOUNT_DECIMALS = 4
ORDER_NUMBER = re.compile("[0-9]{1,18}")


@runtime_checkable
class HasProductAndQuantity(Protocol):
    """Any object that names a product and how many of it: a dataclass, a model, a row."""

    @property
    def product_id(self) -> Id:
        """The product."""
        raise NotImplementedError

    @property
    def quantity(self) -> int:
        """Pieces, at least 1."""
        raise NotImplementedError


Item: TypeAlias = "tuple[Id, int] | Mapping[str, object] | HasProductAndQuantity"
"""One line to order: `(product_id, quantity)`, a dict with `product_id` (or `productId`) and
`quantity`, or an object with these attributes.
"""


def text(value: object, name: str) -> str:
    """Pass text on if it can be written as UTF-8, which a lone surrogate cannot."""
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be text, not {described(value)}")
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
        return str(integer(value, name))
    raise InvalidInput(f"{name} must be text or a whole number, not {described(value)}")


def order_id(value: object) -> int:
    """Make the number of an order, from an integer or from its decimal digits."""
    if isinstance(value, str) and ORDER_NUMBER.fullmatch(value):
        return int(value)
    return integer(value, "order_id")


def optional_id(value: object, name: str) -> str | None:
    """Make the text of an id, or pass None on."""
    return None if value is None else opaque_id(value, name)


def integer(value: object, name: str) -> int:
    """Pass a whole number on, if a database could hold it."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(f"{name} must be a whole number, not {described(value)}")
    if abs(value) > INT64_MAX:
        raise InvalidInput(f"{name} is out of range")
    return value


def order_ids(values: Iterable[Id] | None) -> list[int]:
    """Make the numbers of orders; none stands for all of them, so an empty list is refused."""
    if values is None:
        return []
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise InvalidInput(f"order_ids must be a list of ids, not {described(values)}")
    numbers = [order_id(value) for value in values]
    if not numbers:
        raise InvalidInput("order_ids names no order; leave it out to mean all of them")
    return numbers


def moment(value: object, name: str) -> datetime | None:
    """Make a moment in UTC, from one with a time zone or from how long ago it was."""
    if value is None:
        return None
    try:
        if isinstance(value, timedelta):
            return datetime.now(timezone.utc) - value
        if isinstance(value, datetime) and value.utcoffset() is not None:
            return value.astimezone(timezone.utc)
    except OverflowError:
        raise InvalidInput(f"{name} is out of range") from None
    if isinstance(value, datetime):
        raise InvalidInput(f"{name} has no time zone; write datetime(…, tzinfo=timezone.utc)")
    raise InvalidInput(f"{name} must be a datetime or a timedelta, not {described(value)}")


def past(
    ids: Iterable[Id] | None, since: object, until: object, after: object
) -> tuple[list[int], datetime | None, datetime | None, str | None]:
    """Make what names a part of the past."""
    return (
        order_ids(ids),
        moment(since, "since"),
        moment(until, "until"),
        optional_text(after, "after"),
    )


def message_ids(values: Iterable[int]) -> list[int]:
    """Pass the numbers of messages on."""
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise InvalidInput(f"ids must be a list of numbers, not {described(values)}")
    return [integer(value, f"ids[{index}]") for index, value in enumerate(values)]


def amount(value: object, name: str) -> Decimal:
    """Make an exact amount; a float stands for the digits that Python prints of it."""
    if isinstance(value, bool) or not isinstance(value, Decimal | float | int | str):
        raise InvalidInput(f"{name} must be a number, not {described(value)}")
    try:
        exact = value if isinstance(value, Decimal) else Decimal(str(value))
    except ArithmeticError:
        raise InvalidInput(f"{name} must be a number, not {value!r}") from None
    if not exact.is_finite() or abs(exact) >= AMOUNT_LIMIT:
        raise InvalidInput(f"{name} must be below 10^15, not {value}")
    if exact != round(exact, AMOUNT_DECIMALS):
        raise InvalidInput(f"{name} may have four decimals, not more: {value}")
    return exact


def message_body(value: object) -> bytes:
    """Make the bytes of a message from what a consumer holds of it."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        return text(value, "body").encode()
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"body cannot be written as JSON: {error}") from None


def settings(given: Mapping[str, object]) -> dict[str, str]:
    """Write settings as the native module reads them; None is one that is not given."""
    return {name: _setting(value, name) for name, value in given.items() if value is not None}


def json_object(values: Mapping[str, object], name: str) -> str:
    """Write a mapping as a JSON object."""
    if not isinstance(values, Mapping):
        raise InvalidInput(f"{name} must be a dict, not {described(values)}")
    try:
        return json.dumps(dict(values), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} cannot be written as JSON: {error}") from None


def headers(values: Headers | None, token: str | None = None) -> list[tuple[bytes, bytes]]:
    """Make pairs of bytes of headers, and of a token the header it stands in."""
    pairs = values.items() if isinstance(values, Mapping) else values or ()
    named = [(_header_part(name), _header_part(value)) for name, value in pairs]
    if token is not None:
        named.append((b"authorization", b"Bearer " + text(token, "token").encode()))
    return named


def _header_part(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return text(value, "a header").encode("latin-1")
    except UnicodeEncodeError:
        raise InvalidInput("A header holds a character that HTTP cannot carry") from None


def items(values: Iterable[Item]) -> list[tuple[str, int]]:
    """Make `(product_id, quantity)` lines of everything that names both."""
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise InvalidInput(f"items must be a list of items, not {described(values)}")
    return [_item(value, f"items[{index}]") for index, value in enumerate(values)]


def _item(value: object, where: str) -> tuple[str, int]:
    product_id, quantity = _product_and_quantity(value, where)
    return (
        opaque_id(product_id, f"{where}: product_id"),
        integer(quantity, f"{where}: quantity"),
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
        f"it is {described(value)}"
    )


def _setting(value: object, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return text(value if isinstance(value, str) else str(value), name)


def described(value: object) -> str:
    """Name a value for a message: small numbers and words as they are, all else by its type."""
    kind = type(value).__name__
    return f"{value!r} ({kind})" if isinstance(value, float | bool) else f"of type {kind}"
