"""What a handler is given: a message that came in, read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from order_engine import _native

BODY_SHOWN_MAX = 200


class UnreadableError(Exception):
    """The body of a message is not JSON."""


@dataclass(frozen=True, slots=True, repr=False)
class Event(Mapping[str, Any]):
    """One event, as its sender put it into JSON; numbers with a point are floats.

    It is a mapping over the fields of its body: `event["items"]`. A body that is no object, such as
    the list of an `inventory.updated`, is in `body`.

    Args:
        routing_key: What it came with, such as `order.placed`.
        body: The parsed JSON.
        message_id: The sender's id for it, the same on every delivery; None if it gave none.
        correlation_id: What it belongs to; the engine gives the number of the order.
        redelivered: Whether the broker says that it may have been delivered before.
        headers: What else the sender said of it.
    """

    routing_key: str
    body: Any
    message_id: str | None = None
    correlation_id: str | None = None
    redelivered: bool = False
    headers: Mapping[str, Any] | None = None

    def __getitem__(self, field: str) -> Any:  # noqa: ANN401 - a field is whatever JSON can hold.
        return self._fields()[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields())

    def __len__(self) -> int:
        return len(self._fields())

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        body = repr(self.body)
        if len(body) > BODY_SHOWN_MAX:
            body = f"{body[:BODY_SHOWN_MAX]}…"
        text = f"Event({self.routing_key!r}, {body}"
        for name in ("message_id", "correlation_id"):
            value = getattr(self, name)
            if value is not None:
                text += f", {name}={value!r}"
        return text + (", redelivered=True)" if self.redelivered else ")")

    def _fields(self) -> dict[str, Any]:
        if not isinstance(self.body, dict):
            raise TypeError(
                f"The body of this {self.routing_key} is a JSON {type(self.body).__name__} and has "
                "no fields; use event.body."
            )
        return self.body


def read(delivery: _native.Delivery) -> Event:
    """Read a delivery, anew each time: what a handler does to one event the next does not see.

    Raises:
        UnreadableError: Its body is not JSON.
    """
    try:
        body = json.loads(delivery.body, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"The body is not JSON: {error}") from None
    return Event(
        delivery.routing_key,
        body,
        delivery.message_id,
        delivery.correlation_id,
        delivery.redelivered,
        json.loads(delivery.headers_json),
    )


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")
