"""Publishes the old service's events: once, after the commit, without checking the outcome."""

import json
import logging

import pika
from flask import current_app
from pika.exceptions import AMQPError

EXCHANGE = "event_exchange"

log = logging.getLogger(__name__)


def publish_event(routing_key: str, message: object) -> None:
    """Publishes over a new connection; if that fails, the event is lost."""
    try:
        parameters = pika.URLParameters(current_app.config["RABBITMQ_URL"])
        connection = pika.BlockingConnection(parameters)
        channel = connection.channel()
        channel.exchange_declare(exchange=EXCHANGE, exchange_type="direct")
        channel.basic_publish(
            exchange=EXCHANGE,
            routing_key=routing_key,
            body=json.dumps(message).encode(),
            properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
        )
        connection.close()
    except (AMQPError, OSError):
        log.exception("cannot publish %s", routing_key)
