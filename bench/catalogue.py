"""Fills a schema with the customers and products of the benchmark."""

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


def fill(connection: psycopg.Connection, schema: str, plan: Plan) -> None:
    """Adds users and products, numbered from 1, with more stock than a run can sell."""
    with connection.transaction():
        connection.execute(sql.SQL("set local search_path to {}").format(sql.Identifier(schema)))
        connection.execute(USERS, [plan.users])
        connection.execute(PRODUCTS, [STOCK, plan.products])
    # So that both sides begin with the same statistics, whenever autovacuum comes by.
    for table in ("users", "products"):
        connection.execute(sql.SQL("analyze {}").format(sql.Identifier(schema, table)))
