"""Reads on the calling thread: alone, concurrent, cancelled, and waiting."""

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from order_engine import AsyncOrderEngine, NotFound, OrderEngine
from tests.python.support.waiting import eventually


@pytest.fixture
def order_id(database_url: str) -> int:
    with OrderEngine(database_url=database_url, relay=False) as engine:
        engine.upsert_product("mug", name="Mug", price="9.50", quantity=1000)
        return engine.place_order(user_id=1, lines=[("mug", 2)]).id


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def lock(database_url: str, order_id: int) -> Iterator[psycopg.Connection]:
    """Blocks every reader of orders until it is rolled back."""
    assert order_id
    with psycopg.connect(database_url) as holder:
        holder.execute("lock table order_engine.orders in access exclusive mode")
        yield holder


def readers_waiting(database: psycopg.Connection) -> int:
    row = database.execute(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        " and datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_single_caller_uses_one_connection(
    database_url: str, database: psycopg.Connection, order_id: int
) -> None:
    with OrderEngine(database_url=database_url, relay=False) as engine:
        before = connections(database)
        for _ in range(20):
            engine.get_order(order_id)
            engine.list_orders()
            engine.order_history(order_id)
            engine.get_product("mug")
        assert len(connections(database) - before) == 1


def connections(database: psycopg.Connection) -> set[int]:
    rows = database.execute(
        "select pid from pg_stat_activity where application_name = 'order-engine'"
        " and datname = current_database()"
    )
    return {row[0] for row in rows}


def test_concurrent_reads_of_threads_share_a_statement(
    database_url: str,
    database: psycopg.Connection,
    order_id: int,
    lock: psycopg.Connection,
) -> None:
    found: list[int] = []
    with OrderEngine(database_url=database_url, relay=False) as engine:
        threads = [
            threading.Thread(target=lambda: found.append(engine.get_order(order_id).id))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        # The first two query the database themselves; later ones share a statement.
        eventually(lambda: readers_waiting(database) == 2, "two ask the database")
        lock.rollback()
        for thread in threads:
            thread.join(20)
    assert found == [order_id] * 6


@pytest.mark.usefixtures("lock")
def test_ctrl_c_interrupts_a_waiting_read(
    database_url: str, database: psycopg.Connection, order_id: int
) -> None:
    text = """
        import sys
        from order_engine import OrderEngine
        engine = OrderEngine(database_url=sys.argv[1], relay=False)
        try:
            engine.get_order(int(sys.argv[2]))
        except KeyboardInterrupt:
            print(engine.get_product("mug").product_id, flush=True)
    """
    running = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text), database_url, str(order_id)],
        stdout=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: readers_waiting(database) == 1, "the read waits")
    began = time.monotonic()
    running.send_signal(signal.SIGINT)
    assert running.communicate(timeout=30)[0] == "mug\n"
    assert time.monotonic() - began < 3
    assert running.returncode == 0


def test_the_event_loop_continues_while_a_read_waits(
    database_url: str,
    database: psycopg.Connection,
    order_id: int,
    lock: psycopg.Connection,
) -> None:
    async def work() -> None:
        async with AsyncOrderEngine(database_url=database_url, relay=False) as engine:
            # The second read uses another thread than the first.
            reads = [asyncio.ensure_future(engine.get_order(order_id)) for _ in range(2)]
            turns = 0
            until = time.monotonic() + 20
            while readers_waiting(database) < len(reads):
                assert time.monotonic() < until, "the reads do not ask the database"
                turns += 1
                await asyncio.sleep(0)
            assert turns > 1
            lock.rollback()
            assert [order.id for order in await asyncio.gather(*reads)] == [order_id] * 2

    asyncio.run(work())


@pytest.mark.usefixtures("lock")
def test_a_waiting_read_can_be_cancelled(
    database_url: str, database: psycopg.Connection, order_id: int
) -> None:
    async def work() -> None:
        async with AsyncOrderEngine(
            database_url=database_url, relay=False, database_timeout_seconds=2
        ) as engine:
            await engine.get_product("mug")
            reads = [asyncio.ensure_future(engine.get_order(order_id)) for _ in range(2)]
            await asyncio.sleep(0)
            eventually(lambda: readers_waiting(database) > 0, "a read waits")
            for read in reads:
                read.cancel()
            assert all(
                isinstance(one, asyncio.CancelledError)
                for one in await asyncio.gather(*reads, return_exceptions=True)
            )
            # Neither the thread that still reads nor its connection is lost.
            for _ in range(5):
                assert (await engine.get_product("mug")).product_id == "mug"

    asyncio.run(work())


def test_a_task_that_only_reads_lets_other_tasks_run(database_url: str, order_id: int) -> None:
    async def work() -> None:
        async with AsyncOrderEngine(database_url=database_url, relay=False) as engine:
            turns = 0

            async def count() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            counter = asyncio.ensure_future(count())
            for reads in range(1, 51):
                assert (await engine.get_order(order_id)).id == order_id
                with pytest.raises(NotFound):
                    await engine.get_order(order_id + 1)
                assert turns >= 2 * reads
            counter.cancel()

    asyncio.run(work())


def test_waiting_threads_and_loops_share_an_engine_s_process(
    database_url: str, order_id: int
) -> None:
    """Readers with and without an inline runtime get the same results."""

    async def awaited() -> list[int]:
        async with AsyncOrderEngine(database_url=database_url, relay=False) as engine:
            several = [engine.get_order(order_id) for _ in range(200)]
            return [order.id for order in await asyncio.gather(*several)]

    found: list[int] = []
    with OrderEngine(database_url=database_url, relay=False) as engine:
        threads = [
            threading.Thread(
                target=lambda: found.extend(engine.get_order(order_id).id for _ in range(200))
            )
            for _ in range(3)
        ]
        loops = [
            threading.Thread(target=lambda: found.extend(asyncio.run(awaited()))) for _ in range(2)
        ]
        for thread in threads + loops:
            thread.start()
        for thread in threads + loops:
            thread.join(60)
    assert found == [order_id] * 1000
