"""The upper bound: PostgreSQL driven directly by pgbench.

pgbench places an order with one statement in one transaction, and reads one by its key. It works on
tables as the engine's, in a schema of its own.
"""

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from bench import catalogue, schema
from bench.errors import BenchError
from bench.plan import Plan
from bench.processor import Clocks

HERE = Path(__file__).parent
SCHEMA = "floor"
GRACE_S = 30
BULK_CLIENTS = 2
# As in floor_bulk.sql.
BULK_ORDERS = 64


class Floor:
    """The schema `floor` of a database, and pgbench runs in it."""

    def __init__(
        self, binaries: Path, url: str, connection: psycopg.Connection, server: int
    ) -> None:
        """Takes pgbench's folder and a database; `connection` is to the same database.

        `server` is PostgreSQL's first process, whose processor time is recorded too.
        """
        self._server = server
        self._pgbench = binaries / "pgbench"
        self._url = urlsplit(url)
        self._connection = connection

    def prepare(self, plan: Plan) -> None:
        """Creates the tables from the engine's migrations and adds users and products."""
        schema.make(self._connection, SCHEMA)
        catalogue.fill(self._connection, SCHEMA, plan)

    def place(self, plan: Plan, clients: int) -> dict[str, float]:
        """Places orders for random users and products, as many as go.

        Raises:
            BenchError: pgbench failed, or there are not as many new orders as it says.
        """
        before = self._orders()
        variables = {"users": plan.users, "products": plan.products}
        done, values = self._run("floor_place.sql", variables, clients, plan.seconds)
        placed = self._orders() - before
        if placed != done:
            raise BenchError(f"pgbench counts {done} orders, and there are {placed} more")
        return values

    def read(self, plan: Plan, clients: int) -> dict[str, float]:
        """Reads random orders, as many as go.

        Raises:
            BenchError: pgbench failed.
        """
        _, values = self._run("floor_read.sql", {"orders": self._orders()}, clients, plan.seconds)
        return values

    def list(self, plan: Plan, clients: int) -> dict[str, float]:
        """Lists the orders of random regular customers, as often as goes.

        Raises:
            BenchError: pgbench failed.
        """
        variables = {"users": plan.users, "regulars": plan.regulars}
        _, values = self._run("floor_list.sql", variables, clients, plan.seconds)
        return values

    def place_in_bulk(self, plan: Plan) -> dict[str, float]:
        """Places orders in statements of 64, with two clients, as many as go.

        Raises:
            BenchError: pgbench failed, or there are not as many new orders as it says.
        """
        before = self._orders()
        variables = {"users": plan.users, "products": plan.products}
        done, values = self._run("floor_bulk.sql", variables, BULK_CLIENTS, plan.seconds)
        placed = self._orders() - before
        if placed != done * BULK_ORDERS:
            raise BenchError(f"pgbench counts {done * BULK_ORDERS} orders; there are {placed} more")
        return {"per_second": values["per_second"] * BULK_ORDERS}

    def _orders(self) -> int:
        query = sql.SQL("select count(*) from {}").format(sql.Identifier(SCHEMA, "orders"))
        row = self._connection.execute(query).fetchone()
        return 0 if row is None else int(row[0])

    def _run(
        self, script: str, variables: dict[str, int], clients: int, seconds: int
    ) -> tuple[int, dict[str, float]]:
        command = [
            str(self._pgbench),
            f"--host={self._url.hostname}",
            f"--port={self._url.port}",
            f"--username={self._url.username}",
            f"--client={clients}",
            f"--jobs={min(clients, os.cpu_count() or 1)}",
            f"--time={seconds}",
            f"--file={HERE / script}",
            "--protocol=prepared",
            "--no-vacuum",
            *(f"--define={name}={value}" for name, value in variables.items()),
            self._url.path.removeprefix("/"),
        ]
        environment = {name: value for name, value in os.environ.items() if name[:2] != "PG"}
        environment |= {
            "PGPASSWORD": self._url.password or "",
            "PGOPTIONS": f"-c search_path={SCHEMA}",
            "LC_ALL": "C",
        }
        clocks = Clocks({"postgresql": self._server})
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds + GRACE_S,
            check=False,
        )
        if done.returncode != 0:
            raise BenchError(f"pgbench ended with {done.returncode}: {done.stderr}")
        transactions = int(
            _number(r"number of transactions actually processed: (\d+)", done.stdout)
        )
        rate = _number(r"tps = ([\d.]+) \(without initial connection", done.stdout)
        mean_ms = _number(r"latency average = ([\d.]+) ms", done.stdout)
        values = {"per_second": rate, "mean_ms": mean_ms} | clocks.per_request(transactions)
        return transactions, values


def _number(pattern: str, output: str) -> float:
    found = re.search(pattern, output)
    if found is None:
        raise BenchError(f"pgbench does not say {pattern!r} but: {output}")
    return float(found[1])
