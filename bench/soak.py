"""Placing for minutes at half of the maximum rate, while sizes and latencies are recorded."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from bench import memory, steady
from bench.errors import BenchError
from bench.orders import SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

    from bench.population import Population

EVERY_S = 5.0
WATCHED = ("orders", "order_lines", "order_history", "reservations", "outbox", "products")
LOOK = """
select c.relname, pg_table_size(c.oid), pg_indexes_size(c.oid), coalesce(s.n_dead_tup, 0)
from pg_class c left join pg_stat_all_tables s on s.relid = c.oid
where c.relnamespace = %s::regnamespace and c.relname = any(%s)
"""
WAITING = "select count(*) from {}"


def run(
    population: Population, requests: Path, *, per_second: float, minutes: float
) -> dict[str, list[dict[str, float]]]:
    """Places at a constant rate and takes a sample every five seconds.

    Returns:
        `looks`: for each sample `at_s`, `memory_mb`, `waiting` (messages in the outbox), and for
        each table `table_mb NAME`, `index_mb NAME`, `dead NAME`; `seconds`: as `Steady.seconds`.

    Raises:
        BenchError: a request failed, or the number of orders differs from the responses.
    """
    looks: list[dict[str, float]] = []
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(population, looks, ended))
    before = population.target.orders.count()
    watcher.start()
    try:
        done = steady.run(
            population.target.port,
            requests,
            per_second=per_second,
            seconds=round(minutes * 60),
            seed=1,
        )
    finally:
        ended.set()
        watcher.join()
    placed = population.target.orders.count() - before
    if placed != done.requests:
        raise BenchError(f"{done.requests} orders were answered, {placed} were placed")
    return {"looks": looks, "seconds": done.seconds}


def _watch(population: Population, looks: list[dict[str, float]], ended: threading.Event) -> None:
    begin = time.perf_counter()
    with psycopg.connect(population.database_url, autocommit=True) as connection:
        while True:
            looks.append({"at_s": time.perf_counter() - begin} | _look(population, connection))
            if ended.wait(EVERY_S):
                return


def _look(population: Population, connection: psycopg.Connection) -> dict[str, float]:
    outbox = sql.SQL(WAITING).format(sql.Identifier(SCHEMA, "outbox"))
    row: Any = connection.execute(outbox).fetchone()
    found = {
        "memory_mb": memory.resident_mb(population.engine.pid),
        "waiting": float(row[0]),
    }
    for table, table_size, index_size, dead in connection.execute(LOOK, [SCHEMA, list(WATCHED)]):
        found |= {
            f"table_mb {table}": table_size / 1e6,
            f"index_mb {table}": index_size / 1e6,
            f"dead {table}": float(dead),
        }
    return found
