"""Consumer scripts: process the events of a queue in order, each exactly once.

from order_engine.consumer import consume

for event in consume("order.placed", queue="product_service_queue"):
    for item in event["items"]:
        ...

`Consumer` adds retries, dead letters, and a transaction in your own PostgreSQL that covers both the
event and its effects. See docs/CONSUMERS.md.
"""

from order_engine._native import DeadLetterEvent
from order_engine.consumer.consumer import Consumer
from order_engine.consumer.event import Event
from order_engine.consumer.inbox_table import INBOX_TABLE
from order_engine.consumer.streams import AsyncEventStream, EventStream, consume, consume_async

__all__ = [
    "INBOX_TABLE",
    "AsyncEventStream",
    "Consumer",
    "DeadLetterEvent",
    "Event",
    "EventStream",
    "consume",
    "consume_async",
]
