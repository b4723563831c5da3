"""A queue that is bound to every order event and keeps the events for inspection."""

from collections.abc import Iterator
from contextlib import contextmanager

import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.python.support.legacy_consumer import EXCHANGE, Delivery
from tests.python.support.waiting import eventually

ROUTING_KEYS = ("order.placed", "order.updated")


def queue_of(exchange: str) -> str:
    """The name of the queue that holds an exchange's events."""
    return f"spy of {exchange}"


class EventSpy:
    """The published events, in the order in which the broker received them."""

    def __init__(
        self, url: str, exchange: str = EXCHANGE, routing_keys: tuple[str, ...] = ROUTING_KEYS
    ) -> None:
        """Binds a queue to the exchange; keeps no connection open."""
        self._queue = queue_of(exchange)
        self._parameters = pika.URLParameters(url)
        self._received: list[Delivery] = []
        with self._channel() as channel:
            channel.exchange_declare(exchange=exchange, exchange_type="direct")
            channel.queue_declare(self._queue)
            for key in routing_keys:
                channel.queue_bind(self._queue, exchange, key)

    def received(self) -> list[Delivery]:
        """All events since the queue was bound."""
        with self._channel() as channel:
            while True:
                method, properties, body = channel.basic_get(self._queue, auto_ack=True)
                if method is None or properties is None or body is None:
                    return self._received
                given = {key: value for key, value in vars(properties).items() if value}
                self._received.append(
                    Delivery(method.routing_key or "", method.redelivered, body.decode(), given)
                )

    def wait_for(self, order_id: int, version: int = 1) -> Delivery:
        """Waits for the event of one version of an order."""

        def found() -> Delivery | None:
            wanted = (order_id, version)
            for each in self.received():
                if (each.body["order_id"], each.body["version"]) == wanted:
                    return each
            return None

        published = eventually(found, f"version {version} of order {order_id} is published")
        assert published is not None
        return published

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        connection = pika.BlockingConnection(self._parameters)
        try:
            yield connection.channel()
        finally:
            connection.close()
