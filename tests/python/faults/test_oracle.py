"""The oracle of the crash and fault tests detects the faults that it is meant to detect."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from order_engine import OrderEngine
from tests.python.support.customers import PlannedOrder
from tests.python.support.oracle import (
    Connection,
    Received,
    check_messages,
    check_orders,
    check_stock,
)

STOCK = 100
ORDERS = 2


@pytest.fixture
def planned_orders(database_url: str) -> list[PlannedOrder]:
    """Two orders of one mug each, the second one shipped."""
    with OrderEngine(database_url=database_url) as engine:
        engine.upsert_product("1", name="Mug", price="9.5")
        engine.set_stock("1", STOCK)
        planned_orders = []
        for customer in (1, 2):
            order = engine.place_order(
                user_id=customer, lines=[("1", 1)], idempotency_key=f"order-{customer}"
            )
            planned_orders.append(PlannedOrder(customer, 1, f"order-{customer}", None, order.id))
        engine.change_status(planned_orders[1].order_id or 0, "shipped")
    planned_orders[1] = replace(
        planned_orders[1], change="ship", is_changed=True, may_be_changed=True
    )
    return planned_orders


@pytest.fixture
def database(database_url: str) -> Iterator[Connection]:
    """A connection to the engine's tables."""
    with psycopg.connect(
        database_url, autocommit=True, options="-c search_path=order_engine"
    ) as connection:
        yield connection


def check(database: Connection, planned_orders: list[PlannedOrder]) -> None:
    found = check_orders(database, planned_orders)
    check_stock(database, 1, initial=STOCK, found=found, reported=STOCK)


def test_consistent_results_are_accepted(
    planned_orders: list[PlannedOrder], database: Connection
) -> None:
    check(database, planned_orders)


@pytest.mark.parametrize(
    "fault",
    [
        "update orders set id = 99 where user_id = '1'",
        "update orders set status = 'pending', version = 1 where user_id = '2'",
        "delete from order_history where version = 2",
        "delete from idempotency where key = 'order-1'",
        "update order_lines set quantity = 2",
        "update products set reserved = reserved - 1",
        "delete from reservations",
        "update products set reported = reported + 1",
    ],
)
def test_lost_orders_and_leaked_stock_are_found(
    planned_orders: list[PlannedOrder], database: Connection, fault: str
) -> None:
    database.execute("set session_replication_role = replica")
    assert database.execute(fault.encode()).rowcount
    with pytest.raises(AssertionError):
        check(database, planned_orders)


def test_orders_that_were_not_requested_are_found(
    planned_orders: list[PlannedOrder], database: Connection
) -> None:
    with pytest.raises(AssertionError, match="not requested"):
        check_orders(database, planned_orders[1:])
    with pytest.raises(AssertionError):
        check_orders(database, [*planned_orders, PlannedOrder(3, 1, None, None, order_id=77)])


def test_missing_invented_and_reordered_messages_are_found(
    planned_orders: list[PlannedOrder], database: Connection
) -> None:
    assert len(planned_orders) == ORDERS
    history = [
        Received(*row)
        for row in database.execute(
            "select order_id, version, event_id::text from order_history order by 1, 2"
        ).fetchall()
    ]
    assert check_messages(database, [*history, history[0]]) == 1, "one was repeated"
    for received, words in (
        (history[1:], "missing"),
        ([*history, Received(7, 1, "made up")], "made up"),
        (history[::-1], "arrived in the order"),
        ([*history, replace(history[0], version=9)], "one id, two messages"),
    ):
        with pytest.raises(AssertionError, match=words):
            check_messages(database, received)
