"""`AsyncOrderEngine`: awaiting, cancelling, forking, and exiting with calls in progress."""

import asyncio
import inspect
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator

import psycopg
import pytest

from order_engine import (
    AsyncOrderEngine,
    InvalidInput,
    NotFound,
    Order,
    OrderEngine,
    OrderStatus,
    OutOfStock,
    Unavailable,
)
from order_engine.generated.async_operations import AsyncEventOperations
from order_engine.generated.operations import EventOperations
from tests.python.support.waiting import eventually

# Starts a call that cannot finish, because the test holds a lock, and exits without awaiting it.
LEAVER = """
import asyncio, threading
from order_engine import AsyncOrderEngine, OrderEngine

async def begin():
    engine = await AsyncOrderEngine().open()
    works = [asyncio.ensure_future(engine.set_stock("tea", 5)) for _ in range(50)]
    works += [asyncio.ensure_future(engine.health()) for _ in range(50)]
    await asyncio.sleep(0)
    return engine, works

waits = OrderEngine()
threading.Thread(target=waits.set_stock, args=("tea", 5), daemon=True).start()
loop = asyncio.new_event_loop()
left = loop.run_until_complete(begin())
print("left", flush=True)
"""

FORKER = """
import asyncio, os, sys
from order_engine import AsyncOrderEngine, OrderEngine, Unavailable

async def open_own(theirs):
    try:
        await theirs.health()
    except Unavailable as error:
        assert "fork" in error.message, error
    else:
        sys.exit("the parent's engine answered in the child")
    await theirs.close()
    async with AsyncOrderEngine() as own:
        assert all(check.ok for check in await own.health())

loop = asyncio.new_event_loop()
engine = loop.run_until_complete(AsyncOrderEngine().open())
waits = OrderEngine()
waits.health()
child = os.fork()
if child == 0:
    assert all(check.ok for check in waits.health()), "it opens itself anew"
    waits.close()
    asyncio.run(open_own(engine))
    sys.exit()
_, status = os.waitpid(child, 0)
assert status == 0, "the child failed"
assert all(check.ok for check in waits.health()), "the parent's engine was harmed"
# On another loop: the child's interpreter closed this one's poll, which a fork shares.
async def close():
    assert all(check.ok for check in await engine.health())
    await engine.close()
asyncio.run(close())
"""

RUNS_AT_EXIT = 20


def on_engine(url: str, work: Callable[[AsyncOrderEngine], Awaitable[object]]) -> None:
    """Runs `work` in a new event loop, with an engine that sells mugs."""

    async def main() -> None:
        async with AsyncOrderEngine(database_url=url) as engine:
            await engine.upsert_user(1, username="a", address="1 Street")
            await engine.upsert_product("mug", name="Mug", price=9.5, quantity=5000)
            await work(engine)

    asyncio.run(main())


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(
        database_url, autocommit=True, options="-c search_path=order_engine"
    ) as made:
        yield made


def waits_for_lock(database: psycopg.Connection) -> bool:
    return bool(
        database.execute("select 1 from pg_stat_activity where wait_event_type = 'Lock'").fetchone()
    )


