"""A database that an older application and the engine share, for tests to drive and inspect."""

import json
import os
import subprocess
import sys
from typing import Any

import psycopg

from order_engine import OrderEngine

COMMAND_TIMEOUT_S = 100.0
BOTH = """
    select (select count(*) from public.orders), (select count(*) from order_engine.orders
            where deleted_at is null)
"""


class SharedDatabase:
    """The database: `sql` runs as the older application, `own` as the engine."""

    def __init__(self, url: str) -> None:
        """Connects; adopts nothing."""
        self.url = url
        self.env = dict(os.environ) | {"DATABASE_URL": url}
        self.old = psycopg.connect(url, autocommit=True)

    def close(self) -> None:
        """Disconnects."""
        self.old.close()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs `order-engine adopt`; returns the finished process."""
        return subprocess.run(
            [*self.command_line(), *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def command_line(self) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "order_engine", "adopt"]

    def adopt(self, *arguments: str) -> dict[str, Any]:
        """Adopts, which must succeed with equal totals; returns the report."""
        done = self.command("--json", *arguments)
        assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["is_equal"], report["figures"]
        return report

    def doctor(self, check: str) -> str:
        """What `order-engine doctor` says of one part."""
        done = subprocess.run(
            [sys.executable, "-m", "order_engine", "doctor", "--json"],
            env=self.env | {"JWT_SECRET_KEY": "k" * 32},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        (detail,) = [each["detail"] for each in json.loads(done.stdout) if each["name"] == check]
        return str(detail)

    def engine(self) -> OrderEngine:
        """An engine on the database."""
        return OrderEngine(database_url=self.url)

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Runs a statement; returns its rows, if it has any."""
        cursor = self.old.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []

    def one(self, statement: str, *parameters: object) -> Any:  # noqa: ANN401 - any column.
        """The value of a query with one row and one column."""
        ((value,),) = self.sql(statement, *parameters)
        return value

    def place(self, *lines: tuple[int, int], user_id: int = 1, total: float = 19.0) -> int:
        """Inserts an order as the older application does, line by line; returns its number."""
        with self.old.transaction():
            order: int = self.one(
                "insert into orders (user_id, total_amount, status, created_at, updated_at,"
                " address) values (%s, %s, 'Pending', now(), now(), 'here') returning id",
                user_id,
                total,
            )
            for product, quantity in lines:
                self.sql(
                    "insert into order_items (product_id, quantity, order_id) values (%s, %s, %s)"
                    " returning id",
                    product,
                    quantity,
                    order,
                )
        return order

    def findings(self) -> set[tuple[str, str, str]]:
        """Kind, table and number of each finding."""
        rows = self.sql("select kind, row_table, row_id from order_engine.adoption_findings")
        return {(kind, table, number) for kind, table, number in rows}

    def level(self, product: int) -> tuple[Any, ...]:
        """The reported and the reserved stock of a product, and the stock in the older table."""
        ((reported, reserved),) = self.sql(
            "select reported, reserved from order_engine.products where product_id = %s",
            str(product),
        )
        shown = self.one("select quantity from product_catalog where product_id = %s", product)
        return (reported, reserved, shown)
