"""Overload, and clients that only hold connections: other clients are still served.

`ATTACK_CONNECTIONS`, which `make attack` sets, is the number of idle connections.
"""

import asyncio
import json
import os
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from order_engine import OrderEngine
from tests.python.support.engine_process import EngineProcess
from tests.python.support.fault_proxy import FaultProxy, Traffic
from tests.python.support.shop import database_of
from tests.python.support.steady_load import steady_load
from tests.python.support.waiting import eventually

IDLE = int(os.environ.get("ATTACK_CONNECTIONS", "400"))
FEW_FILES = 600
PATIENCE_S = 20.0
WAVE = 600
GROWTH_MAX_BYTES = 150_000_000
PER_IDLE_MAX_BYTES = 30_000
READERS, PIPELINED = 40, 400
WRITERS = 100
USERS = 50
# Delay of each packet to a distant database, and duration of the overload.
FAR_S = 0.12
OVERLOAD_S = 15.0
# Limit for the wait of the oldest request in the queue, and orders that two committers then place.
QUEUE_S = 5.0
BATCHES = 2 * 128
REFUSED_WITHIN_S = 1.0
STOCK = 1_000_000
PLACE = {
    "query": "mutation { placeOrder(userId: 1, productId: 1, quantity: 1) { success message } }"
}

Make = Callable[..., EngineProcess]


@pytest.fixture
def loaded(make_server: Make) -> Iterator[EngineProcess]:
    """A running engine with a product in stock, without a broker."""
    server = make_server(RABBITMQ_URL="", ORDER_ENGINE_REQUEST_TIMEOUT_SECONDS="3")
    server.start()
    stocked(server)
    yield server
    assert "panicked" not in server.log()


def stocked(server: EngineProcess) -> None:
    with OrderEngine(database_url=server.env["DATABASE_URL"]) as engine:
        engine.upsert_product(1, name="Mug", price="9.5")
        engine.set_stock(1, STOCK)


def resident_bytes(server: EngineProcess) -> int:
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def connected(server: EngineProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S)


def is_served(server: EngineProcess) -> bool:
    """Whether a new client gets a response, also from the database."""
    headers = {"Authorization": f"Bearer {server.token(1)}"}
    try:
        answer = httpx.post(
            f"{server.url}/graphql",
            json={"query": "{ getOrders { id } }"},
            headers=headers,
            trust_env=False,
            timeout=PATIENCE_S,
        )
    except httpx.TransportError:
        return False
    return answer.status_code == httpx.codes.OK and "errors" not in answer.json()


def test_c36_idle_connections_do_not_block_others(make_server: Make) -> None:
    server = make_server(RABBITMQ_URL="")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Children inherit the limit: it allows fewer connections than the idle ones.
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FEW_FILES * IDLE // 400, soft), hard))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    before = resident_bytes(server)
    with ExitStack() as stack:
        for _ in range(IDLE):
            idle = stack.enter_context(socket.socket())
            idle.settimeout(0)
            idle.connect_ex(("127.0.0.1", server.port))
        eventually(lambda: is_served(server), "an honest client is served", PATIENCE_S)
        assert resident_bytes(server) - before < GROWTH_MAX_BYTES + IDLE * PER_IDLE_MAX_BYTES
    began = time.monotonic()
    assert is_served(server)
    assert time.monotonic() - began < PATIENCE_S / 4
    assert "Too many open files" not in server.log()


def test_c36_a_client_that_does_not_read_takes_no_memory(loaded: EngineProcess) -> None:
    before = resident_bytes(loaded)
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * PIPELINED
    with ExitStack() as stack:
        for _ in range(READERS):
            reader = stack.enter_context(closing(connected(loaded)))
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.sendall(request)
        eventually(lambda: is_served(loaded), "others are served")
        assert resident_bytes(loaded) - before < GROWTH_MAX_BYTES


def test_c36_a_client_that_writes_without_end_is_refused(loaded: EngineProcess) -> None:
    head = b"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with ExitStack() as stack:
        writers = [stack.enter_context(closing(connected(loaded))) for _ in range(WRITERS)]
        for writer in writers:
            writer.sendall(head + b"Content-Length: 100\r\n\r\n{")
        eventually(lambda: is_served(loaded), "others are served")
        for writer in writers:
            assert writer.recv(12) == b"HTTP/1.1 408"


@dataclass(frozen=True)
class Placing:
    """The result of a placement."""

    outcome: str
    """The status, and whether there is an order."""
    text: bytes
    took_s: float


