"""What has been taken in already: how a message is told from another, and a memory of the last."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from order_engine import _native

REMEMBERED_MAX = 10_000


class Identity(NamedTuple):
    """What tells one message from another.

    Args:
        key: The same for the same message.
        is_news: Whether it is to be taken in even where the key is known: without a message id
            two bodies that are the same may be two messages, unless the broker says otherwise.
    """

    key: str
    is_news: bool


def identity(delivery: _native.Delivery) -> Identity:
    """Tell who a message is, by the rule of the engine's own intake."""
    if delivery.message_id is not None:
        # PostgreSQL keeps no NUL in a text.
        return Identity("id:" + delivery.message_id.replace("\0", "\ufffd"), is_news=False)
    digest = hashlib.sha256(delivery.routing_key.encode() + b"\0" + delivery.body).hexdigest()
    return Identity(f"body:{digest}", is_news=not delivery.redelivered)


class Memory:
    """The last 10 000 messages that this process has taken in."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()

    def knows(self, message: Identity) -> bool:
        """Tell whether a message has been taken in."""
        return message.key in self._keys and not message.is_news

    def note(self, message: Identity) -> None:
        """Remember that a message has been taken in, and forget the oldest when there are many."""
        self._keys[message.key] = None
        self._keys.move_to_end(message.key)
        if len(self._keys) > REMEMBERED_MAX:
            self._keys.popitem(last=False)
