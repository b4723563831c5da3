"""Placing many orders with one Python call, and the time to import the module.

It runs as a separate process (`python -m bench.bulk URL`), so that nothing else shares its
interpreter, and prints its measurements as JSON.
"""

import json
import random
import subprocess
import sys
import time
from importlib import import_module

import psycopg
from psycopg import sql

from bench import measurement as m
from bench.errors import BenchError
from bench.measurement import ENGINE, Measurement
from bench.orders import SCHEMA, Orders

TIMEOUT_S = 120
WARM_UP = 2_000
ORDERS = 50_000


def measure_engine(database_url: str, number: int) -> list[Measurement]:
    """Runs the measurement of one round in a separate process.

    Raises:
        BenchError: the process failed; the message contains its output.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.bulk", database_url, str(number)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"bulk placing was not measured: {done.stderr}")
    return [Measurement(**one) for one in json.loads(done.stdout)]


def _measure(url: str, number: int) -> list[Measurement]:
    begin = time.perf_counter()
    # The first import in this process is what is measured.
    order_engine = import_module("order_engine")
    import_ms = (time.perf_counter() - begin) * 1e3
    choices = random.Random(number)  # noqa: S311 - not for secrets.
    with psycopg.connect(url, autocommit=True) as connection:
        users, products = _ids(connection, "users", "user_id"), _ids(connection, "products")
        rows = [
            (choices.choice(users), [(choices.choice(products), 2)])
            for _ in range(WARM_UP + ORDERS)
        ]
        orders = Orders(connection)
        with order_engine.OrderEngine(database_url=url, relay=False) as engine:
            engine.place_orders(rows[:WARM_UP])
            before = orders.count()
            begin = time.perf_counter()
            answers = engine.place_orders(rows[WARM_UP:])
            took_s = time.perf_counter() - begin
        refused = sum(isinstance(one, Exception) for one in answers)
        placed = orders.count() - before
        if refused or placed != ORDERS:
            raise BenchError(f"{refused} of {ORDERS} orders were refused, {placed} were placed")
    return [
        Measurement(ENGINE, m.BULK, 0, {"per_second": ORDERS / took_s}),
        Measurement(ENGINE, m.IMPORT, 0, {"import_ms": import_ms}),
    ]


def _ids(connection: psycopg.Connection, table: str, column: str = "product_id") -> list[str]:
    query = sql.SQL("select {} from {}").format(
        sql.Identifier(column), sql.Identifier(SCHEMA, table)
    )
    return [row[0] for row in connection.execute(query)]


if __name__ == "__main__":
    _measured = _measure(sys.argv[1], int(sys.argv[2]))
    sys.stdout.write(json.dumps([vars(one) for one in _measured]))
