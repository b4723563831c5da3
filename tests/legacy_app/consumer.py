"""The old service's consumer script: keeps its copies of users and products up to date.

Run as a process of its own (`python -m tests.legacy_app.consumer`). It acknowledges what it has not
done yet, and ends with the first message that it cannot digest.
"""

import json
from collections.abc import Callable
from typing import Any

import pika
from flask import Flask
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties

from tests.legacy_app.events import EXCHANGE
from tests.legacy_app.factory import create_app
from tests.legacy_app.models import OrderUser, ProductCatalog, db

QUEUE = "order_service_queue"
READY = "Waiting for events."


def save_user(body: dict[str, Any]) -> None:
    """Inserts or updates a user."""
    user = db.session.scalars(db.select(OrderUser).filter_by(user_id=body["user_id"])).first()
    if user is None:
        user = OrderUser(user_id=body["user_id"])
        db.session.add(user)
    user.email = body["email"]
    user.contact = body["contact"]
    user.address = one(body["address"])
    db.session.commit()


def save_product(body: dict[str, Any]) -> None:
    """Inserts a product."""
    product = ProductCatalog(
        product_id=body["id"],
        name=one(body["name"]),
        price=one(body["price"]),
        quantity=one(body["quantity"]),
    )
    db.session.add(product)
    db.session.commit()


def save_stock(body: list[dict[str, int]] | dict[str, int]) -> None:
    """Sets the stock of each product, in one commit each."""
    for each in [body] if isinstance(body, dict) else body:
        wanted = db.select(ProductCatalog).filter_by(product_id=each["product_id"])
        product = db.session.scalars(wanted).first()
        if product is not None:
            product.quantity = each["new_stock" if "new_stock" in each else "quantity"]
            db.session.commit()


def one(value: Any) -> Any:  # noqa: ANN401 - any JSON.
    """The value; some publishers send a list by mistake."""
    return value[0] if isinstance(value, list) else value


HANDLERS: dict[str, Callable[[Any], None]] = {
    "user.registered": save_user,
    "user.profile.updated": save_user,
    "product.created": save_product,
    "inventory.updated": save_stock,
}


def consume(app: Flask) -> None:
    """Consumes until it is stopped."""

    def on_message(
        _channel: BlockingChannel,
        method: Basic.Deliver,
        _properties: BasicProperties,
        body: bytes,
    ) -> None:
        with app.app_context():
            HANDLERS[str(method.routing_key)](json.loads(body))

    connection = pika.BlockingConnection(pika.URLParameters(app.config["RABBITMQ_URL"]))
    channel = connection.channel()
    channel.exchange_declare(exchange=EXCHANGE, exchange_type="direct")
    channel.queue_declare(queue=QUEUE)
    for routing_key in HANDLERS:
        channel.queue_bind(exchange=EXCHANGE, queue=QUEUE, routing_key=routing_key)
    channel.basic_consume(queue=QUEUE, on_message_callback=on_message, auto_ack=True)
    print(READY, flush=True)  # noqa: T201 - what its operator looks for.
    channel.start_consuming()


if __name__ == "__main__":
    consume(create_app())
