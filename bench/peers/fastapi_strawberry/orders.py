"""Placing and reading orders with asyncpg, in the tables of the engine's migrations."""

import json
import uuid
from collections.abc import Mapping
from typing import Any

import asyncpg

Row = Mapping[str, Any]

MOST_LISTED = 1_000

RESERVE = """
update products set reserved = reserved + $2, updated_at = now()
where product_id = $1 and price is not null and reported - reserved >= $2
returning product_id, name, price, currency
"""
ORDER = """
insert into orders (id, user_id, status, total, currency, address, version, created_at, updated_at)
values (nextval('order_ids'), $1, 'pending', $2, $3,
        (select address from users where user_id = $1), 1, now(), now())
returning id, user_id, status, total
"""
LINE = """
insert into order_lines (order_id, position, id, product_id, name, quantity, unit_price)
values ($1, 1, nextval('order_line_ids'), $2, $3, $4, $5)
returning id
"""
HOLD = "insert into reservations (product_id, order_id, quantity) values ($1, $2, $3)"
HISTORY = """
insert into order_history (order_id, version, event_id, changed_at, actor, action, status)
values ($1, 1, $2, now(), $3, 'placed', 'pending')
"""
MESSAGE = """
insert into outbox (destination, stream_id, version, message_id, topic, body, created_at)
values ('fastapi', $1, 1, $2, 'order.placed', $3, now())
"""
READ = """
select o.id, o.user_id, o.status, l.product_id, l.quantity
from orders o join order_lines l on l.order_id = o.id and l.position = 1
where o.user_id = $1 and o.deleted_at is null
"""
GET = READ + " and o.id = $2"
LIST = READ + " order by o.id desc limit $2"


class RefusedError(Exception):
    """The order cannot be placed; the message is for the customer."""


async def place(pool: asyncpg.Pool, user_id: int, product_id: int, quantity: int) -> Row:
    """Reserves the stock, and writes the order with its event, in one transaction.

    Raises:
        RefusedError: there is no such product, or too little of it.
    """
    if quantity < 1:
        raise RefusedError("The quantity must be 1 or more.")
    user, product = str(user_id), str(product_id)
    async with pool.acquire() as connection, connection.transaction():
        sold = await connection.fetchrow(RESERVE, product, quantity)
        if sold is None:
            raise RefusedError(await _refusal(connection, product))
        total = sold["price"] * quantity
        order = await connection.fetchrow(ORDER, user, total, sold["currency"])
        line_id = await connection.fetchval(
            LINE, order["id"], product, sold["name"], quantity, sold["price"]
        )
        await connection.execute(HOLD, product, order["id"], quantity)
        event_id = uuid.uuid4()
        await connection.execute(HISTORY, order["id"], event_id, user)
        event = {
            "order_id": order["id"],
            "user_id": user_id,
            "total_amount": float(total),
            "items": [{"id": line_id, "product_id": product_id, "quantity": quantity}],
            "event_id": str(event_id),
            "version": 1,
        }
        await connection.execute(MESSAGE, order["id"], event_id, json.dumps(event))
    return dict(order) | {"product_id": product, "quantity": quantity}


async def get(pool: asyncpg.Pool, user_id: int, order_id: int) -> Row | None:
    """Returns an order of this user's."""
    return await pool.fetchrow(GET, str(user_id), order_id)


async def list_all(pool: asyncpg.Pool, user_id: int) -> list[Row]:
    """Returns this user's orders, oldest first; at most the newest 1,000."""
    return (await pool.fetch(LIST, str(user_id), MOST_LISTED))[::-1]


async def _refusal(connection: asyncpg.Connection, product: str) -> str:
    if await connection.fetchval("select 1 from products where product_id = $1", product):
        return f"Requested quantity of product ID {product} not available."
    return f"Product with id {product} not found"
