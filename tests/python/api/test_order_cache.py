"""Two processes read orders through Redis and never return an order older than acknowledged."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from psycopg import Connection
from redis import Redis as RedisClient

from tests.python.support.engine_process import EngineProcess
from tests.python.support.fault_proxy import FaultProxy
from tests.python.support.product_service import Product, ProductService
from tests.python.support.servers import copied_database, fresh_vhost
from tests.python.support.shop import database_of
from tests.python.support.waiting import eventually
from tests.services import PostgreSQL, RabbitMQ, Redis, Workspace

PLACE = """
    mutation { placeOrder(input: {products: [{productId: "1", quantity: 1}]}) { _id status } }
"""
UPDATE = """
    mutation Update($id: ID!, $status: String!) {
        updateOrderStatus(input: {orderId: $id, status: $status}) { status }
    }
"""
GET = "query Get($id: ID!) { getOrder(orderId: $id) { _id userId status } }"
LIST = "{ getUserOrders { _id status } }"
# A writer without Redis waits until no process reads from the cache, and for Redis itself.
WRITE_TIME_MAX_S = 3.0
READ_TIME_MAX_S = 2.0
CHANGE_TIME_MAX_S = 0.5
# Longer than a process refrains from using Redis after a failure.
RECONNECT_S = 1.0
# The cache is not read for its first 1.5 s; an earlier build did not read it for 24 s.
FIRST_START_MAX_S = 10.0
STAMPEDE = 40
PAUSE_S = 0.05
Json = Any


class Api:
    """One of two processes."""

    def __init__(self, server: EngineProcess) -> None:
        """Takes a running server."""
        self.server = server

    def ask(self, query: str, user: str, **variables: object) -> Json:
        """Returns the data of a successful response."""
        answer = self.server.graphql(query, variables, token=self.server.token(user)).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def place(self, user: str) -> str:
        """Places an order and returns its id."""
        order_id: str = self.ask(PLACE, user)["placeOrder"]["_id"]
        return order_id

    def status(self, user: str, order_id: str) -> str:
        """Reads the status of one order."""
        status: str = self.ask(GET, user, id=order_id)["getOrder"]["status"]
        return status

    def set_status(self, user: str, order_id: str, status: str) -> None:
        """Changes an order."""
        self.ask(UPDATE, user, id=order_id, status=status)

    def listed(self, user: str) -> dict[str, str]:
        """Reads the statuses of all orders of a user."""
        return {each["_id"]: each["status"] for each in self.ask(LIST, user)["getUserOrders"]}

    def cache_metrics(self) -> dict[str, int]:
        """The cache counters: hits, misses and bypassed."""
        text = httpx.get(f"{self.server.url}/metrics", trust_env=False).text
        found = re.findall(r"^order_engine_cache_(\w+)_total(?:{})? (\d+)", text, re.MULTILINE)
        return {name: int(count) for name, count in found}


class Pair:
    """Two processes with one database and one Redis; the second reaches Redis through a proxy."""

    def __init__(self, near: Api, far: Api, proxy: FaultProxy, redis: Redis) -> None:
        """Takes two running processes."""
        self.near = near
        self.far = far
        self.proxy = proxy
        self.redis = redis
        self._users = 0

    def user(self) -> str:
        """A user without orders."""
        self._users += 1
        return f"user {self._users}"

    def cached_order(self, user: str) -> str:
        """Places an order, and has both processes read it from the cache."""
        order_id = self.near.place(user)
        for api in (self.near, self.far):

            def is_hit(api: Api = api) -> bool:
                before = api.cache_metrics()["hits"]
                assert api.status(user, order_id) == "pending"
                assert api.listed(user) == {order_id: "pending"}
                return api.cache_metrics()["hits"] == before + 2

            eventually(is_hit, "the order and the list are in the cache")
        return order_id


def wait_for_product(database: Connection) -> None:
    """Waits until the product can be ordered."""
    known = "select exists(select from products where reported is not null)"
    eventually(lambda: database.execute(known).fetchone() == (True,), "it can be ordered")


@pytest.fixture(scope="module")
def places(shared_places: dict[str, str], redis_server: Redis) -> dict[str, str]:
    """The settings of every process."""
    redis_server.start()
    return shared_places | {"JWT_SECRET_KEY": "k" * 32, "REDIS_URL": redis_server.url}


@pytest.fixture(scope="module")
def start(
    workspace: Workspace, places: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Api]]:
    """Starts another process with the given settings."""
    with ExitStack() as stack:

        def make(**env: str) -> Api:
            folder = tmp_path_factory.mktemp("engine")
            server = EngineProcess(workspace, folder, places | env, "--contract", "storefront")
            stack.callback(server.stop)
            server.start()
            return Api(server)

        yield make


@pytest.fixture(scope="module")
def pair(start: Callable[..., Api], places: dict[str, str], redis_server: Redis) -> Iterator[Pair]:
    """Both processes, with enough of a product in stock."""
    with FaultProxy(redis_server.port) as proxy:
        far_url = redis_server.url.replace(f":{redis_server.port}/", f":{proxy.port}/")
        near, far = start(), start(REDIS_URL=far_url)
        ProductService(places["RABBITMQ_URL"]).create(Product(1, quantity=1_000_000))
        with database_of(near.server) as database:
            wait_for_product(database)
        yield Pair(near, far, proxy, redis_server)


@pytest.fixture(autouse=True)
def in_order(pair: Pair) -> Iterator[None]:
    """Restores Redis and the proxy."""
    yield
    pair.redis.start()
    pair.proxy.mend()


def test_a_read_sees_earlier_writes_of_any_process(pair: Pair) -> None:
    user = pair.user()
    pair.cached_order(user)
    before = pair.near.cache_metrics()["hits"]
    for n in range(20):
        near, far = (pair.near, pair.far) if n % 2 else (pair.far, pair.near)
        order_id = near.place(user)
        assert order_id in far.listed(user)
        for status in ("confirmed", "shipped", "delivered"):
            far.set_status(user, order_id, status)
            assert near.status(user, order_id) == status
            assert near.listed(user)[order_id] == status
            assert near.status(user, order_id) == status
    assert pair.near.cache_metrics()["hits"] > before


def test_cached_orders_are_visible_to_their_owner_only(pair: Pair) -> None:
    user, other = pair.user(), pair.user()
    order_id = pair.cached_order(user)
    token = pair.near.server.token(other, roles=["admin"])
    staff = pair.near.server.graphql(GET, {"id": order_id}, token=token).json()
    assert staff["data"]["getOrder"]["userId"] == user
    denied = pair.near.server.graphql(
        GET, {"id": order_id}, token=pair.near.server.token(other)
    ).json()
    assert denied["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    made_up = ("0" if order_id[0] != "0" else "1") + order_id[1:]
    denied = pair.near.server.graphql(
        GET, {"id": made_up}, token=pair.near.server.token(user)
    ).json()
    assert denied["errors"][0]["extensions"]["code"] == "NOT_FOUND"


def test_copies_of_a_database_share_no_entries(
    pair: Pair,
    start: Callable[..., Api],
    postgres: PostgreSQL,
    migrated_template: str,
    rabbitmq: RabbitMQ,
) -> None:
    order_id = pair.cached_order(pair.user())
    with copied_database(postgres, migrated_template) as url, fresh_vhost(rabbitmq) as vhost:
        copy = start(DATABASE_URL=url, RABBITMQ_URL=vhost.url)
        ProductService(vhost.url).create(Product(1, quantity=1_000_000))
        with database_of(copy.server) as database:
            wait_for_product(database)
        # Copies of a database assign the same numbers: the last 16 digits of an id.
        while (copied_id := copy.place("another user"))[8:] != order_id[8:]:
            pass

        def is_hit() -> bool:
            assert copy.status("another user", copied_id) == "pending"
            return copy.cache_metrics()["hits"] > 0

        eventually(is_hit, "the copy uses the cache")
        copy.server.stop()


@pytest.mark.parametrize("garbage", ["value", "writers", "string"])
def test_invalid_cache_entries_are_read_from_the_database(pair: Pair, garbage: str) -> None:
    user = pair.user()
    order_id = pair.cached_order(user)
    with RedisClient.from_url(pair.redis.url) as client:
        keys = list(client.scan_iter("order-engine:cache:*"))
        assert keys
        for key in keys:
            match garbage:
                case "string":
                    client.set(key, "many")
                case field:
                    client.hset(key, field, "many")
    assert pair.near.status(user, order_id) == "pending"
    assert pair.near.listed(user) == {order_id: "pending"}
    pair.far.set_status(user, order_id, "shipped")
    assert pair.near.status(user, order_id) == "shipped"
    before = pair.near.cache_metrics()["hits"]

    def is_hit() -> bool:
        assert pair.near.status(user, order_id) == "shipped"
        return pair.near.cache_metrics()["hits"] > before

    eventually(is_hit, "it is cached again")


def test_concurrent_misses_query_the_database_once(pair: Pair) -> None:
    user = pair.user()
    order_id = pair.cached_order(user)
    pair.near.set_status(user, order_id, "shipped")
    before = pair.near.cache_metrics()
    with ThreadPoolExecutor(STAMPEDE) as threads:
        read = list(threads.map(lambda _: pair.near.status(user, order_id), range(STAMPEDE)))
    assert set(read) == {"shipped"}
    after = pair.near.cache_metrics()
    assert after["misses"] - before["misses"] == 1
    assert after["hits"] - before["hits"] == STAMPEDE - 1


@pytest.mark.parametrize("break_it", ["cut", "freeze"])
def test_a_writer_without_redis_leaves_no_stale_entry(pair: Pair, break_it: str) -> None:
    user = pair.user()
    order_id = pair.cached_order(user)
    getattr(pair.proxy, break_it)()
    for status in ("confirmed", "shipped", "delivered"):
        began = time.monotonic()
        pair.far.set_status(user, order_id, status)
        assert time.monotonic() - began < WRITE_TIME_MAX_S
        assert pair.near.status(user, order_id) == status
        assert pair.near.listed(user) == {order_id: status}
    more = pair.far.place(user)
    assert set(pair.near.listed(user)) == {order_id, more}
    began = time.monotonic()
    assert pair.far.status(user, order_id) == "delivered"
    assert time.monotonic() - began < READ_TIME_MAX_S
    pair.proxy.mend()
    assert pair.near.status(user, order_id) == "delivered"
    pair.cached_order(pair.user())
    assert pair.near.status(user, order_id) == "delivered"


def test_a_redis_crash_between_a_read_and_a_write(pair: Pair) -> None:
    user = pair.user()
    order_id = pair.cached_order(user)
    pair.redis.kill()
    began = time.monotonic()
    pair.far.set_status(user, order_id, "shipped")
    assert time.monotonic() - began < WRITE_TIME_MAX_S
    assert pair.near.status(user, order_id) == "shipped"
    pair.redis.start()
    assert pair.near.status(user, order_id) == "shipped"
    assert pair.near.listed(user) == {order_id: "shipped"}
    pair.cached_order(pair.user())
    assert pair.near.status(user, order_id) == "shipped"


@pytest.mark.parametrize("engines", ["running", "restarted"])
def test_a6_a_redis_back_with_a_snapshot_serves_no_older_order(pair: Pair, engines: str) -> None:
    user = pair.user()
    order_id = pair.cached_order(user)
    with RedisClient.from_url(pair.redis.url) as client:
        client.save()
    pair.far.set_status(user, order_id, "shipped")
    apis = (pair.near, pair.far)
    if engines == "restarted":
        for api in apis:
            api.server.stop()
    pair.redis.kill()
    pair.redis.start()
    with RedisClient.from_url(pair.redis.url) as client:
        assert any(client.scan_iter("order-engine:cache:*")), "the snapshot has the entries"
    for api in apis:
        if engines == "restarted":
            api.server.start()
        else:
            # The health check is the first to notice that the connection is gone.
            httpx.get(f"{api.server.url}/readyz", trust_env=False)
    time.sleep(RECONNECT_S)
    for api in apis:
        assert api.status(user, order_id) == "shipped"
        assert api.listed(user) == {order_id: "shipped"}
    pair.cached_order(pair.user())
    for api in apis:
        assert api.status(user, order_id) == "shipped"


def test_a6_a_process_that_starts_reads_no_entry_from_before(pair: Pair) -> None:
    user = pair.user()
    order_id = pair.cached_order(user)
    for api in (pair.near, pair.far):
        api.server.stop()
    # As a restored database would: nothing invalidates the entry.
    with database_of(pair.near.server) as database:
        database.execute("update orders set address = 'restored', status = 'confirmed'")
    for api in (pair.near, pair.far):
        api.server.start()
        assert api.status(user, order_id) == "confirmed"
    pair.cached_order(pair.user())
    assert pair.near.status(user, order_id) == "confirmed"


def test_a6_a_start_delays_no_change_of_other_processes(
    pair: Pair, start: Callable[..., Api]
) -> None:
    user = pair.user()
    order_id = pair.cached_order(user)
    over = threading.Event()

    def write() -> float:
        longest = 0.0
        while not over.is_set():
            began = time.monotonic()
            made = pair.near.place(user)
            longest = max(longest, time.monotonic() - began)
            assert made in pair.far.listed(user)
            over.wait(PAUSE_S)
        return longest

    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(write)
        try:
            started = start()
            eventually(
                lambda: started.status(user, order_id) and started.cache_metrics()["hits"] > 0,
                "the new process reads from the cache",
            )
        finally:
            over.set()
        # A suspension would make each change wait for 0.6 s.
        assert writing.result() < CHANGE_TIME_MAX_S
    started.server.stop()


def test_n17_the_first_start_uses_the_cache_at_once_and_logs_it_once(
    start: Callable[..., Api],
    postgres: PostgreSQL,
    migrated_template: str,
    rabbitmq: RabbitMQ,
) -> None:
    with copied_database(postgres, migrated_template) as url, fresh_vhost(rabbitmq) as vhost:
        alone = start(DATABASE_URL=url, RABBITMQ_URL=vhost.url)
        ProductService(vhost.url).create(Product(1, quantity=1_000_000))
        with database_of(alone.server) as database:
            wait_for_product(database)
        order_id = alone.place("a user")

        def is_hit() -> bool:
            alone.status("a user", order_id)
            return alone.cache_metrics()["hits"] > 0

        eventually(is_hit, "the cache is used", FIRST_START_MAX_S)
        lines = [line for line in alone.server.log().splitlines() if "order cache" in line]
        assert len(lines) == 1, lines
        assert "its first use" in lines[0]
        alone.server.stop()


def test_a_process_without_redis_leaves_no_stale_entry(
    pair: Pair, start: Callable[..., Api]
) -> None:
    user = pair.user()
    order_id = pair.cached_order(user)
    without = start(REDIS_URL="")
    without.set_status(user, order_id, "shipped")
    assert pair.near.status(user, order_id) == "shipped"
    more = without.place(user)
    assert set(pair.far.listed(user)) == {order_id, more}
    assert without.cache_metrics() == {}
    without.server.stop()
    with database_of(pair.near.server) as database:
        # It would not be used for a minute.
        database.execute("update cache_state set bypass_until = clock_timestamp()")


def test_no_read_is_older_than_an_acknowledged_order_while_redis_fails(pair: Pair) -> None:
    user = pair.user()
    pair.cached_order(user)
    acknowledged: set[str] = set()
    over = threading.Event()

    def write(api: Api) -> int:
        count = 0
        while not over.is_set():
            acknowledged.add(api.place(user))
            # The list holds a thousand.
            over.wait(PAUSE_S)
            count += 1
        return count

    def read(api: Api) -> int:
        count = 0
        while not over.is_set():
            before = set(acknowledged)
            listed = api.listed(user)
            missing = before - set(listed)
            assert not missing, f"{len(missing)} acknowledged orders are not listed"
            count += 1
        return count

    with ThreadPoolExecutor(4) as threads:
        apis = (pair.near, pair.far)
        working = [threads.submit(work, api) for work in (write, read) for api in apis]
        try:
            for break_it, mend in (
                (pair.proxy.cut, pair.proxy.mend),
                (pair.proxy.freeze, pair.proxy.mend),
                (pair.redis.kill, pair.redis.start),
            ):
                steps = len(acknowledged)
                eventually(lambda at=steps: len(acknowledged) > at + 3, "orders are placed")  # type: ignore[misc]
                break_it()
                steps = len(acknowledged)
                eventually(lambda at=steps: len(acknowledged) > at + 3, "orders are placed")  # type: ignore[misc]
                mend()
            hits = pair.near.cache_metrics()["hits"]
            eventually(lambda: pair.near.cache_metrics()["hits"] > hits, "the cache is used again")
        finally:
            over.set()
        for each in working:
            assert each.result() > 0
