"""The private PostgreSQL and RabbitMQ of a run, with a new database and virtual host per round."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from tests.services import PostgreSQL, RabbitMQ, Workspace


@dataclass(frozen=True)
class Site:
    """A round's own database and virtual host, initially empty."""

    database_url: str
    rabbitmq_url: str
    connection: psycopg.Connection
    """A connection to the database, in autocommit mode."""


class Servers:
    """Both servers with default settings."""

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
        """Returns the first process of each server, by its name in the results."""
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
        """Creates an empty database and yields its URL."""
        url = self._postgresql.create_database()
        try:
            yield url
        finally:
            self._postgresql.drop_database(url)

    @contextmanager
    def site(self) -> Iterator[Site]:
        """Creates a database and a virtual host, so that rounds are independent."""
        rabbitmq_url = self._rabbitmq.create_vhost()
        try:
            with (
                self.database() as database_url,
                psycopg.connect(database_url, autocommit=True) as connection,
            ):
                # Write what the last round has left in memory.
                connection.execute("checkpoint")
                yield Site(database_url, rabbitmq_url, connection)
        finally:
            self._rabbitmq.delete_vhost(rabbitmq_url)
