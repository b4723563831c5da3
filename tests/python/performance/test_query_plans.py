"""Every request finds its rows through an index, however many orders exist.

PostgreSQL's own counters are the measure. No operation may scan a large table sequentially or read
many more rows than it returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pika
import psycopg
import pytest
from bench import catalogue, past_orders
from bench.plan import Plan

from order_engine import AsyncOrderEngine, OrderEngine
from tests.python.support.table_statistics import TableReads
from tests.python.support.waiting import eventually

if TYPE_CHECKING:
    from typing_extensions import LiteralString

    from tests.python.support.servers import Broker
    from tests.services import PostgreSQL

SCHEMA = "order_engine"
ORDERS = 30_000
# Enough users for an index to be used; some of them have all the orders: 300 each.
SIZES = Plan(users=2_000, products=2_000, regulars=0)
BUYERS = 100
MESSAGES = 20_000
TIMES = 20
# Tables that grow with the orders; the others stay small.
BIG = ("orders", "order_lines", "order_history", "reservations", "outbox", "idempotency", "users")
# A page of 20, the next order, and the lines of all.
PAGE_ROWS = 50

DELETE_INDEX: dict[str, LiteralString] = {
    "list of a user": "drop index orders_by_user",
    "one order": "alter table order_lines drop constraint order_lines_pkey",
    "history": "alter table order_history drop constraint order_history_pkey",
    "cancel": "drop index reservations_by_order",
}
FILL_OUTBOX = """
insert into outbox (destination, stream_id, version, message_id, topic, body, created_at)
select 'flask', n, 1, gen_random_uuid(), 'order.placed', '{}', now() from generate_series(1, %s) n
"""

Operation = tuple[Callable[[OrderEngine, int], Any], int]


def second_page(engine: OrderEngine, user: str | None, number: int) -> None:
    # The middle of the list, reached with a cursor.
    page = engine.list_orders(user_id=user, limit=100)
    for _ in range(number % 2):
        page = engine.list_orders(user_id=user, limit=100, cursor=page.next_cursor)
    engine.list_orders(user_id=user, limit=20, cursor=page.next_cursor)


def placed(engine: OrderEngine, number: int) -> int:
    order = engine.place_order(user_id=1 + number, lines=[(1 + number, 2)])
    return order.id


# The operations, and how many rows one request may read.
OPERATIONS: dict[str, Operation] = {
    "one order": (lambda engine, number: engine.get_order(1 + 7 * number), 4),
    "one order of a user": (
        lambda engine, number: engine.get_order(1 + number, user_id=2 + number),
        4,
    ),
    "list of a user": (lambda engine, number: engine.list_orders(user_id=1 + number), PAGE_ROWS),
    "list of all": (lambda engine, _: engine.list_orders(), PAGE_ROWS),
    "deep list of a user": (lambda engine, number: second_page(engine, "7", number), 8 * PAGE_ROWS),
    "deep list of all": (lambda engine, number: second_page(engine, None, number), 8 * PAGE_ROWS),
    "history": (lambda engine, number: engine.order_history(1 + number), 6),
    "place": (placed, 8),
    "place and confirm": (lambda e, number: e.change_status(placed(e, number), "confirmed"), 20),
    "cancel": (lambda e, number: e.cancel_order(placed(e, number)), 30),
}


@pytest.fixture(scope="module")
def full_database_url(postgres: PostgreSQL, migrated_template: str) -> Iterator[str]:
    """A database with so many orders that PostgreSQL has to use its indexes."""
    url = postgres.create_database(copy_of=migrated_template)
    with psycopg.connect(url, autocommit=True) as connection:
        catalogue.fill(connection, SCHEMA, SIZES)
    past_orders.add(url, SCHEMA, orders=ORDERS, users=BUYERS, products=SIZES.products)
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="module")
def bare_database_url(postgres: PostgreSQL, full_database_url: str) -> Iterator[str]:
    """The same without the necessary indexes."""
    TableReads(full_database_url).forget()
    url = postgres.create_database(copy_of=full_database_url)
    with psycopg.connect(url, options=f"-c search_path={SCHEMA}") as connection:
        for statement in DELETE_INDEX.values():
            connection.execute(statement)
    yield url
    postgres.drop_database(url)


def faults(url: str, operation: Operation) -> list[str]:
    """Runs an operation twenty times and returns what PostgreSQL should not have had to do."""
    ask, rows_max = operation
    reads = TableReads(url)
    reads.forget()
    with OrderEngine(database_url=url, relay=False) as engine:
        for number in range(TIMES):
            ask(engine, number)
    return wrong(reads, rows_max * TIMES)


def wrong(reads: TableReads, rows_max: int) -> list[str]:
    found = {table: read for table, read in reads.look().items() if table in BIG}
    scans = [
        f"{table}: sequential scans read {read.sequential} rows"
        for table, read in found.items()
        if read.sequential
    ]
    by_index = {table: read.by_index for table, read in found.items() if read.by_index}
    too_many = sum(by_index.values()) > rows_max
    return scans + [f"{by_index} rows by index, {rows_max} at most"] * too_many


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_read_few_rows_through_an_index(name: str, full_database_url: str) -> None:
    assert faults(full_database_url, OPERATIONS[name]) == []


@pytest.mark.parametrize("name", DELETE_INDEX)
def test_a_missing_index_is_detected(name: str, bare_database_url: str) -> None:
    assert faults(bare_database_url, OPERATIONS[name])


def test_concurrent_requests_read_no_more_rows(full_database_url: str) -> None:
    async def read_all() -> None:
        async with AsyncOrderEngine(database_url=full_database_url, relay=False) as engine:
            for _ in range(TIMES):
                await asyncio.gather(*(engine.get_order(1 + 7 * number) for number in range(64)))

    reads = TableReads(full_database_url)
    reads.forget()
    asyncio.run(read_all())
    assert wrong(reads, 4 * 64 * TIMES) == []


def test_claiming_reads_each_message_a_few_times(full_database_url: str, broker: Broker) -> None:
    with psycopg.connect(full_database_url, options=f"-c search_path={SCHEMA}") as connection:
        connection.execute(FILL_OUTBOX, [MESSAGES])
    reads = TableReads(full_database_url)
    with closing(pika.BlockingConnection(pika.URLParameters(broker.url))) as connected:
        channel = connected.channel()
        channel.exchange_declare("event_exchange", "direct")
        channel.queue_declare("spy", exclusive=True)
        channel.queue_bind("spy", "event_exchange", "order.placed")

        def has_all() -> bool:
            waiting = channel.queue_declare("spy", passive=True).method.message_count
            return waiting >= MESSAGES

        reads.forget()
        with OrderEngine(database_url=full_database_url, rabbitmq_url=broker.url):
            eventually(has_all, "all messages arrive", 60)
    assert wrong(reads, 4 * MESSAGES) == []
