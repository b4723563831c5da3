"""The old service runs unchanged under gunicorn during and after the adoption of its database."""

import random
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from order_engine import OutOfStock
from tests.python.support.adopted_database import BOTH, SharedDatabase
from tests.python.support.legacy_service import REPOSITORY, LegacyOrderConsumer, LegacyService
from tests.python.support.product_service import Product, ProductService
from tests.python.support.recording import CREATED, EXCHANGES, ask, is_refusal
from tests.python.support.steady_load import steady_load
from tests.python.support.waiting import eventually

ORDERS = 20_000
PER_SECOND = 50
ORDER = "{ order(id: %s) { success message orders { id total_amount items { id quantity } } } }"
CREATE = """
    mutation { createOrder(user_id: 1, order_items: [{product_id: %s, quantity: 1},
    {product_id: %s, quantity: 2}]) { success message orders { id total_amount status } } }
"""
FILL = """
    insert into orders (user_id, total_amount, status, created_at, updated_at, address)
    select 1 + n %% 3, (9.5 * (1 + n %% 3))::float8, (array['Pending', 'Shipped'])[1 + n %% 2],
           timestamp '2024-01-01' + n * interval '1 minute', timestamp '2024-01-01', 'here'
    from generate_series(1, %s) n
"""
FILL_ITEMS = """
    insert into order_items (order_id, product_id, quantity)
    select id, 1, 1 + mod(id, 3) from orders order by id
"""
MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "0badc0de0000"
down_revision = "{head}"


def upgrade():
    op.add_column("orders", sa.Column("channel", sa.String(20), server_default="web"))
    op.execute("update orders set channel = 'shop'")


def downgrade():
    op.drop_column("orders", "channel")
