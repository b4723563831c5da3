"""How messages are deduplicated, and the in-memory inbox of a consumer without a database."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from order_engine import _native

MEMORY_SIZE_MAX = 10_000


class MessageKey(NamedTuple):
    """The key that identifies a message.

    Args:
        key: Equal for deliveries of the same message.
        accepts_repeats: Whether to process the message even if the key is known. Messages without
            an id may be different messages with equal bodies, unless the broker has marked the
            delivery as a redelivery.
    """

    key: str
    accepts_repeats: bool


def message_key(delivery: _native.Delivery) -> MessageKey:
    """Return the key of a message, by the same rule as the engine's own consumer."""
    if delivery.message_id is not None:
        # PostgreSQL's text type cannot store NUL.
        key = "id:" + delivery.message_id.replace("\0", "\ufffd")
        return MessageKey(key, accepts_repeats=False)
    digest = hashlib.sha256(delivery.routing_key.encode() + b"\0" + delivery.body).hexdigest()
    return MessageKey(f"body:{digest}", accepts_repeats=not delivery.redelivered)


class MemoryInbox:
    """The keys of the last 10,000 messages that this process has processed."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()

    def is_duplicate(self, message: MessageKey) -> bool:
        """Return whether the message was processed before."""
        return message.key in self._keys and not message.accepts_repeats

    def add(self, message: MessageKey) -> None:
        """Record a message as processed; drops the oldest record if there are too many."""
        self._keys[message.key] = None
        self._keys.move_to_end(message.key)
        if len(self._keys) > MEMORY_SIZE_MAX:
            self._keys.popitem(last=False)
