"""The engine is killed at every step of its work: nothing is lost, invented or done twice.

RELIABILITY B1 to B8. The steps are the fail points found in the source, so that a new one is tested
automatically. psycopg, pika, kafkajs and a BullMQ worker check the result. `make chaos`
(`ORDER_ENGINE_TEST_CHAOS`) also tests four processes, and every step of the relay on every
transport.
"""

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from order_engine import OrderEngine, _native
from tests.python.support import seeds
from tests.python.support.adopted_database import SharedDatabase
from tests.python.support.customers import Customers
from tests.python.support.engine_process import EngineProcess
from tests.python.support.kafka_topics import make_topics
from tests.python.support.node_clients import BullMqWorker, KafkaJsConsumer
from tests.python.support.oracle import Received, check_messages, check_orders, check_stock
from tests.python.support.product_service import Product, ProductService
from tests.python.support.servers import LOGGED_SERVERS
from tests.python.support.shop import Shop
from tests.python.support.waiting import eventually
from tests.services import Kafka, Redis, Workspace

SOURCE = Path(__file__).parents[3] / "src"
POINTS = sorted(
    {
        name
        for file in SOURCE.rglob("*.rs")
        for name in re.findall(r'fail_point!\(\s*"([^"]+)"', file.read_text())
    }
)
TRANSPORTS = {"kafka": "gateway", "bullmq": "jobs"}
ADOPTING = [point for point in POINTS if point.startswith("adopt.")]
RELAYING = [point for point in POINTS if point.startswith("relay.")]
ELSEWHERE = [point for point in RELAYING if point.endswith(tuple(TRANSPORTS))]
SERVING = [point for point in POINTS if point not in {*ADOPTING, *ELSEWHERE}]
# One process everywhere; four where the survivors continue the dead one's work.
MATRIX = [(1, point) for point in SERVING] + [
    (4, point)
    for point in SERVING
    if seeds.IS_CHAOS
    or point
    in {
        "place.written",
        "place_optimistic.committed",
        "relay.confirmed",
        "consume.applied",
    }
]
# The passes of each step that are tested.
MOMENTS = 3 if seeds.IS_CHAOS else 1
REACHED_WITHIN_S = 60.0
DRAINED_WITHIN_S = 60.0
PRODUCT, STOCK = 1, 10**6
MUG = "66f1c0de0000000000000001"

pytestmark = pytest.mark.skipif(
    b"ORDER_ENGINE_FAIL_POINT" not in Path(_native.__file__).read_bytes(),
    reason="this wheel was built without fail points, as releases are",
)


class Arena:
    """One database and one virtual host on which engines are killed, one after the other."""

    def __init__(self, make: Callable[..., EngineProcess], places: dict[str, str]) -> None:
        """Starts an engine once, to create the product."""
        self._make = make
        engine = make()
        engine.start()
        self.shop = Shop(engine, places["RABBITMQ_URL"])
        self.shop.offer(Product(PRODUCT, quantity=STOCK))
        engine.stop()
        self.customers = Customers(PRODUCT, STOCK, ProductService(places["RABBITMQ_URL"]))

    def die_at(self, point: str, moment: int, workers: int) -> None:
        """Kills one of several engines at the nth pass of a fail point, under load."""
        doomed = self._make(ORDER_ENGINE_FAIL_POINT=f"{point}:{moment}")
        doomed.start()
        with ExitStack() as stack:
            others = [self._make() for _ in range(workers - 1)]
            for other in others:
                other.start()
                stack.callback(other.kill)
            dead = Watch(doomed, point)
            reports = point.startswith("consume.")
            self.customers.place_orders([doomed, *others], dead, reports=reports)
            assert doomed.wait(1) == -signal.SIGKILL
            self.let_leases_end()
            if not others:
                survivor = self._make()
                survivor.start()
                stack.callback(survivor.kill)
                others.append(survivor)
            self.settle(others[0])
        self.let_leases_end()

    def settle(self, survivor: EngineProcess) -> None:
        """Has the clients retry unknown outcomes, and compares orders, stock and messages."""
        shop, customers = self.shop, self.customers
        customers.retry_unanswered(survivor)
        customers.repeat(survivor, 5)
        reported = customers.on_stock
        eventually(
            lambda: shop.row("select reported from products") == (reported,),
            "every stock report has been applied",
            DRAINED_WITHIN_S,
        )
        eventually(
            lambda: shop.row("select count(*) from outbox") == (0,),
            "every message has been sent",
            DRAINED_WITHIN_S,
        )
        found = check_orders(shop.database, customers.planned_orders)
        check_stock(shop.database, PRODUCT, initial=STOCK, found=found, reported=reported)
        assert shop.row("select count(*) from inbox_dead_letters") == (0,)
        received = [
            Received(each.body["order_id"], each.body["version"], each.properties["message_id"])
            for each in shop.spy.received()
        ]
        check_messages(shop.database, received)

    def let_leases_end(self) -> None:
        """As after half a minute: leases of dead processes expire."""
        self.shop.rows("update leases set expires_at = clock_timestamp() returning name")

    def close(self) -> None:
        """Disconnects."""
        self.shop.close()


