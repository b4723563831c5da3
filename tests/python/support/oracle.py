"""Checks acknowledgements against tables and messages, without using the engine's code.

psycopg reads the tables. The caller passes the messages as a neutral client received them.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.python.support.customers import STATUSES, PlannedOrder

ORDERS = """
    select o.id, {customer}, o.status, o.version, o.deleted_at is not null,
           (select sum(quantity)::int from order_lines l where l.order_id = o.id),
           (select array_agg(h.version order by h.version) from order_history h
            where h.order_id = o.id),
           (select count(*)::int from idempotency i where i.order_id = o.id)
    from orders o
"""
# Who wanted an order: a user who wants nothing else, or the number in the key.
BY_USER = "o.user_id::int"
BY_KEY = """
    (select split_part(i.key, '-', 2)::int from idempotency i where i.order_id = o.id)
"""
EVENTS = "select order_id, version, event_id::text from order_history"
STOCK = """
    select reported, reserved,
           (select coalesce(sum(quantity), 0) from reservations r
            where r.product_id = p.product_id)
    from products p where product_id = %s
"""
Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Found:
    """An order as the tables have it."""

    id: int
    customer: int
    status: str
    version: int
    is_deleted: bool
    quantity: int
    versions: list[int]
    keys: int


@dataclass(frozen=True)
class Received:
    """A message about an order, as its receiver read it."""

    order_id: int
    version: int
    event_id: str


def check_orders(
    database: Connection, planned_orders: Sequence[PlannedOrder], customer: str = BY_USER
) -> list[Found]:
    """Every acknowledged order exists once, and no order exists that was not requested."""
    statement = ORDERS.format(customer=customer).encode()
    found = [Found(*row) for row in database.execute(statement).fetchall()]
    by_customer: dict[int, list[Found]] = defaultdict(list)
    for order in found:
        by_customer[order.customer].append(order)
    for planned in planned_orders:
        orders = by_customer.pop(planned.customer, [])
        if planned.order_id is not None:
            assert [order.id for order in orders] == [planned.order_id], (
                f"{planned}, found {orders}"
            )
        assert len(orders) <= 1, f"more than one order for {planned}: {orders}"
        for order in orders:
            _check_order(order, planned)
    assert by_customer == {}, "orders that were not requested"
    return found


def _check_order(order: Found, planned: PlannedOrder) -> None:
    """Its history is whole, its key is kept, and acknowledged changes are in it."""
    assert order.versions == list(range(1, order.version + 1)), f"gaps in the history of {order}"
    assert order.quantity == planned.quantity
    assert order.keys == (planned.key is not None), f"{order}, {planned}"
    changed = planned.change and STATUSES[planned.change]
    possible = (
        {changed} if planned.is_changed else {"pending", changed if planned.may_be_changed else ""}
    )
    assert order.status in possible, f"{order}, {planned}"
    assert order.version == (1 if order.status == "pending" else 2), f"{order}, {planned}"
    assert order.is_deleted == (planned.change == "delete" and order.status != "pending")


def check_stock(
    database: Connection, product: int, *, initial: int, found: Iterable[Found], reported: int
) -> None:
    """What is available, reserved and sold is what there was at first; nothing leaks."""
    row = database.execute(STOCK.encode(), (str(product),)).fetchone()
    assert row is not None
    answered, reserved, held = row
    assert answered == reported, "every stock report is applied, in order"
    assert reserved == held, "the sum is that of its parts"
    available = answered - reserved
    sold = sum(order.quantity for order in found if order.status != "cancelled")
    # What was packed has left the stock that is reported; the rest of what is sold is reserved.
    assert available + sold == initial, (answered, reserved, sold)
    assert reserved + (initial - answered) == sold


def check_messages(database: Connection, received: Iterable[Received]) -> int:
    """Without duplicates, the messages equal the history, in order for each order.

    Returns:
        How many messages were duplicates.
    """
    first: dict[str, Received] = {}
    repeated = 0
    for message in received:
        repeated += message.event_id in first
        assert first.setdefault(message.event_id, message) == message, "one id, two messages"
    history = {Received(*row) for row in database.execute(EVENTS.encode()).fetchall()}
    assert set(first.values()) == history, (
        f"missing: {sorted(map(str, history - set(first.values())))},"
        f" invented: {sorted(map(str, set(first.values()) - history))}"
    )
    versions = defaultdict(list)
    for message in first.values():
        versions[message.order_id].append(message.version)
    for order, answered in versions.items():
        assert answered == sorted(answered), f"order {order} arrived in the order {answered}"
    return repeated
