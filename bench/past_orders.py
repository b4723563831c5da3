"""Past orders, generated in the database and loaded with COPY."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from typing_extensions import LiteralString

# Numbers continue the existing ones. The nth order is of user n modulo the users, and of product
# n modulo the products; orders are a second apart.
NUMBERS = "from generate_series(%(first)s::bigint, %(last)s::bigint) n"
ROWS: dict[LiteralString, tuple[LiteralString, LiteralString]] = {
    "orders": (
        "id, user_id, status, total, currency, address, version, created_at, updated_at",
        "select n, 1 + n %% %(users)s, 'delivered', 2.5, 'USD', 'Market Street', 1,"
        " now() - (%(last)s - n) * interval '1 s', now() - (%(last)s - n) * interval '1 s' "
        + NUMBERS,
    ),
    "order_lines": (
        "order_id, position, id, product_id, name, quantity, unit_price",
        "select n, 1, n, 1 + n %% %(products)s, 'product', 2, 1.25 " + NUMBERS,
    ),
    "order_history": (
        "order_id, version, event_id, changed_at, actor, action, status",
        "select n, 1, gen_random_uuid(), now() - (%(last)s - n) * interval '1 s',"
        " 1 + n %% %(users)s, 'placed', 'delivered' " + NUMBERS,
    ),
}


def add(url: str, schema: str, *, orders: int, users: int, products: int) -> None:
    """Adds orders until there are `orders`, of users and products numbered from 1.

    Foreign keys are not checked, which needs a superuser. The tables are vacuumed and analyzed
    afterwards, as autovacuum would have done in a real database of this size.
    """
    options = f"-c search_path={schema} -c session_replication_role=replica"
    with (
        closing(psycopg.connect(url, options=options)) as source,
        closing(psycopg.connect(url, options=options, autocommit=True)) as target,
    ):
        row = target.execute("select coalesce(max(id), 0) from orders").fetchone()
        first = 1 + (0 if row is None else int(row[0]))
        bounds = {"first": first, "last": orders, "users": users, "products": products}
        for table, (columns, query) in ROWS.items():
            _copy(
                source, target, table, columns, psycopg.ClientCursor(source).mogrify(query, bounds)
            )
        target.execute("select setval('order_ids', %s), setval('order_line_ids', %s)", [orders] * 2)
        for table in ROWS:
            target.execute(sql.SQL("vacuum (analyze) {}").format(sql.Identifier(table)))


def _copy(
    source: psycopg.Connection,
    target: psycopg.Connection,
    table: LiteralString,
    columns: LiteralString,
    query: str,
) -> None:
    into = sql.SQL("copy {} ({}) from stdin").format(sql.Identifier(table), sql.SQL(columns))
    with (
        source.cursor().copy(f"copy ({query}) to stdout".encode()) as rows,
        target.cursor().copy(into) as loaded,
    ):
        for block in rows:
            loaded.write(block)