class Watch:
    """Whether an engine has died; logs it if it has not."""

    def __init__(self, engine: EngineProcess, point: str) -> None:
        """Starts the deadline."""
        self._engine = engine
        self._deadline = seeds.Deadline(REACHED_WITHIN_S, f"{point} is reached")

    def __call__(self) -> bool:
        """Sends a request."""
        self._deadline.check()
        return not self._engine.is_running()


@pytest.fixture(scope="module")
def arena(
    request: pytest.FixtureRequest,
    workspace: Workspace,
    shared_places: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Arena]:
    """Shared by the tests of this module."""
    folder = tmp_path_factory.mktemp("arena")
    secret = {"JWT_SECRET_KEY": "of all engines of the arena, so that tokens suit each"}
    engines = request.node.stash.setdefault(LOGGED_SERVERS, [])

    def make(**env: str) -> EngineProcess:
        engine = EngineProcess(workspace, folder, shared_places | secret | env)
        engines[:] = [*engines[-3:], engine]
        return engine

    with closing(Arena(make, shared_places)) as opened:
        yield opened


def test_every_process_has_fail_points() -> None:
    ways = {point.partition(".")[0] for point in POINTS}
    assert ways == {
        "place",
        "place_optimistic",
        "change",
        "relay",
        "consume",
        "adopt",
    }


@pytest.mark.parametrize(("workers", "point"), MATRIX)
@pytest.mark.timeout(MOMENTS * 200)
def test_a_killed_engine_loses_nothing(arena: Arena, workers: int, point: str) -> None:
    moments = seeds.random_of(f"{workers} {point}")
    for _ in range(MOMENTS):
        arena.die_at(point, moments.randint(1, 6), workers)


@pytest.mark.parametrize(
    ("point", "transport"),
    [
        (point, transport)
        for point in RELAYING
        for transport in TRANSPORTS
        if point.endswith(transport)
        or (seeds.IS_CHAOS and point not in ELSEWHERE and not point.endswith("rabbitmq"))
    ],
)
def test_a_killed_relay_loses_nothing_on_any_transport(  # noqa: PLR0913, PLR0917
    point: str,
    transport: str,
    database_url: str,
    make_engine: Callable[..., EngineProcess],
    kafka: Kafka,
    redis: Redis,
    make_kafkajs_consumer: Callable[..., KafkaJsConsumer],
    make_bullmq_worker: Callable[..., BullMqWorker],
) -> None:
    contract = TRANSPORTS[transport]
    make_topics(kafka.url, "inventory-events", "order-events")
    settings = {
        "DATABASE_URL": database_url,
        "KAFKA_BROKER": kafka.url,
        "REDIS_URL": redis.url,
        "METRICS_PORT": "0",
        f"ORDER_ENGINE_{contract.upper()}_AUTH": "none",
    }
    with OrderEngine(database_url=database_url) as engine:
        engine.upsert_product(MUG, name="Mug", price="9.5")
        engine.set_stock(MUG, STOCK)
    moment = seeds.random_of(f"{point} {transport}").randint(1, 6)
    doomed = make_engine(
        settings | {"ORDER_ENGINE_FAIL_POINT": f"{point}:{moment}"}, "--contract", contract
    )
    doomed.start()
    acknowledged: list[str] = []
    path, body = ORDERS[contract]
    is_dead = Watch(doomed, point)
    while not is_dead():
        try:
            answer = httpx.post(doomed.url + path, json=body, trust_env=False)
        except httpx.TransportError:
            continue
        acknowledged.append(answer.json()["_id"])
    assert doomed.wait(1) == -signal.SIGKILL
    with psycopg.connect(
        database_url, autocommit=True, options="-c search_path=order_engine"
    ) as database:
        database.execute("update leases set expires_at = clock_timestamp()")
        survivor = make_engine(settings, "--contract", contract)
        survivor.start()
        eventually(
            lambda: database.execute("select count(*) from outbox").fetchone() == (0,),
            "every message has been sent",
            DRAINED_WITHIN_S,
        )
        events = {
            str(event): order
            for order, event in database.execute(
                "select order_id, event_id from order_history"
            ).fetchall()
        }
    if transport == "kafka":
        reported = make_kafkajs_consumer("after", "order-events").wait_for_messages(len(events))
        received = {(each["headers"]["event_id"], each["key"]) for each in reported}
    else:
        jobs = make_bullmq_worker("order-queue").wait_for_records(len(events))
        assert len(jobs) == len(events), "a job that is added twice is there once"
        received = {(job["id"].removesuffix("-order-placed"), job["data"]["_id"]) for job in jobs}
    assert {event: int(name[8:], 16) for event, name in received} == events
    assert {name for _, name in received} >= set(acknowledged)
    # One order may have been placed whose answer was lost with the engine.
    assert len(acknowledged) <= len(events) <= len(acknowledged) + 1


ORDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "gateway": ("/", {"userId": "7", "products": [{"_id": MUG, "quantity": 1}]}),
    "jobs": (
        "/orders",
        {"userId": "7", "products": [{"productId": MUG, "quantity": 1}], "totalAmount": 9.5},
    ),
}

FILL = """
    insert into orders (user_id, total_amount, status, created_at, updated_at)
    select 1 + n %% 3, 9.5, 'Pending', timestamp '2024-01-01' + n * interval '1 minute', now()
    from generate_series(1, %s) n
"""
FILL_ITEMS = """
    insert into order_items (order_id, product_id, quantity)
    select id, 1, 1 from orders where not exists (
        select from order_items where order_id = orders.id
    ) order by id
"""
DIFFERENT = """
    select id from public.orders o full join (
        select id, user_id::int as user_id, total::float as total_amount
        from order_engine.orders where deleted_at is null
    ) e using (id)
    where (o.user_id, o.total_amount) is distinct from (e.user_id, e.total_amount)
"""


@pytest.mark.parametrize("point", ADOPTING)
def test_a_killed_adoption_resumes(shared_database: SharedDatabase, point: str) -> None:
    shared_database.sql(FILL, 600)
    shared_database.sql(FILL_ITEMS)
    # Products, users, and then the first orders.
    moment = 3 if "batch" in point else 1
    shared_database.env["ORDER_ENGINE_FAIL_POINT"] = f"{point}:{moment}"
    assert shared_database.command("--json").returncode == -signal.SIGKILL
    # The old application keeps using its tables, whatever the state of the adoption.
    placed = shared_database.place((1, 2), total=19.0)
    shared_database.sql("delete from order_items where order_id = 7 returning id")
    shared_database.sql("delete from orders where id = 7 returning id")
    del shared_database.env["ORDER_ENGINE_FAIL_POINT"]
    shared_database.adopt()
    assert shared_database.sql(DIFFERENT) == []
    assert shared_database.one("select count(*) from order_engine.orders where id = %s", placed)
    assert shared_database.one("select count(*) from order_engine.orders") in {600, 601}


@pytest.mark.parametrize(("profile", "has_points"), [("quick", True), ("release", False)])
def test_only_test_wheels_have_fail_points(profile: str, has_points: bool) -> None:  # noqa: FBT001
    command = ["make", "-n", "-W", "Cargo.toml", f"PROFILE={profile}", f".venv/.wheel-{profile}"]
    said = subprocess.run(command, cwd=SOURCE.parent, capture_output=True, text=True, check=True)
    (build,) = [line for line in said.stdout.splitlines() if "maturin build" in line]
    assert ("--features fail-points" in build) == has_points, build
