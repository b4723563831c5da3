"""Fills a schema with the customers, products and earlier orders of the benchmark."""

import psycopg
from psycopg import sql

from bench.plan import Plan

STOCK = 1_000_000_000

USERS = """
insert into users (user_id, username, email, address, contact, updated_at)
select n::text, 'user ' || n, 'user' || n || '@example.org', n || ' Market Street', '555', now()
from generate_series(1, %s) n
"""
PRODUCTS = """
insert into products (product_id, name, price, currency, reported, updated_at)
select n::text, 'product ' || n, 1 + (n %% 100) + 0.25, 'USD', %s, now()
from generate_series(1, %s) n
"""

# The ids of regular customers follow the others'; their orders are as the engine writes them.
REGULARS = """
with placed as (
    insert into orders (
        id, user_id, status, total, currency, address, version, created_at, updated_at
    )
    select nextval('order_ids'), (%(users)s + regular)::text, 'delivered', 2.5, 'USD',
           'Market Street', 1, now(), now()
    from generate_series(1, %(orders)s) number, generate_series(1, %(regulars)s) regular
    order by number, regular
    returning id, user_id
), noted as (
    insert into order_history (order_id, version, event_id, changed_at, actor, action, status)
    select id, 1, gen_random_uuid(), now(), user_id, 'placed', 'delivered' from placed
)
insert into order_lines (order_id, position, id, product_id, name, quantity, unit_price)
select id, 1, nextval('order_line_ids'), (1 + id %% %(products)s)::text,
       'product', 2, 1.25 from placed
"""


def fill(connection: psycopg.Connection, schema: str, plan: Plan) -> None:
    """Adds users and products, numbered from 1, with more stock than a run can sell.

    Regular customers follow the users; they already have orders.
    """
    with connection.transaction():
        connection.execute(sql.SQL("set local search_path to {}").format(sql.Identifier(schema)))
        connection.execute(USERS, [plan.users + plan.regulars])
        connection.execute(PRODUCTS, [STOCK, plan.products])
        sizes = {"users": plan.users, "products": plan.products, "regulars": plan.regulars}
        connection.execute(REGULARS, sizes | {"orders": plan.orders_of_a_regular})
    # All subjects start with the same statistics, whenever autovacuum runs.
    for table in ("users", "products", "orders", "order_lines", "order_history"):
        connection.execute(sql.SQL("analyze {}").format(sql.Identifier(schema, table)))
