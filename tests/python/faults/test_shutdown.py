"""Shutdown: requests in progress are answered, and nothing is lost."""

import asyncio
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import psycopg
import pytest

from tests.python.support.engine_process import EngineProcess
from tests.python.support.load import OrderRequest, place_all
from tests.python.support.product_service import Product
from tests.python.support.servers import Broker
from tests.python.support.shop import Shop
from tests.python.support.waiting import eventually

# A second to drain, plus the time for the database to cancel a request.
ENDED_WITHIN_S = 10.0
# The time between failing readiness and closing the listeners.
NOTICE_S = 2.0
# The runtime aborts running work after three seconds.
ENDED_AT_ONCE_S = 6.0
BLOCKED = """
    select count(*) > 0 from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'
"""


def is_closed(port: int) -> bool:
    """Whether the port refuses connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_request_in_progress_is_answered_and_new_connections_are_refused(shop: Shop) -> None:
    shop.offer(Product(1))
    url = shop.server.env["DATABASE_URL"]
    with psycopg.connect(url) as blocker, ThreadPoolExecutor(1) as pool:
        blocker.execute("lock table order_engine.orders in exclusive mode")
        answer = pool.submit(shop.placed, (1, 1))
        eventually(lambda: shop.row(BLOCKED) == (True,), "the request is in progress")
        os.kill(shop.server.pid, signal.SIGTERM)
        eventually(lambda: is_closed(shop.server.port), "the listener is closed")
        assert shop.server.is_running()
        blocker.rollback()
        order_id = answer.result(timeout=20)
    assert shop.server.wait(20) == 0
    assert shop.row("select count(*) from orders where id = %s", order_id) == (1,)
    shop.server.start()
    shop.spy.wait_for(order_id)


def test_readiness_fails_before_the_listeners_close(
    make_server: Callable[..., EngineProcess], broker: Broker
) -> None:
    server = make_server(ORDER_ENGINE_SHUTDOWN_DELAY_SECONDS=str(int(NOTICE_S)))
    server.start()
    with closing(Shop(server, broker.url)) as shop:
        shop.offer(Product(1))
        began = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        eventually(
            lambda: server.client.get("/readyz").json()["status"] == "stopping", "it is reported"
        )
        assert server.client.get("/readyz").status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert server.client.get("/healthz").status_code == httpx.codes.OK
        order_id = shop.placed((1, 1))
        assert time.monotonic() - began < NOTICE_S
        eventually(lambda: is_closed(server.port), "the listener is closed")
        assert time.monotonic() - began >= NOTICE_S
        assert server.wait(20) == 0
        assert shop.row("select count(*) from orders where id = %s", order_id) == (1,)


def test_ctrl_c_skips_the_shutdown_delay(
    make_server: Callable[..., EngineProcess],
) -> None:
    server = make_server(ORDER_ENGINE_SHUTDOWN_DELAY_SECONDS="60")
    server.start()
    os.kill(server.pid, signal.SIGINT)
    assert server.wait(ENDED_WITHIN_S) == 0


def test_a_request_that_does_not_end_is_aborted(
    make_server: Callable[..., EngineProcess], broker: Broker
) -> None:
    server = make_server(ORDER_ENGINE_DRAIN_SECONDS="1", ORDER_ENGINE_DATABASE_TIMEOUT_SECONDS="3")
    server.start()
    with closing(Shop(server, broker.url)) as shop:
        shop.offer(Product(1))
        before = shop.written()
        with psycopg.connect(server.env["DATABASE_URL"]) as blocker:
            blocker.execute("lock table order_engine.orders in exclusive mode")

            async def end() -> None:
                await asyncio.to_thread(
                    eventually, lambda: shop.row(BLOCKED) == (True,), "the request is in progress"
                )
                os.kill(server.pid, signal.SIGTERM)

            (outcome,) = place_all(server, [OrderRequest(1, ((1, 1),))], end)
            assert outcome.order_id is None
            began = time.monotonic()
            assert server.wait(20) == 0
            assert time.monotonic() - began < ENDED_WITHIN_S
        assert shop.written() == before


def test_a_second_signal_stops_the_server_immediately(shop: Shop) -> None:
    shop.offer(Product(1))
    before = shop.written()
    with psycopg.connect(shop.server.env["DATABASE_URL"]) as blocker:
        blocker.execute("lock table order_engine.orders in exclusive mode")

        async def end() -> None:
            await asyncio.to_thread(
                eventually, lambda: shop.row(BLOCKED) == (True,), "the request is in progress"
            )
            os.kill(shop.server.pid, signal.SIGINT)
            await asyncio.to_thread(
                eventually, lambda: is_closed(shop.server.port), "the listener is closed"
            )
            os.kill(shop.server.pid, signal.SIGINT)

        began = time.monotonic()
        (outcome,) = place_all(shop.server, [OrderRequest(1, ((1, 1),))], end)
        assert outcome.order_id is None
        assert shop.server.wait(20) == 0
        # Either the request or the draining alone could take longer.
        assert time.monotonic() - began < ENDED_AT_ONCE_S
    assert shop.written() == before


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_no_acknowledged_order_is_lost_when_the_engine_stops_under_load(
    shop: Shop, signal_number: signal.Signals
) -> None:
    shop.offer(Product(1, quantity=1_000_000))

    async def end() -> None:
        await asyncio.to_thread(
            eventually, lambda: shop.rows("select from orders limit 1"), "the first order is there"
        )
        os.kill(shop.server.pid, signal_number)

    outcomes = place_all(
        shop.server, [OrderRequest(user, ((1, 1),)) for user in range(1, 301)], end
    )
    assert shop.server.wait(20) == 0
    acknowledged = {outcome.order_id for outcome in outcomes if outcome.order_id is not None}
    assert acknowledged
    orders = {number for (number,) in shop.rows("select id from orders")}
    # Every stored order was acknowledged: requests in progress have been answered.
    assert orders == acknowledged
    assert not re.search("ERROR|panic", shop.server.log())
    shop.server.start()
    eventually(lambda: shop.row("select count(*) from outbox") == (0,), "everything is sent")
    assert {each.body["order_id"] for each in shop.spy.received()} == acknowledged


def test_a_port_in_use_is_named_with_a_remedy(make_server: Callable[..., EngineProcess]) -> None:
    server = make_server()
    with socket.create_server(("127.0.0.1", server.port)):
        server.launch()
        assert server.wait(20) == 2
    assert f"port {server.port} of 127.0.0.1" in server.log()
    assert "--port" in server.log()
    assert "Traceback" not in server.log()


def test_it_restarts_immediately_on_the_same_port(shop: Shop) -> None:
    shop.offer(Product(1))
    for _ in range(3):
        order_id = shop.placed((1, 1))
        shop.server.stop()
        shop.server.start()
        # A clean stop releases the leases, so that no other process waits for them to expire.
        shop.spy.wait_for(order_id)