def run(program: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_has_the_methods_of_the_blocking_engine_with_the_same_arguments() -> None:
    for waiting, awaiting in (
        (OrderEngine, AsyncOrderEngine),
        (EventOperations, AsyncEventOperations),
    ):
        waits, awaits = (
            {
                name: member
                for name, member in inspect.getmembers(kind, inspect.isfunction)
                if not name.startswith("_")
            }
            for kind in (waiting, awaiting)
        )
        assert set(awaits) - set(waits) <= {"open_websocket"}
        # The migration router serves Flask apps, which block.
        assert set(waits) - set(awaits) <= {"migration_router"}
        for name in set(waits) & set(awaits):
            assert inspect.signature(waits[name]).parameters == (
                inspect.signature(awaits[name]).parameters
            ), name
            assert inspect.iscoroutinefunction(awaits[name]) or inspect.isasyncgenfunction(
                awaits[name]
            ), name
            assert awaits[name].__doc__, name


def test_every_method_can_be_awaited(database_url: str) -> None:
    async def work(engine: AsyncOrderEngine) -> None:
        order = await engine.place_order(user_id=1, lines=[("mug", 2)], idempotency_key="k")
        assert await engine.place_order(user_id=1, lines=[("mug", 2)], idempotency_key="k") == order
        assert await engine.get_order(order.id, user_id="1") == order
        assert (await engine.list_orders(limit=1)).orders == (order,)
        assert [one async for one in engine.iter_orders(page_size=1)] == [order]
        confirmed = await engine.change_status(order.id, "confirmed")
        assert confirmed.status is OrderStatus.CONFIRMED
        cancelled = await engine.cancel_order(order.id, reason="no")
        assert [entry.status for entry in await engine.order_history(order.id)] == [
            "pending",
            "confirmed",
            "cancelled",
        ]
        events = await engine.events.tail(order_id=order.id)
        assert [event.version for event in events] == [1, 2, cancelled.version]
        await engine.delete_order(order.id)
        with pytest.raises(NotFound):
            await engine.get_order(order.id)
        assert await engine.events.dead_letters() == []
        assert await engine.events.retry() == 0
        with pytest.raises(NotFound):
            await engine.events.skip([1])
        await engine.apply_event("inventory.updated", {"product_id": "mug", "quantity": 1})
        with pytest.raises(OutOfStock) as short:
            await engine.place_order(user_id=1, lines=[("mug", 2)])
        assert short.value.available == 1
        await engine.set_stock("mug", 3)
        assert (await engine.get_product("mug")).available == 3
        await engine.upsert_user(1, address="1 Street")
        assert (await engine.get_user(1)).address == "1 Street"
        assert [check.ok for check in await engine.health()] == [True]

    on_engine(database_url, work)


def test_a_thousand_calls_run_concurrently(database_url: str) -> None:
    async def work(engine: AsyncOrderEngine) -> None:
        orders = await asyncio.gather(
            *(engine.place_order(user_id=1, lines=[("mug", 1)]) for _ in range(1000))
        )
        assert len({order.id for order in orders}) == 1000
        same = await asyncio.gather(*(engine.get_order(order.id) for order in orders))
        assert same == orders

    on_engine(database_url, work)


def test_each_row_is_placed_as_its_own_order(database_url: str) -> None:
    async def work(engine: AsyncOrderEngine) -> None:
        placed, short, malformed, keyed = await engine.place_orders(
            [
                (1, [("mug", 1)]),
                (1, [("mug", 5001)]),
                (1, [("mug", 1.5)]),  # type: ignore[list-item]
                {"user_id": "1", "lines": [("mug", 3)], "idempotency_key": "k"},
            ]
        )
        assert isinstance(placed, Order)
        assert isinstance(short, OutOfStock)
        assert isinstance(malformed, InvalidInput)
        assert "rows[2]" in malformed.message
        assert isinstance(keyed, Order)
        assert (placed.lines[0].quantity, keyed.lines[0].quantity) == (1, 3)
        again = await engine.place_order(user_id=1, lines=[("mug", 3)], idempotency_key="k")
        assert again == keyed

    on_engine(database_url, work)


def test_cancelling_the_await_cancels_the_call(
    database_url: str, database: psycopg.Connection
) -> None:
    async def work(engine: AsyncOrderEngine) -> None:
        order = await engine.place_order(user_id=1, lines=[("mug", 1)])
        with psycopg.connect(database_url) as holder:
            holder.execute("select 1 from order_engine.orders where id = %s for update", [order.id])
            change = asyncio.ensure_future(engine.change_status(order.id, "confirmed"))
            await asyncio.sleep(0)
            eventually(lambda: waits_for_lock(database), "the change waits for the row")
            change.cancel()
            with pytest.raises(asyncio.CancelledError):
                await change
        eventually(lambda: not waits_for_lock(database), "no session waits for the row")
        # Calls that can still commit do so once the lock is released.
        database.execute("select 1 from orders where id = %s for update", [order.id])
        assert (await engine.get_order(order.id)).status == "pending"

    on_engine(database_url, work)


def test_an_asyncio_timeout_is_respected(database_url: str) -> None:
    async def work(engine: AsyncOrderEngine) -> None:
        with psycopg.connect(database_url) as holder:
            holder.execute("lock table order_engine.products in access exclusive mode")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(engine.set_stock("mug", 1), 0.1)

    on_engine(database_url, work)


def test_it_connects_with_the_first_call_and_works_until_it_is_closed(database_url: str) -> None:
    async def main() -> None:
        engine = AsyncOrderEngine(database_url=database_url)
        first, *_ = await asyncio.gather(*(engine.health() for _ in range(10)))
        assert [check.ok for check in first] == [True]
        assert await engine.open() is engine
        assert await engine.open() is engine
        await asyncio.gather(engine.close(), engine.close())
        with pytest.raises(Unavailable, match="closed"):
            await engine.health()
        unused = AsyncOrderEngine(database_url=database_url)
        await unused.close()
        with pytest.raises(Unavailable, match="closed"):
            await unused.open()

    asyncio.run(main())


def test_opening_fails_if_the_database_is_unreachable() -> None:
    async def main() -> None:
        with pytest.raises(Unavailable) as raised:
            await AsyncOrderEngine(database_url="postgresql://u:p4ss@127.0.0.1:1/x").open()
        assert "p4ss" not in str(raised.value)

    asyncio.run(main())


def test_exiting_with_calls_in_progress_neither_hangs_nor_crashes(
    database_url: str, database: psycopg.Connection
) -> None:
    for _ in range(RUNS_AT_EXIT):
        # Released each time, so that waiting calls keep their connections until then.
        with database.transaction():
            database.execute("lock table products in access exclusive mode")
            left = run(LEAVER, database_url)
        assert (left.returncode, left.stdout) == (0, "left\n"), left.stderr


def test_a_forked_process_gets_a_clear_error_and_can_open_its_own_engine(database_url: str) -> None:
    done = run(FORKER, database_url)
    assert done.returncode == 0, done.stderr
