"""`Event`: a parsed message, as handlers receive it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from order_engine import _native

REPR_BODY_LENGTH_MAX = 200


class UnreadableError(Exception):
    """The body of a message is not JSON."""


@dataclass(frozen=True, slots=True, repr=False)
class Event(Mapping[str, Any]):
    """A message with its parsed JSON body; numbers with a decimal point are floats.

    An event is a mapping over the fields of its body: `event["items"]`. A body that is not an
    object, such as the list of an `inventory.updated`, is available as `body` only.

    Args:
        routing_key: The routing key, such as `order.placed`.
        body: The parsed JSON.
        message_id: The publisher's id, the same on every delivery; None if there is none.
        correlation_id: The publisher's correlation id; the engine sets it to the order id.
        redelivered: Whether the broker reports that it may have been delivered before.
        headers: The message's AMQP headers.
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
        if len(body) > REPR_BODY_LENGTH_MAX:
            body = f"{body[:REPR_BODY_LENGTH_MAX]}…"
        text = f"Event({self.routing_key!r}, {body}"
        for name in ("message_id", "correlation_id"):
            value = getattr(self, name)
            if value is not None:
                text += f", {name}={value!r}"
        return text + (", redelivered=True)" if self.redelivered else ")")

    def _fields(self) -> dict[str, Any]:
        if not isinstance(self.body, dict):
            raise TypeError(
                f"The body of this {self.routing_key} event is a JSON {type(self.body).__name__}, "
                "which has no fields; use event.body."
            )
        return self.body


def parse(delivery: _native.Delivery) -> Event:
    """Parse a delivery into a new event, so that attempts do not see each other's changes.

    Raises:
        UnreadableError: The body is not JSON.
    """
    try:
        body = json.loads(delivery.body, parse_constant=_reject_constant)
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


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not valid JSON")
