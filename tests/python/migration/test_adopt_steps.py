"""Adoption step by step: refused databases, interruptions, and undoing it."""

import re
import signal
import subprocess
import time
from pathlib import Path
from random import Random

import httpx
import psycopg
import pytest

from order_engine import OrderEngine
from tests.python.support.adopted_database import SharedDatabase
from tests.python.support.engine_process import EngineProcess
from tests.python.support.waiting import eventually
from tests.services import Workspace

FILL = """
    insert into orders (user_id, total_amount, status, created_at, updated_at)
    select 1 + n %% 3, 9.5, 'Pending', timestamp '2024-01-01' + n * interval '1 minute', now()
    from generate_series(1, %s) n;
"""
FILL_ITEMS = """
    insert into order_items (order_id, product_id, quantity)
    select id, 1, 1 from orders where not exists (
        select from order_items where order_id = orders.id
    ) order by id
"""
DIGEST = """
    select (select count(*) from order_engine.orders), (select sum(total) from order_engine.orders),
           (select sum(version) from order_engine.orders),
           (select count(*) from order_engine.order_lines),
           (select count(*) from order_engine.order_history),
           (select count(*) from order_engine.reservations),
           (select sum(reserved) from order_engine.products),
           (select count(*) from order_engine.adoption_stock_changes)
"""


def fill(shared: SharedDatabase, orders: int) -> None:
    shared.sql(FILL, orders)
    shared.sql(FILL_ITEMS)


def refusal(shared: SharedDatabase, *arguments: str) -> str:
    done = shared.command(*arguments)
    assert done.returncode == 2, f"{done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stderr


def test_incompatible_tables_are_named_and_nothing_is_changed(
    shared_database: SharedDatabase,
) -> None:
    shared_database.sql("alter table orders alter column total_amount type integer")
    shared_database.sql("alter table order_user drop column contact")
    for arguments in ((), ("--dry-run",)):
        reported = refusal(shared_database, *arguments)
        assert "public.orders.total_amount must be double precision; it is integer." in reported
        assert "order_user.contact must be character varying or text; it is missing." in reported
    assert shared_database.one("select to_regnamespace('order_engine') is null")
    shared_database.sql("drop table order_items")
    assert "The table public.order_items is missing." in refusal(shared_database)


def test_a_database_without_old_tables_is_refused(empty_database_url: str) -> None:
    shared = SharedDatabase(empty_database_url)
    assert "search_path finds no table orders" in refusal(shared)
    assert "no adoption to undo" in refusal(shared, "--undo")
    shared.close()


def test_missing_privileges_are_named(shared_database: SharedDatabase) -> None:
    name = f"reader_{time.monotonic_ns()}"
    shared_database.sql(f"create role {name} login password 'x'")
    shared_database.sql(f"grant select, insert on all tables in schema public to {name}")
    url = shared_database.url
    host = url.split("@", 1)[1]
    shared_database.env["DATABASE_URL"] = f"postgresql://{name}:x@{host}"
    reported = refusal(shared_database)
    assert "TRIGGER on public.orders" in reported
    assert "CREATE on the database" in reported
    assert "INSERT" not in reported
    shared_database.sql(f"drop owned by {name}")
    shared_database.sql(f"drop role {name}")


def test_a_search_path_that_resolves_to_the_engine_first_is_refused(
    shared_database: SharedDatabase,
) -> None:
    database = shared_database.one("select current_database()")
    shared_database.sql(f'alter database "{database}" set search_path = order_engine, public')
    assert "leads to the schema order_engine first" in refusal(shared_database)
    shared_database.env["ORDER_ENGINE_DATABASE_SCHEMA"] = "public"
    assert "search_path finds no table orders" in refusal(shared_database)


def test_orders_of_a_standalone_engine_are_not_merged(shared_database: SharedDatabase) -> None:
    with OrderEngine(database_url=shared_database.url) as engine:
        engine.upsert_product(1, name="Mug", price=1, quantity=10)
        engine.place_order(user_id=1, lines=[(1, 1)])
    reported = refusal(shared_database)
    assert "1 orders of its own" in reported
    assert "ORDER_ENGINE_DATABASE_SCHEMA" in reported
    triggers = "select count(*) from pg_trigger where tgname like 'order_engine%'"
    assert shared_database.one(triggers) == 0


def test_an_unknown_time_zone_is_refused(shared_database: SharedDatabase) -> None:
    done = shared_database.command("--time-zone", "Mars")
    assert (done.returncode, "'Mars'" in done.stderr or '"Mars"' in done.stderr) == (1, True)
    shared_database.sql(FILL, 1)
    shared_database.adopt("--time-zone", "Europe/Berlin")
    placed = "select created_at = '2024-01-01 00:01+01' from order_engine.orders"
    assert shared_database.one(placed)
    done = shared_database.command("--time-zone", "UTC")
    assert "Europe/Berlin" in done.stderr