"""


def without_ids(value: Any) -> Any:  # noqa: ANN401 - any JSON.
    """The value with every id replaced by the name of its type."""
    if isinstance(value, list):
        return [without_ids(each) for each in value]
    if isinstance(value, dict):
        return {
            key: type(each).__name__ if key == "id" else without_ids(each)
            for key, each in value.items()
        }
    return value


def test_its_recorded_requests_pass_while_the_engine_places(
    shared_database: SharedDatabase, legacy_service: LegacyService
) -> None:
    first = shared_database.place((1, 2))
    shared_database.adopt()
    placing = threading.Event()
    with shared_database.engine() as engine, ThreadPoolExecutor(1) as pool:

        def place() -> int:
            placed = 0
            while not placing.is_set():
                engine.place_order(user_id=2, lines=[(2, 1), (3, 1)])
                placed += 1
            return placed

        placing_now = pool.submit(place)
        try:
            for name, exchange in EXCHANGES.items():
                if name in ("playground", "introspection"):
                    continue
                answer = ask(legacy_service, exchange["request"], first)
                recorded = exchange["response"]
                assert answer.status_code == recorded["status"], name
                if recorded["status"] == httpx.codes.BAD_REQUEST:
                    assert is_refusal(answer.json()), answer.text
                elif isinstance(recorded["body"], str):
                    assert answer.text == recorded["body"]
                else:
                    assert without_ids(answer.json()) == without_ids(recorded["body"]), name
        finally:
            placing.set()
        placed = placing_now.result()
    assert placed > 0
    own, old = shared_database.sql(BOTH)[0]
    assert own == old == 1 + placed + len(CREATED)
    shared_database.adopt()


def test_adopting_under_load(
    shared_database: SharedDatabase, legacy_service: LegacyService
) -> None:
    shared_database.sql(FILL, ORDERS)
    shared_database.sql(FILL_ITEMS)
    shared_database.sql("analyze")
    headers = {"Authorization": f"Bearer {legacy_service.token(1)}"}
    created: list[int] = []

    def order(client: httpx.Client, number: int) -> str | None:
        creates = number % 4 == 0
        query = CREATE % (1, 3) if number % 8 else CREATE % (3, 1)
        if not creates:
            query = ORDER % random.randint(1, ORDERS)  # noqa: S311 - no secret.
        answer = client.post("/graphql", json={"query": query}, headers=headers)
        if answer.status_code != httpx.codes.OK:
            return answer.text
        envelope = answer.json().get("data", {}).get("createOrder" if creates else "order")
        if not envelope or not envelope["success"]:
            return answer.text
        if creates:
            created.append(int(envelope["orders"][0]["id"]))
        return None

    with steady_load(legacy_service.url, PER_SECOND, 16, order) as load:
        eventually(lambda: load.requests > 3 * PER_SECOND, "the load runs", 60)
        # The first requests of a worker are slow.
        before, load.longest_s = load.requests, 0.0
        report = shared_database.adopt()
        during = load.requests - before
        eventually(lambda: load.requests > before + during + PER_SECOND, "the load continues")
    assert load.failures == []
    assert load.longest_s < 1, f"of {load.requests} requests, {during} of them meanwhile"
    (orders,) = [each for each in report["figures"] if each["what"] == "orders"]
    assert int(orders["engine"]) >= ORDERS
    again = shared_database.adopt()
    (orders,) = [each for each in again["figures"] if each["what"] == "orders"]
    assert int(orders["engine"]) == ORDERS + len(created)
    # Python adds floats: 24.99 + 2 * 9.5 is 43.989999999999995 to it.
    assert set(again["findings_by_kind"]) <= {"rounded"}
    # Without a product service, the new orders reserve what was ordered, or less if an order was
    # placed before its items were observed.
    held = shared_database.sql(
        "select (select sum(reserved) from order_engine.products),"
        " (select sum(quantity) from order_engine.reservations)"
    )
    assert held[0][0] == held[0][1] <= 3 * len(created)


def test_both_place_orders_at_once(
    shared_database: SharedDatabase, legacy_service: LegacyService
) -> None:
    shared_database.adopt()
    headers = {"Authorization": f"Bearer {legacy_service.token(1)}"}

    def order(client: httpx.Client, number: int) -> str | None:
        query = CREATE % ((1, 3) if number % 2 else (3, 1))
        answer = client.post("/graphql", json={"query": query}, headers=headers)
        return None if answer.json()["data"]["createOrder"]["success"] else answer.text

    with shared_database.engine() as engine:

        def place(number: int) -> int:
            items = [(1, 1), (3, 2)] if number % 2 else [(3, 2), (1, 1)]
            order = engine.place_order(user_id=1, lines=items)
            if number % 5 == 0:
                engine.cancel_order(order.id)
            return order.id

        with (
            steady_load(legacy_service.url, PER_SECOND, 8, order) as load,
            ThreadPoolExecutor(8) as pool,
        ):
            placed = list(pool.map(place, range(400)))
    assert load.failures == []
    assert len(set(placed)) == 400
    cancelled = sum(1 for number in range(400) if number % 5 == 0)
    assert (
        shared_database.one("select count(*) from orders where status = 'Cancelled'") == cancelled
    )
    report = shared_database.adopt()
    assert set(report["findings_by_kind"]) <= {"rounded"}
    levels = [shared_database.level(product)[1] for product in (1, 3)]
    live = 400 - cancelled
    pieces = shared_database.sql(
        "select product_id, sum(quantity) from order_items join orders on orders.id = order_id"
        " where status <> 'Cancelled' group by 1 order by 1"
    )
    assert levels == [int(pieces[0][1]), int(pieces[1][1])]
    assert levels[0] >= live


def test_its_migrations_still_run(
    shared_database: SharedDatabase, legacy_service: LegacyService, tmp_path: Path
) -> None:
    shared_database.adopt()
    order = shared_database.place((1, 1))
    assert "(head)" in legacy_service.flask("db", "current")
    legacy_service.flask("db", "upgrade")
    # Autogenerate finds no difference.
    legacy_service.flask("db", "check")
    migrations = tmp_path / "migrations"
    shutil.copytree(REPOSITORY / "tests" / "legacy_app" / "migrations", migrations)
    head = shared_database.one("select version_num from alembic_version")
    (migrations / "versions" / "0badc0de0000.py").write_text(MIGRATION.format(head=head))
    legacy_service.flask("db", "upgrade", "--directory", str(migrations))
    with shared_database.engine() as engine:
        placed = engine.place_order(user_id=1, lines=[(1, 1)])
    channels = shared_database.sql("select id, channel from orders order by id")
    assert channels == [(order, "shop"), (placed.id, "web")]
    legacy_service.flask("db", "downgrade", "--directory", str(migrations))
    assert shared_database.findings() == set()
    shared_database.adopt()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(1, 4)),
        st.tuples(st.just("report"), st.integers(0, 30)),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
    ),
    max_size=12,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_both_stock_calculations_agree(
    adopted_database: SharedDatabase, steps: list[tuple[str, int]]
) -> None:
    shared = adopted_database
    number = shared.one("select coalesce(max(product_id), 100) + 2 from product_catalog")
    twins = (number, number + 1)
    for product in twins:
        shared.sql(
            "insert into product_catalog (product_id, name, price, quantity)"
            " values (%s, 'Mug', 1, 20)",
            product,
        )
    placed: list[int] = []
    with shared.engine() as engine:
        for what, value in steps:
            if what == "place":
                try:
                    placed.append(
                        engine.place_order(user_id=1, lines=[(each, value) for each in twins]).id
                    )
                except OutOfStock:
                    continue
            elif what == "report":
                engine.set_stock(twins[0], value)
                shared.sql(
                    "update product_catalog set quantity = %s where product_id = %s",
                    value,
                    twins[1],
                )
            elif placed:
                engine.cancel_order(placed.pop(value % len(placed)))
            one, other = (shared.level(each) for each in twins)
            assert one == other
            held = [
                shared.sql(
                    "select order_id, quantity from order_engine.reservations"
                    " where product_id = %s order by 1",
                    str(each),
                )
                for each in twins
            ]
            assert held[0] == held[1]


@pytest.fixture
def adopted_database(shared_database: SharedDatabase) -> SharedDatabase:
    shared_database.adopt()
    return shared_database


def test_stock_has_one_writer(
    shared_database: SharedDatabase,
    legacy_order_consumer: LegacyOrderConsumer,
    product_service: ProductService,
) -> None:
    shared_database.adopt()
    product_service.create(Product(9, "Jug", 7.25, 20))
    jug = "select reported from order_engine.products where product_id = '9'"
    eventually(lambda: shared_database.sql(jug) == [(20,)], "the jug is known")
    with shared_database.engine() as engine:
        order = engine.place_order(user_id=1, lines=[(9, 5)])
        assert order.total == Decimal("36.25")
        assert shared_database.level(9) == (20, 5, 20)
        # The consumer is off: writes of the old consumer are the reports.
        product_service.report_stock(9, 15)
        eventually(lambda: shared_database.level(9) == (15, 0, 15), "the report is reckoned with")
        # The consumer is on: writes of the old consumer are ignored.
        shared_database.sql(
            "insert into order_engine.leases values"
            " ('consumer:flask', gen_random_uuid(), 1, now() + interval '30 seconds')"
        )
        product_service.report_stock(9, 3)
        product_service.create(Product(10))
        ten = "select count(*) from product_catalog where product_id = 10"
        eventually(lambda: shared_database.one(ten) == 1, "the old consumer is past it")
        assert shared_database.level(9) == (15, 0, 15)
        assert legacy_order_consumer.is_running(), legacy_order_consumer.log()
