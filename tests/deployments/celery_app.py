"""A Celery app whose tasks place orders, with an engine that is older than its workers, or not."""

import os
from functools import cache

import billiard.pool  # type: ignore[import-untyped]
from celery import Celery  # type: ignore[import-untyped]

from order_engine import OrderEngine

app = Celery("shop", broker=os.environ["RABBITMQ_URL"], backend="rpc://")
app.conf.task_serializer = app.conf.result_serializer = "json"
app.conf.broker_connection_retry_on_startup = True
# A stopping worker drops fetched tasks that it has not begun: deliver them again.
app.conf.task_acks_late = True
# A worker process waits at most 2 s, instead of 30 s, for a parent that reads no more results.
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20

engine_of_parent = OrderEngine.from_env() if "OPEN_BEFORE_FORK" in os.environ else None


@cache
def engine_of_worker() -> OrderEngine:
    """The engine of a worker process, opened with its first task."""
    return OrderEngine.from_env()


@app.task(name="place")  # type: ignore[untyped-decorator]
def place(user_id: int, key: str) -> tuple[int, int]:
    """Places an order; returns its number, and the process that placed it."""
    engine = engine_of_parent or engine_of_worker()
    order = engine.place_order(user_id=user_id, lines=[(1, 1)], idempotency_key=key)
    return order.id, os.getpid()
