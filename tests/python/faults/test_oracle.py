"""The oracle of the crash and fault tests finds what it is there to find."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from order_engine import OrderEngine
from tests.python.support.customers import Ask
from tests.python.support.oracle import Connection, Heard, check_heard, check_orders, check_stock

STOCK = 100
ORDERS = 2


@pytest.fixture
def asks(database_url: str) -> list[Ask]:
    """Two orders of one mug each, the second one shipped."""
    with OrderEngine(database_url=database_url) as engine:
        engine.upsert_product("1", name="Mug", price="9.5")
        engine.set_stock("1", STOCK)
        asks = []
        for customer in (1, 2):
            order = engine.place_order(
                user_id=customer, items=[("1", 1)], idempotency_key=f"wish-{customer}"
            )
            asks.append(Ask(customer, 1, f"wish-{customer}", None, order.id))
        engine.change_status(asks[1].order_id or 0, "shipped")
    asks[1] = replace(asks[1], fate="ship", is_changed=True, may_be_changed=True)
    return asks


@pytest.fixture
def database(database_url: str) -> Iterator[Connection]:
    """The engine's tables."""
    with psycopg.connect(
        database_url, autocommit=True, options="-c search_path=order_engine"
    ) as connection:
        yield connection


def check(database: Connection, asks: list[Ask]) -> None:
    found = check_orders(database, asks)
    check_stock(database, 1, initial=STOCK, found=found, reported=STOCK)


def test_what_is_as_it_was_told_is_right(asks: list[Ask], database: Connection) -> None:
    check(database, asks)


@pytest.mark.parametrize(
    "fault",
    [
        "update orders set id = 99 where user_id = '1'",
        "update orders set status = 'pending', version = 1 where user_id = '2'",
        "delete from order_history where version = 2",
        "delete from idempotency where key = 'wish-1'",
        "update order_lines set quantity = 2",
        "update products set reserved = reserved - 1",
        "delete from reservations",
        "update products set reported = reported + 1",
    ],
)
def test_what_was_lost_or_leaked_is_found(
    asks: list[Ask], database: Connection, fault: str
) -> None:
    database.execute("set session_replication_role = replica")
    assert database.execute(fault.encode()).rowcount
    with pytest.raises(AssertionError):
        check(database, asks)


def test_what_nobody_asked_for_is_found(asks: list[Ask], database: Connection) -> None:
    with pytest.raises(AssertionError, match="nobody asked"):
        check_orders(database, asks[1:])
    with pytest.raises(AssertionError):
        check_orders(database, [*asks, Ask(3, 1, None, None, order_id=77)])


def test_what_was_not_heard_or_made_up_or_out_of_order_is_found(
    asks: list[Ask], database: Connection
) -> None:
    assert len(asks) == ORDERS
    history = [
        Heard(*row)
        for row in database.execute(
            "select order_id, version, event_id::text from order_history order by 1, 2"
        ).fetchall()
    ]
    assert check_heard(database, [*history, history[0]]) == 1, "one was heard again"
    for heard, words in (
        (history[1:], "never heard"),
        ([*history, Heard(7, 1, "made up")], "made up"),
        (history[::-1], "was told in the order"),
        ([*history, replace(history[0], version=9)], "one id, two messages"),
    ):
        with pytest.raises(AssertionError, match=words):
            check_heard(database, heard)
