"""PostgreSQL's work for placing and reading: statements, rows, and bytes of its log.

The counts do not depend on the machine. A count grows if waiting placements no longer share a
commit, or if a statement, a row or an index is added. Raise a bound here only on purpose, and state
the reason.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from bench import catalogue
from bench.plan import Plan

from order_engine import AsyncOrderEngine
from tests.python.support.servers import migrate, start_server
from tests.services import PostgreSQL, Workspace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

SIZES = Plan(users=200, products=200, regulars=0)
AT_ONCE = 64
TIMES = 1_000
WARM_UP = 512
TABLES = ("orders", "order_lines", "order_history", "reservations", "outbox", "idempotency")

# Four for each transaction: begin; read and lock the products; write; commit. Measured:
# 204 to 226, and 2,000 without batching.
STATEMENTS_PER_1000_PLACED_MAX = 500
# Two: read, and write. Background work such as heartbeats adds some.
STATEMENTS_PER_LONE_ORDER_MAX = 2.1
STATEMENTS_PER_1000_READS_MAX = 1_010
# Measured: 1,600; one more index adds about 90.
LOG_BYTES_PER_ORDER_MAX = 1_750

STATEMENTS = """
select coalesce(sum(calls), 0)
from pg_stat_statements s join pg_database d on d.oid = s.dbid
where d.datname = current_database() and query !~ 'pg_stat_statements|pg_current_wal'
"""


class CountingPostgreSQL(PostgreSQL):
    """Counts every statement. Only the engine uses it."""

    def command(self) -> Sequence[str]:
        """Loads the module that counts, and disables autovacuum."""
        counted = ("--shared_preload_libraries=pg_stat_statements", "--autovacuum=off")
        return [*super().command(), *counted]


@dataclass(frozen=True)
class Costs:
    """The costs so far."""

    statements: int
    rows: int
    log_bytes: int

    def since(self, before: Costs) -> Costs:
        return Costs(*(now - then for now, then in zip(self.parts(), before.parts(), strict=True)))

    def parts(self) -> tuple[int, ...]:
        return (self.statements, self.rows, self.log_bytes)


class Till:
    """Reads the costs."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(
            url, autocommit=True, options="-c search_path=order_engine,public"
        )
        self.connection.execute("create extension if not exists pg_stat_statements schema public")

    def read(self) -> Costs:
        (statements,) = self._row(STATEMENTS)
        counts = " + ".join(f"(select count(*) from {table})" for table in TABLES)  # noqa: S608
        (rows,) = self._row(f"select {counts} -- pg_stat_statements")
        (log_bytes,) = self._row("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return Costs(int(statements), int(rows), int(log_bytes))

    def _row(self, query: str) -> tuple[Any, ...]:
        row = self.connection.execute(query.encode()).fetchone()
        assert row is not None
        return row


@pytest.fixture(scope="module")
def counted_url(workspace: Workspace) -> Iterator[str]:
    """A migrated database with users and products, on a server that counts statements."""
    server = start_server(CountingPostgreSQL, workspace)
    url = server.create_database()
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        catalogue.fill(connection, "order_engine", SIZES)
    yield url
    server.stop()


@pytest.fixture
def till(counted_url: str) -> Iterator[Till]:
    made = Till(counted_url)
    with closing(made.connection):
        yield made


async def load(ask: Callable[[int], Awaitable[object]], times: int, at_once: int) -> None:
    """Runs a call `times` times with `at_once` concurrent callers."""
    numbers = iter(range(times))

    async def one() -> None:
        for number in numbers:
            await ask(number)

    await asyncio.gather(*(one() for _ in range(at_once)))


async def cost_of_placing(url: str, till: Till, at_once: int = AT_ONCE) -> Costs:
    async with AsyncOrderEngine(database_url=url, relay=False) as engine:

        async def place(number: int) -> None:
            product = 1 + number * 7 % SIZES.products
            await engine.place_order(user_id=1 + number % SIZES.users, lines=[(product, 2)])

        await load(place, WARM_UP, AT_ONCE)
        before = till.read()
        await load(place, TIMES, at_once)
        return till.read().since(before)


def test_waiting_placements_share_a_commit(counted_url: str, till: Till) -> None:
    costs = asyncio.run(cost_of_placing(counted_url, till))
    assert costs.statements <= STATEMENTS_PER_1000_PLACED_MAX


def test_an_order_writes_a_fixed_number_of_rows_and_bytes(counted_url: str, till: Till) -> None:
    costs = asyncio.run(cost_of_placing(counted_url, till))
    # The order, its line, its reservation, its history, its message.
    assert costs.rows == 5 * TIMES
    assert costs.log_bytes <= LOG_BYTES_PER_ORDER_MAX * TIMES


def test_sequential_placements_take_two_statements_each(counted_url: str, till: Till) -> None:
    costs = asyncio.run(cost_of_placing(counted_url, till, at_once=1))
    assert costs.statements <= STATEMENTS_PER_LONE_ORDER_MAX * TIMES


def test_a_read_takes_at_most_one_statement(counted_url: str, till: Till) -> None:
    async def cost_of_reading() -> Costs:
        async with AsyncOrderEngine(database_url=counted_url, relay=False) as engine:
            placed = await engine.place_order(user_id=1, lines=[(1, 2)])

            async def read(_: int) -> None:
                await engine.get_order(placed.id)

            await load(read, WARM_UP, AT_ONCE)
            before = till.read()
            await load(read, TIMES, AT_ONCE)
            return till.read().since(before)

    costs = asyncio.run(cost_of_reading())
    assert costs.statements <= STATEMENTS_PER_1000_READS_MAX
    assert costs.rows == 0
    assert costs.log_bytes <= TIMES
