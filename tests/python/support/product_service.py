"""Publishes the events of the product and user services."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import UnroutableError

from tests.python.support.legacy_consumer import EXCHANGE
from tests.python.support.waiting import eventually


@dataclass(frozen=True)
class Product:
    """A product as `product.created` describes it."""

    id: int
    name: str = "Mug"
    price: float = 9.5
    quantity: int = 100


class ProductService:
    """Publishes on the shared exchange, as the Product service and the User service do."""

    def __init__(self, url: str) -> None:
        """Connects with every message anew, so that the broker may be restarted in between."""
        self._parameters = pika.URLParameters(url)

    def create(self, product: Product) -> None:
        """Publishes a new product."""
        self.publish("product.created", asdict(product))

    def report_stock(self, product_id: int, quantity: int) -> None:
        """Publishes the absolute stock."""
        self.publish("inventory.updated", [{"product_id": product_id, "quantity": quantity}])

    def publish(self, routing_key: str, body: object) -> None:
        """Publishes a body as JSON, and again until a queue has taken it."""
        self.publish_bytes(routing_key, json.dumps(body).encode())

    def publish_bytes(self, routing_key: str, body: bytes) -> None:
        """Publishes bytes, and again until a queue has taken them.

        Raises:
            AssertionError: no queue was bound in time.
        """
        with self._channel() as channel:
            eventually(
                lambda: _is_routed(channel, routing_key, body), f"a queue is bound to {routing_key}"
            )

    @contextmanager
    def _channel(self) -> Iterator[BlockingChannel]:
        connection = pika.BlockingConnection(self._parameters)
        try:
            channel = connection.channel()
            channel.exchange_declare(exchange=EXCHANGE, exchange_type="direct")
            channel.confirm_delivery()
            yield channel
        finally:
            connection.close()


def _is_routed(channel: BlockingChannel, routing_key: str, body: bytes) -> bool:
    try:
        channel.basic_publish(
            EXCHANGE,
            routing_key,
            body,
            pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
            mandatory=True,
        )
    except UnroutableError:
        return False
    return True
