"""Counts orders and messages in the tables, to check what a subject reports."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from bench.errors import BenchError

if TYPE_CHECKING:
    from typing_extensions import LiteralString

SCHEMA = "order_engine"
POLL_INTERVAL_S = 0.01
# Longer than any batch of orders takes.
QUIET_S = 0.25
DELIVERY_TIMEOUT_S = 120.0

# Messages like the waiting ones, each about an order of its own.
COPIES = """
with sample as (select * from {outbox} order by id limit 1)
insert into {outbox} (destination, stream_id, version, message_id, topic, body, created_at)
select destination, stream_id + n, version, gen_random_uuid(), topic, body, now()
from sample, generate_series(%s, %s) n
"""


class Orders:
    """The orders and the outbox of one schema, read over a separate connection."""

    def __init__(self, connection: psycopg.Connection, schema: str = SCHEMA) -> None:
        """Takes a connection in autocommit mode, so that each query sees the current state."""
        self._connection = connection
        self._schema = schema

    def count(self) -> int:
        """Returns the number of orders."""
        return self._number("select count(*) from {}", "orders")

    def waiting(self) -> int:
        """Returns the number of messages in the outbox."""
        return self._number("select count(*) from {}", "outbox")

    def is_all_sent(self) -> bool:
        """Whether the outbox is empty."""
        return self._number("select count(*) from (select from {} limit 1) one", "outbox") == 0

    def wait_until_quiet(self) -> None:
        """Waits until the number of orders is stable: requests in progress may still commit."""
        before = -1
        while (now := self.count()) != before:
            before = now
            time.sleep(QUIET_S)

    def wait_until_sent(self) -> None:
        """Waits until the outbox is empty.

        Raises:
            BenchError: it is not after two minutes.
        """
        deadline = time.monotonic() + DELIVERY_TIMEOUT_S
        while not self.is_all_sent():
            if time.monotonic() > deadline:
                raise BenchError(
                    f"{self.waiting()} messages are still in the outbox"
                    f" after {DELIVERY_TIMEOUT_S:g} s"
                )
            time.sleep(POLL_INTERVAL_S)

    def choose(self, count: int, seed: int) -> list[tuple[int, int]]:
        """Returns random order numbers, each with its user's number.

        Raises:
            BenchError: there are no orders.
        """
        query = sql.SQL("select id, user_id from {} order by id").format(
            sql.Identifier(self._schema, "orders")
        )
        rows = self._connection.execute(query).fetchall()
        if not rows:
            raise BenchError("there are no orders to read")
        chosen = random.Random(seed).choices(rows, k=count)  # noqa: S311 - keeps no secret
        return [(int(order), int(user)) for order, user in chosen]

    def fill_outbox(self, count: int) -> None:
        """Adds copies of the first waiting message until there are at least `count`."""
        waiting = self.waiting()
        query = sql.SQL(COPIES).format(outbox=sql.Identifier(self._schema, "outbox"))
        # Their order numbers follow the real ones.
        self._connection.execute(query, [waiting + 1_000_000, count + 1_000_000 - 1])

    def _number(self, query: LiteralString, table: str) -> int:
        name = sql.Identifier(self._schema, table)
        row = self._connection.execute(sql.SQL(query).format(name)).fetchone()
        return 0 if row is None else int(row[0])
