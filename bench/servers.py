"""The private PostgreSQL and RabbitMQ of a run, and a fresh part of them for each round."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from tests.services import PostgreSQL, RabbitMQ, Workspace


@dataclass(frozen=True)
class Site:
    """One round's own database and virtual host, both empty at first."""

    database_url: str
    rabbitmq_url: str
    connection: psycopg.Connection
    """To the database, in autocommit mode."""


class Servers:
    """Both servers as they are installed: no setting is changed for speed."""

    def __init__(self, workspace: Workspace) -> None:
        """Prepares them.

        Raises:
            MissingServiceError: one of them is not installed.
        """
        self._postgresql = PostgreSQL(workspace)
        self._rabbitmq = RabbitMQ(workspace)

    @property
    def binaries(self) -> Path:
        """The folder of PostgreSQL's programs."""
        return self._postgresql.binaries

    def pids(self) -> dict[str, int]:
        """Returns the first process of each, by its name in the numbers; only while they run."""
        return {"postgresql": self._postgresql.pid, "rabbitmq": self._rabbitmq.pid}

    def start(self) -> None:
        """Starts both; they end with the workspace.

        Raises:
            ServiceError: one of them does not start.
        """
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.start(), (self._postgresql, self._rabbitmq)))

    @contextmanager
    def database(self) -> Iterator[str]:
        """Makes an empty database and yields its URL."""
        url = self._postgresql.create_database()
        try:
            yield url
        finally:
            self._postgresql.drop_database(url)

    @contextmanager
    def site(self) -> Iterator[Site]:
        """Makes a database and a virtual host, so that no round works on another's leftovers."""
        rabbitmq_url = self._rabbitmq.create_vhost()
        try:
            with (
                self.database() as database_url,
                psycopg.connect(database_url, autocommit=True) as connection,
            ):
                # What the round before has left to write is written now.
                connection.execute("checkpoint")
                yield Site(database_url, rabbitmq_url, connection)
        finally:
            self._rabbitmq.delete_vhost(rabbitmq_url)
