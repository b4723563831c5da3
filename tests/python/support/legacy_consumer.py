"""The Product service's `consumer.py` as deployed, recording what it receives.

Runs as a separate process: `python -m tests.python.support.legacy_consumer URL`. It writes one JSON
object per line: first `{"ready": true}`, then every message.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties

from tests.python.support.recorder_process import RecorderProcess
from tests.python.support.waiting import eventually
from tests.services import Workspace

EXCHANGE = "event_exchange"
QUEUE = "product_service_queue"
ROUTING_KEYS = ("order.placed",)


@dataclass(frozen=True)
class Delivery:
    """One message as the consumer got it."""

    routing_key: str
    redelivered: bool
    text: str
    properties: dict[str, Any]

    @property
    def body(self) -> dict[str, Any]:
        """The parsed JSON of the text."""
        parsed: dict[str, Any] = json.loads(self.text)
        return parsed


class LegacyConsumer(RecorderProcess):
    """The consumer's process, and what it has received over all its starts.

    Once started, its queue is bound and it is subscribed.
    """

    def __init__(
        self, workspace: Workspace, folder: Path, url: str, *routing_keys: str, queue: str = QUEUE
    ) -> None:
        """Binds `order.placed` to `product_service_queue` by default."""
        command = [sys.executable, "-m", "tests.python.support.legacy_consumer", url, queue]
        command += routing_keys or ROUTING_KEYS
        super().__init__(workspace, folder / f"{queue}.jsonl", *command)

    def deliveries(self) -> list[Delivery]:
        """Everything received so far, in the order of arrival."""
        return [Delivery(**each) for each in self.records()]

    def wait_for(
        self, enough: Callable[[list[Delivery]], object], what: str, timeout_s: float = 20.0
    ) -> list[Delivery]:
        """Waits until `enough` returns true for the received messages, and returns them.

        Raises:
            AssertionError: it did not within `timeout_s` seconds; the message contains `what`.
        """
        eventually(lambda: enough(self.deliveries()), what, timeout_s)
        return self.deliveries()


def consume(url: str, queue: str, *routing_keys: str) -> None:
    """Consumes for ever, declaring everything as the old services do."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.exchange_declare(exchange=EXCHANGE, exchange_type="direct")
    channel.queue_declare(queue=queue)
    for key in routing_keys:
        channel.queue_bind(exchange=EXCHANGE, queue=queue, routing_key=key)
    channel.basic_consume(queue=queue, on_message_callback=_record, auto_ack=True)
    _write({"ready": True})
    channel.start_consuming()


def _record(
    _channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes
) -> None:
    event = json.loads(body)
    for item in event["items"]:
        # What the old consumer computes with; anything but integers would end it.
        _ = item["product_id"] + item["quantity"]
    _write(
        {
            "routing_key": method.routing_key,
            "redelivered": method.redelivered,
            "text": body.decode(),
            "properties": {key: value for key, value in vars(properties).items() if value},
        }
    )


def _write(record: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(record, default=str) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    consume(*sys.argv[1:])
