"""PostgreSQL's statistics of rows read through indexes and by sequential scans."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from tests.python.support.waiting import eventually

OTHERS = """
select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
"""
READS = """
select relname, coalesce(seq_tup_read, 0), coalesce(idx_tup_fetch, 0)
from pg_stat_user_tables where schemaname = 'order_engine'
"""


@dataclass(frozen=True)
class Reads:
    """Of one table: rows that sequential scans went through, and rows that indexes led to."""

    sequential: int
    by_index: int


class TableReads:
    """Counts the rows that connections other than the test's read since the last call."""

    def __init__(self, url: str) -> None:
        """Keeps the database's URL; a superuser's."""
        self._url = url

    def forget(self) -> None:
        """Begins to count."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            self._wait_until_alone(connection)
            connection.execute("select pg_stat_reset()")

    def look(self) -> dict[str, Reads]:
        """Returns what was read of each table; to be asked when the engine is closed."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            self._wait_until_alone(connection)
            return {
                str(table): Reads(int(sequential), int(by_index))
                for table, sequential, by_index in connection.execute(READS)
            }

    @staticmethod
    def _wait_until_alone(connection: psycopg.Connection) -> None:
        # A backend reports its statistics when it ends.
        def is_alone() -> bool:
            row = connection.execute(OTHERS).fetchone()
            return row is not None and row[0] == 0

        eventually(is_alone, "the other connections end")