def test_a_second_concurrent_adoption_fails_immediately(shared_database: SharedDatabase) -> None:
    fill(shared_database, 10)
    with psycopg.connect(shared_database.url) as blocker:
        blocker.execute("select from orders where id = 5 for update")
        first = subprocess.Popen(
            [*shared_database.command_line(), "--json"],
            env=shared_database.env,
            stdout=subprocess.PIPE,
            text=True,
        )
        held = "select count(*) from pg_locks where locktype = 'advisory' and granted"
        eventually(lambda: shared_database.one(held) == 1, "the first is at work")
        began = time.monotonic()
        second = shared_database.command()
        assert time.monotonic() - began < 10
        assert second.returncode == 1
        assert "Another order-engine adopt is running" in second.stderr
        blocker.rollback()
    assert first.wait(60) == 0
    assert first.stdout
    first.stdout.close()


@pytest.mark.parametrize("seed", [1])
def test_a_killed_adoption_can_be_resumed(shared_database: SharedDatabase, seed: int) -> None:
    fill(shared_database, 5000)
    random = Random(seed)  # noqa: S311 - no secret.
    kills = 0
    pause_s = 0.15
    while True:
        process = subprocess.Popen(
            shared_database.command_line(),
            env=shared_database.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _, reported = process.communicate(timeout=random.uniform(0.7, 1) * pause_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            pause_s *= 1.15
            # The old service keeps working in every intermediate state.
            shared_database.place((1, 1))
            continue
        if process.returncode == 0:
            break
        # The server may still consider the killed process connected.
        assert "Another order-engine adopt is running" in reported, reported
    assert kills > 3
    shared_database.adopt()
    orders, total, versions, lines, history, held, reserved, due = shared_database.sql(DIGEST)[0]
    assert (orders, versions, lines, history) == (5000 + kills,) * 4
    assert total == 5000 * 9.5 + kills * 19
    assert (held, due) == (reserved, 0)
    assert reserved <= kills


@pytest.mark.parametrize("after_ms", [0, 60, 150, 300])
def test_a_lost_connection_fails_without_data_loss(
    shared_database: SharedDatabase, after_ms: int
) -> None:
    fill(shared_database, 3000)
    process = subprocess.Popen(
        shared_database.command_line(),
        env=shared_database.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    theirs = "from pg_stat_activity where application_name = 'order-engine adopt'"
    eventually(lambda: shared_database.one(f"select count(*) {theirs}"), "it is connected", 30)
    time.sleep(after_ms / 1000)
    shared_database.sql(f"select pg_terminate_backend(pid) {theirs}")
    _, reported = process.communicate(timeout=60)
    assert process.returncode in (0, 1), reported
    assert "Traceback" not in reported
    shared_database.adopt()
    assert shared_database.sql(DIGEST)[0][:4] == (3000, 28500, 3000, 3000)


def test_adoption_can_be_undone_and_repeated(shared_database: SharedDatabase) -> None:
    fill(shared_database, 3)
    shared_database.adopt()
    with shared_database.engine() as engine:
        placed = engine.place_order(user_id=2, lines=[(1, 2)])
    undone = shared_database.command("--undo")
    assert undone.returncode == 0, undone.stderr
    assert "everything written since" in undone.stdout
    assert "1 messages are queued in the outbox" in undone.stdout
    triggers = "select count(*) from pg_trigger where tgname like 'order_engine%'"
    assert shared_database.one(triggers) == 0
    assert shared_database.sql("select user_id, total_amount from orders where id = %s", placed.id)
    # The old service continues alone: a new order, a change, a deletion.
    alone = shared_database.place((1, 1))
    shared_database.sql("update orders set status = 'Shipped' where id = 1")
    shared_database.sql("delete from order_items where order_id = 2")
    shared_database.sql("delete from orders where id = 2")
    shared_database.sql("update product_catalog set quantity = 10 where product_id = 1")
    shared_database.adopt()
    with shared_database.engine() as engine:
        assert {order.id: str(order.status) for order in engine.list_orders().orders} == {
            alone: "pending",
            placed.id: "pending",
            3: "pending",
            1: "shipped",
        }
        assert [entry.version for entry in engine.order_history(1)] == [1, 2]
        assert shared_database.level(1) == (10, 0, 10)
        engine.change_status(1, "delivered")
    assert shared_database.one("select status from orders where id = 1") == "Delivered"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("alter table orders rename column status to state", "public.orders.status must be"),
        ("alter table orders drop column address", "public.orders.address must be"),
        ("alter table order_items alter quantity type bigint", "public.order_items.quantity"),
        ("alter table orders disable trigger all", "order_engine_insert on public.orders"),
        ("drop table order_items", "The table public.order_items is missing"),
        ("alter table order_user rename to people", "The table public.order_user is missing"),
    ],
)
def test_d10_changed_tables_are_named_and_the_adoption_can_be_undone(
    shared_database: SharedDatabase, change: str, named: str
) -> None:
    shared_database.place((1, 1))
    shared_database.adopt()
    assert shared_database.doctor("adoption") == "Synchronised with the tables in public."
    shared_database.sql(change)
    assert named in shared_database.doctor("adoption")
    forced = shared_database.command("--undo", "--force")
    assert forced.returncode == 0, forced.stderr
    triggers = "select count(*) from pg_trigger where tgname like 'order_engine%'"
    assert shared_database.one(triggers) == 0
    with shared_database.engine() as engine:
        assert engine.place_order(user_id=2, lines=[(1, 2)]).id


def test_d10_a_running_engine_reports_disabled_triggers(
    shared_database: SharedDatabase, workspace: Workspace, tmp_path: Path
) -> None:
    shared_database.adopt()
    engine = EngineProcess(workspace, tmp_path, {"DATABASE_URL": shared_database.url})
    engine.start()
    try:

        def metric(name: str) -> str:
            text = httpx.get(f"{engine.url}/metrics", trust_env=False).text
            found = re.search(rf"^order_engine_adoption_{name}\S* (\S+)$", text, re.MULTILINE)
            return found[1] if found else "absent"

        assert metric("missing_triggers") == metric("orders_left_behind") == "0.0"
        shared_database.sql("alter table orders disable trigger order_engine_update")
        assert metric("missing_triggers") == "1.0"
        eventually(lambda: "no longer synchronised" in engine.log(), "the log says so")
        assert engine.log().count("no longer synchronised") == 1
        # The engine's order cannot be written to a table with a column that it does not know.
        shared_database.sql("alter table orders add column source text not null default 'web'")
        shared_database.sql("alter table orders alter column source drop default")
        with shared_database.engine() as other:
            other.place_order(user_id=2, lines=[(1, 1)])
        assert metric("failed_writes") == "1.0"
    finally:
        engine.stop()


def test_d10_sides_that_cannot_be_compared_are_not_undone_unasked(
    shared_database: SharedDatabase,
) -> None:
    shared_database.adopt()
    shared_database.sql("alter table orders rename column status to state")
    refused = shared_database.command("--undo")
    assert refused.returncode != 0
    assert "cannot be compared" in refused.stderr
    assert "--force" in refused.stderr
    shared_database.sql("alter table orders rename column state to status")
    assert shared_database.command("--undo").returncode == 0


def test_orders_placed_after_undoing_are_not_merged(shared_database: SharedDatabase) -> None:
    shared_database.adopt()
    with shared_database.engine() as engine:
        assert shared_database.command("--undo").returncode == 0
        engine.place_order(user_id=2, lines=[(1, 2)])
    assert "1 orders since the adoption was undone" in refusal(shared_database)


def test_an_unfinished_adoption_can_be_undone(shared_database: SharedDatabase) -> None:
    fill(shared_database, 3000)
    with psycopg.connect(shared_database.url) as blocker:
        blocker.execute("select from orders where id = 2500 for update")
        process = subprocess.Popen(
            shared_database.command_line(),
            env=shared_database.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        copied = "select copied_to_id from order_engine.adoption"
        known = "select to_regclass('order_engine.adoption') is not null"
        eventually(
            lambda: shared_database.one(known) and shared_database.sql(copied) == [(2000,)],
            "half of it is copied",
        )
        process.kill()
        process.wait()
    eventually(lambda: shared_database.command("--undo").returncode == 0, "it is undone")
    assert shared_database.one("select count(*) from orders") == 3000
    shared_database.place((1, 1))
    shared_database.adopt()
    assert shared_database.sql(DIGEST)[0][0] == 3001


def test_the_report_is_readable(shared_database: SharedDatabase) -> None:
    fill(shared_database, 2)
    shared_database.sql("insert into orders (user_id, total_amount, status) values (1, 1, 'Lost')")
    done = shared_database.command()
    assert done.returncode == 0
    assert re.search(r"^orders +3 +1 +0 +0 +2 +equal$", done.stdout, re.MULTILINE), done.stdout
    assert "status (1): orders with an unknown status" in done.stdout
    assert "  orders 3  Lost" in done.stdout
    assert "orders" in done.stderr