def placement(server: EngineProcess, user: int) -> bytes:
    """The bytes of a request."""
    query = PLACE["query"].replace("userId: 1", f"userId: {user}")
    body = json.dumps({"query": query}).encode()
    head = (
        "POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {server.token(user)}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def place(server: EngineProcess, request: bytes) -> Placing:
    """Sends a placement over a new connection."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
    finally:
        writer.close()
    status = answer.split(b" ", 2)[1].decode()
    is_placed = b'"success":true' in answer
    return Placing(f"{status} {is_placed}", answer, time.monotonic() - began)


async def placed_at_once(server: EngineProcess, number: int) -> list[Placing]:
    """Sends several placements at once."""
    requests = [placement(server, user % USERS + 1) for user in range(number)]
    return await asyncio.gather(*(place(server, request) for request in requests))


async def placed_at_rate(server: EngineProcess, per_second: float, seconds: float) -> list[Placing]:
    """Sends placements when they are due, whether earlier ones are answered or not."""
    requests = [placement(server, user) for user in range(1, USERS + 1)]
    began = time.monotonic()
    under_way = []
    for number in range(int(per_second * seconds)):
        await asyncio.sleep(max(0.0, began + number / per_second - time.monotonic()))
        under_way.append(asyncio.create_task(place(server, requests[number % USERS])))
    return await asyncio.gather(*under_way)


def test_a_burst_of_orders_is_answered_and_releases_its_memory(loaded: EngineProcess) -> None:
    before = resident_bytes(loaded)
    outcomes = Counter[str]()
    for _ in range(3):
        outcomes += Counter(one.outcome for one in asyncio.run(placed_at_once(loaded, WAVE)))
    assert sum(outcomes.values()) == 3 * WAVE
    # Each result is an order or a clear refusal.
    assert set(outcomes) <= {"200 True", "200 False", "503 False"}, outcomes
    assert outcomes["200 True"] > WAVE
    began = time.monotonic()
    assert is_served(loaded)
    assert time.monotonic() - began < 1.0
    assert resident_bytes(loaded) - before < GROWTH_MAX_BYTES
    with closing(database_of(loaded)) as database:
        (orders,) = database.execute("select count(*) from orders").fetchone() or (0,)
    assert outcomes["200 True"] <= orders <= 3 * WAVE


def test_three_times_the_capacity_serves_a_third_and_rejects_the_rest_immediately(
    make_server: Make, database_url: str
) -> None:
    address = urlsplit(database_url)
    with FaultProxy(address.port or 5432) as proxy:
        through = address._replace(
            netloc=address.netloc.replace(str(address.port), str(proxy.port))
        )
        server = make_server(RABBITMQ_URL="", DATABASE_URL=through.geturl())
        server.start()
        stocked(server)
        # The latency of the database, not this machine, limits the throughput.
        proxy.shape(Traffic(delay_s=FAR_S))
        asyncio.run(placed_at_once(server, USERS))
        began = time.monotonic()
        wave = asyncio.run(placed_at_once(server, WAVE))
        capacity = WAVE / (time.monotonic() - began)
        assert {one.outcome for one in wave} == {"200 True"}
        before = resident_bytes(server)
        reported = asyncio.run(placed_at_rate(server, 3 * capacity, OVERLOAD_S))
        placed = [one.took_s for one in reported if one.outcome == "200 True"]
        refused = [one for one in reported if one.outcome != "200 True"]
        assert placed
        assert refused
        rate = len(placed) / (OVERLOAD_S + max(placed))
        print(  # noqa: T201 - figures, with -rP
            f"capacity {capacity:.0f}/s, asked {3 * capacity:.0f}/s for {OVERLOAD_S:g} s, "
            f"placed {rate:.0f}/s within {max(placed):.2f} s, refused {len(refused)} "
            f"within {max(one.took_s for one in refused):.2f} s"
        )
        assert rate > 0.7 * capacity, (rate, capacity)
        # While the queue grows to its limit, three times as many requests join as leave. Then the
        # current batches and the request's own are committed.
        assert max(placed) < 3 * QUEUE_S + 2 * BATCHES / capacity
        assert {one.outcome for one in refused} <= {"200 False", "503 False"}
        assert all(b"Try again later" in one.text for one in refused)
        assert max(one.took_s for one in refused) < REFUSED_WITHIN_S
        assert resident_bytes(server) - before < GROWTH_MAX_BYTES
        proxy.mend()
        began = time.monotonic()
        assert asyncio.run(place(server, placement(server, 1))).outcome == "200 True"
        assert time.monotonic() - began < 1.0


def test_it_starts_and_stops_under_load(loaded: EngineProcess) -> None:
    token = f"Bearer {loaded.token(1)}"
    placed: list[int] = []

    def ask(client: httpx.Client, _number: int) -> str | None:
        try:
            answer = client.post("/graphql", json=PLACE, headers={"Authorization": token})
        except httpx.TransportError:
            # The connection was refused, or closed before the request was read.
            return None
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return None
        body = answer.json()
        if answer.status_code == httpx.codes.OK and body["data"]["placeOrder"]["success"]:
            placed.append(1)
            return None
        return answer.text

    with steady_load(loaded.url, 100, 8, ask) as load:
        for _ in range(2):
            since = len(placed)
            eventually(lambda since=since: len(placed) > since + 20, "orders are taken")  # type: ignore[misc]
            loaded.stop()
            loaded.start()
        since = len(placed)
        eventually(lambda: len(placed) > since + 20, "orders are taken again")
    assert load.failures == []
    with closing(database_of(loaded)) as database:
        (orders,) = database.execute("select count(*) from orders").fetchone() or (0,)
    assert orders >= len(placed), "an acknowledged order exists"
