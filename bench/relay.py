"""The relay's throughput for a backlog, from the first to the last event at a consumer."""

import time

from bench.consumer import Consumer
from bench.engine import Engine
from bench.errors import BenchError
from bench.orders import Orders

DRAIN_TIMEOUT_S = 180.0


def drain(
    engine: Engine, consumer: Consumer, orders: Orders, timeout_s: float = DRAIN_TIMEOUT_S
) -> dict[str, float]:
    """Starts an engine with a full outbox and waits until all messages have arrived.

    Raises:
        BenchError: they did not within `timeout_s` seconds, or more arrived.
    """
    backlog, before = orders.waiting(), consumer.count
    start = time.perf_counter()
    engine.start()
    first = consumer.wait_for(before + 1, timeout_s)
    last = consumer.wait_for(before + backlog, timeout_s)
    tenth = max(2, backlog // 10)
    early = consumer.wait_for(before + tenth, timeout_s)
    late = consumer.wait_for(before + backlog - tenth + 1, timeout_s)
    orders.wait_until_sent()
    arrived = consumer.count - before
    if arrived != backlog:
        raise BenchError(f"{arrived} messages arrived of a backlog of {backlog}")
    return {
        "per_second": (backlog - 1) / (last - first),
        "first_tenth_per_second": (tenth - 1) / (early - first),
        "last_tenth_per_second": (tenth - 1) / (last - late),
        "messages": backlog,
        "first_after_s": first - start,
    }
