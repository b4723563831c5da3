"""The time from an order to its event at a consumer, with an idle engine."""

import time

from bench.consumer import Consumer
from bench.http_client import HttpClient
from bench.orders import Orders
from bench.percentiles import percentile
from bench.requests import Request

WARM_UP_ORDERS = 20
EVENT_TIMEOUT_S = 10.0
PAUSE_S = 0.01


def order_to_event(
    port: int, consumer: Consumer, orders: Orders, requests: list[Request]
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Places orders one at a time, each after the one before is completely processed.

    All times count from sending the request: `answered` is the HTTP response, `received` the event
    at the consumer, `settled` the deletion of the row from the outbox, which the engine does after
    the broker's confirmation and which is polled for. The first 20 requests are not counted.

    Returns:
        Percentiles in milliseconds, and the single observations.

    Raises:
        BenchError: an order is refused, or its event does not arrive within ten seconds.
    """
    series: dict[str, list[float]] = {"answered_ms": [], "received_ms": [], "settled_ms": []}
    client = HttpClient(port)
    for request in requests:
        expected = consumer.count + 1
        start = time.perf_counter()
        client.post(request)
        series["answered_ms"].append((time.perf_counter() - start) * 1e3)
        received = consumer.wait_for(expected, EVENT_TIMEOUT_S)
        series["received_ms"].append((received - start) * 1e3)
        while not orders.is_all_sent():
            pass
        series["settled_ms"].append((time.perf_counter() - start) * 1e3)
        # Return to idle.
        time.sleep(PAUSE_S)
    client.close()
    series = {name: observed[WARM_UP_ORDERS:] for name, observed in series.items()}
    values = {
        f"{name.removesuffix('_ms')}_p{percent}_ms": percentile(observed, percent)
        for name, observed in series.items()
        for percent in (50, 99)
    }
    return values, series
