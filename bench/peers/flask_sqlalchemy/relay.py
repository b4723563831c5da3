"""Publishes the outbox to RabbitMQ: a thread in each worker, notified of each order."""

import logging
import os
import threading
import time

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError
from sqlalchemy import delete, select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from models import Outbox, Session

EXCHANGE = "event_exchange"
BATCH = 100
IDLE_S = 1.0

log = logging.getLogger("relay")
_orders_came = threading.Event()


def start() -> None:
    """Starts the thread."""
    threading.Thread(target=_run, name="relay", daemon=True).start()


def wake() -> None:
    """Notifies the relay of a committed message."""
    _orders_came.set()


def _run() -> None:
    while True:
        try:
            _serve(pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"])))
        except (AMQPError, SQLAlchemyError):  # noqa: PERF203 - once per connection
            log.exception("messages could not be sent; they wait")
            time.sleep(IDLE_S)


def _serve(connection: pika.BlockingConnection) -> None:
    channel = connection.channel()
    channel.exchange_declare(EXCHANGE, "direct")
    # From here on basic_publish returns when the broker has confirmed.
    channel.confirm_delivery()
    while True:
        _orders_came.clear()
        if not _send(channel):
            _orders_came.wait(IDLE_S)
            connection.process_data_events()


def _send(channel: BlockingChannel) -> int:
    """Sends a batch; the other worker skips its rows meanwhile. Returns how many it were."""
    with Session.begin() as session:
        waiting = session.scalars(
            select(Outbox).order_by(Outbox.order_id).limit(BATCH).with_for_update(skip_locked=True)
        ).all()
        for message in waiting:
            properties = pika.BasicProperties(
                content_type="application/json",
                delivery_mode=pika.DeliveryMode.Persistent,
                message_id=str(message.message_id),
            )
            channel.basic_publish(
                EXCHANGE, message.topic, message.body.encode(), properties, mandatory=True
            )
        sent = [(one.destination, one.order_id, one.version, one.id) for one in waiting]
        key = tuple_(Outbox.destination, Outbox.order_id, Outbox.version, Outbox.id)
        session.execute(
            delete(Outbox).where(key.in_(sent)).execution_options(synchronize_session=False)
        )
    return len(sent)
