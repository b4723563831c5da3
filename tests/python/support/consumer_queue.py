"""The queue of a consumer script: declared as the old scripts declare it, filled and inspected."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.python.support.legacy_consumer import EXCHANGE, QUEUE

DEAD_LETTERS = f"{QUEUE}.dead-letters"


class ScriptQueue:
    """The queue; each call opens a new connection, so that the broker may restart in between."""

    def __init__(self, url: str) -> None:
        """Declares nothing."""
        self._parameters = pika.URLParameters(url)

    def declare(self, *routing_keys: str, durable: bool = False) -> None:
        """Declares exchange and queue as the old scripts do, or durable.

        The broker refuses this if they exist with other arguments.
        """
        with self._channel() as channel:
            channel.exchange_declare(EXCHANGE, "direct", durable=durable)
            channel.queue_declare(QUEUE, durable=durable)
            for key in routing_keys:
                channel.queue_bind(QUEUE, EXCHANGE, key)

    def publish(self, *bodies: object, key: str = "order.placed", **properties: Any) -> None:  # noqa: ANN401 - pika's.
        """Publishes bodies in order: bytes unchanged, everything else as JSON."""
        with self._channel() as channel:
            channel.confirm_delivery()
            for body in bodies:
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                given = pika.BasicProperties(delivery_mode=2, **properties)
                channel.basic_publish(EXCHANGE, key, data, given, mandatory=True)

    def delete(self) -> None:
        """Deletes the queue."""
        with self._channel() as channel:
            channel.queue_delete(QUEUE)

    def waiting(self, queue: str = QUEUE) -> int:
        """Counts the messages that are ready, that is, not delivered to a consumer."""
        with self._channel() as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    def take(self, queue: str = QUEUE) -> tuple[pika.BasicProperties, bytes]:
        """Takes one message, which must exist."""
        with self._channel() as channel:
            _, properties, body = channel.basic_get(queue, auto_ack=True)
        assert properties is not None
        assert body is not None
        return properties, body

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        connection = pika.BlockingConnection(self._parameters)
        try:
            yield connection.channel()
        finally:
            if connection.is_open:
                connection.close()
