"""Consumer scripts: events of a queue, one after the other, each taken in once.

from order_engine.consumer import consume

for event in consume("order.placed", queue="product_service_queue"):
    for item in event["items"]:
        ...

`Consumer` adds what a loop cannot have: a failed event is tried again, and set aside when that does
not help; and an event and what it changes are one transaction of a PostgreSQL of yours.
docs/CONSUMERS.md says more.
"""

from order_engine._native import ParkedEvent
from order_engine.consumer.consumer import Consumer
from order_engine.consumer.event import Event
from order_engine.consumer.inbox_table import INBOX_TABLE
from order_engine.consumer.streams import AsyncEventStream, EventStream, consume, consume_async

__all__ = [
    "INBOX_TABLE",
    "AsyncEventStream",
    "Consumer",
    "Event",
    "EventStream",
    "ParkedEvent",
    "consume",
    "consume_async",
]
