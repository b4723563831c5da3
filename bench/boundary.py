"""The cost of calls from Python to the engine, compared with database drivers.

It runs as a separate process (`python -m bench.boundary URL`), so that nothing else shares its
interpreter, and prints its measurements as JSON. All subjects read the same orders with the
engine's statement, and place orders that write the same rows, in one transaction each. The drivers
run pgbench's statement, over as many connections as the engine has.
"""

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg

from bench import measurement as m
from bench.errors import BenchError
from bench.floor import SCHEMA as FLOOR
from bench.measurement import ASYNCPG, ENGINE, ENGINE_ASYNC, PSYCOPG, Measurement
from bench.orders import SCHEMA
from order_engine import AsyncOrderEngine, OrderEngine

HERE = Path(__file__).parent
TIMEOUT_S = 120
READS = 2_000
WARM_UP = 200
AWAITS = 1_000
CONNECTIONS = 16
"""The engine's default."""


def measure(database_url: str, number: int) -> list[Measurement]:
    """Runs the measurement of one round in a separate process.

    Raises:
        BenchError: the process failed; the message contains its output.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.boundary", database_url, str(number)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise BenchError(f"the boundary was not measured: {done.stderr}")
    return [Measurement(**one) for one in json.loads(done.stdout)]


class Boundary:
    """The engine and the drivers, connected."""

    def __init__(self, url: str, number: int) -> None:
        self._url = url
        self._choices = random.Random(number)  # noqa: S311 - not for secrets.
        self._is_odd = number % 2 == 1
        self._read = (HERE / "floor_read.sql").read_text().split("\n", 2)[2]
        place = re.sub(r"(?m)^(--|\\set).*\n", "", (HERE / "floor_place.sql").read_text())
        self._place = place.rstrip().rstrip(";")
        self._products, self._users, self._orders = self._ids()

    def _ids(self) -> tuple[list[str], list[str], list[int]]:
        with psycopg.connect(self._url, options=f"-c search_path={SCHEMA}") as connection:
            return (
                [row[0] for row in connection.execute("select product_id from products")],
                [row[0] for row in connection.execute("select user_id from users")],
                [row[0] for row in connection.execute("select id from orders limit 10000")],
            )

    def reads(self) -> list[Measurement]:
        """Sequential reads of orders by key."""
        order = self._read.replace(":order::bigint", "%s")
        options = f"-c search_path={SCHEMA}"
        with (
            OrderEngine(database_url=self._url, relay=False) as engine,
            psycopg.connect(self._url, autocommit=True, options=options) as driver,
        ):
            driver.prepare_threshold = 0
            steps = [
                (ENGINE, engine.get_order),
                (PSYCOPG, lambda key: driver.execute(order.encode(), [key]).fetchall()),
            ]
            return [
                Measurement(subject, m.GET_FROM_PYTHON, 1, {"each_us": self._each_us(read)})
                for subject, read in self._in_turns(steps)
            ]

    async def async_reads(self) -> list[Measurement]:
        """Sequential awaited reads of orders by key."""
        order = self._read.replace(":order::bigint", "$1")
        driver = await asyncpg.connect(self._url, server_settings={"search_path": SCHEMA})
        statement = await driver.prepare(order.rstrip().rstrip(";"))
        async with AsyncOrderEngine(database_url=self._url, relay=False) as engine:
            steps = [(ENGINE_ASYNC, engine.get_order), (ASYNCPG, statement.fetch)]
            measured = [
                Measurement(
                    subject, m.GET_FROM_PYTHON, 1, {"each_us": await self._each_us_awaited(read)}
                )
                for subject, read in self._in_turns(steps)
            ]
        await driver.close()
        return measured

    async def places(self) -> list[Measurement]:
        """Many concurrent placements."""
        async with AsyncOrderEngine(database_url=self._url, relay=False) as engine:
            drivers = [
                (PSYCOPG, await self._psycopg_placer()),
                (ASYNCPG, await self._asyncpg_placer()),
            ]

            async def place(user: str, product: str) -> None:
                await engine.place_order(user_id=user, lines=[(product, 2)])

            return [
                Measurement(subject, m.AWAITS, AWAITS, {"all_ms": await self._all_ms(placer)})
                for subject, placer in self._in_turns([(ENGINE_ASYNC, place), *drivers])
            ]

    async def _psycopg_placer(self) -> Callable[[str, str], Awaitable[None]]:
        text = self._place.replace(":customer", "%(customer)s").replace(":product", "%(product)s")
        text = re.sub(r"%(?!\()", "%%", text)
        free: asyncio.Queue[psycopg.AsyncConnection] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, options=f"-c search_path={FLOOR}"
            )
            connection.prepare_threshold = 0
            free.put_nowait(connection)

        async def place(user: str, product: str) -> None:
            connection = await free.get()
            await connection.execute(text.encode(), {"customer": user, "product": product})
            free.put_nowait(connection)

        return place

    async def _asyncpg_placer(self) -> Callable[[str, str], Awaitable[None]]:
        text = self._place.replace(":customer", "$1").replace(":product", "$2")
        pool = await asyncpg.create_pool(
            self._url,
            min_size=CONNECTIONS,
            max_size=CONNECTIONS,
            server_settings={"search_path": FLOOR},
        )

        async def place(user: str, product: str) -> None:
            await pool.execute(text, user, product)

        return place

    def _in_turns(self, steps: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        # Alternate the order, so that no subject always comes first.
        return steps if self._is_odd else steps[::-1]

    def _keys(self) -> list[int]:
        return self._choices.choices(self._orders, k=WARM_UP + READS)

    def _each_us(self, read: Callable[[int], object]) -> float:
        keys = self._keys()
        for key in keys[:WARM_UP]:
            read(key)
        begin = time.perf_counter()
        for key in keys[WARM_UP:]:
            read(key)
        return (time.perf_counter() - begin) / READS * 1e6

    async def _each_us_awaited(self, read: Callable[[int], Awaitable[object]]) -> float:
        keys = self._keys()
        for key in keys[:WARM_UP]:
            await read(key)
        begin = time.perf_counter()
        for key in keys[WARM_UP:]:
            await read(key)
        return (time.perf_counter() - begin) / READS * 1e6

    async def _all_ms(self, place: Callable[[str, str], Awaitable[None]]) -> float:
        """The second of two measurements; the first one warms up."""
        begin = 0.0
        for _ in range(2):
            requests = [
                (self._choices.choice(self._users), self._choices.choice(self._products))
                for _ in range(AWAITS)
            ]
            begin = time.perf_counter()
            await asyncio.gather(*(place(*request) for request in requests))
        return (time.perf_counter() - begin) * 1e3


async def _awaited(boundary: Boundary) -> list[Measurement]:
    return await boundary.async_reads() + await boundary.places()


if __name__ == "__main__":
    _boundary = Boundary(sys.argv[1], int(sys.argv[2]))
    _measured = _boundary.reads() + asyncio.run(_awaited(_boundary))
    sys.stdout.write(json.dumps([vars(one) for one in _measured]))
