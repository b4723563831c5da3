"""The old order service's `consumer.py`, whose callback calls the engine instead.

Runs as a separate process: `python -m tests.python.support.order_consumer URL DATABASE_URL`.
"""

import sys

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties

from order_engine import OrderEngine
from tests.python.support.legacy_consumer import EXCHANGE

QUEUE = "order_service_queue"
ROUTING_KEYS = ("user.registered", "user.profile.updated", "product.created", "inventory.updated")


def consume(url: str, database_url: str) -> None:
    """Consumes for ever, declaring everything as the old service does."""
    engine = OrderEngine(database_url=database_url, relay="false")

    def callback(
        _channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        engine.apply_event(
            method.routing_key or "",
            body,
            message_id=properties.message_id,
            redelivered=method.redelivered,
            correlation_id=properties.correlation_id,
        )

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.exchange_declare(exchange=EXCHANGE, exchange_type="direct")
    channel.queue_declare(queue=QUEUE)
    for key in ROUTING_KEYS:
        channel.queue_bind(exchange=EXCHANGE, queue=QUEUE, routing_key=key)
    channel.basic_consume(queue=QUEUE, on_message_callback=callback, auto_ack=True)
    channel.start_consuming()


if __name__ == "__main__":
    consume(*sys.argv[1:])
