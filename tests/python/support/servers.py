"""Private servers for tests: starting them, databases, and virtual hosts."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import pytest

from tests.python.support.http_process import HttpProcess
from tests.python.support.missing_tools import skip_or_fail
from tests.services import MissingServiceError, PostgreSQL, RabbitMQ, Service, Workspace

S = TypeVar("S", bound=Service)

LOGGED_SERVERS = pytest.StashKey[list[HttpProcess]]()
"""The servers of a test or a module whose logs are shown if it fails."""


@dataclass(frozen=True)
class Broker:
    """A virtual host of one test, and the server that it is on."""

    url: str
    server: RabbitMQ


def start_server(kind: Callable[[Workspace], S], workspace: Workspace) -> S:
    """Starts a server that lives as long as the session."""
    try:
        server = kind(workspace)
    except MissingServiceError as error:
        skip_or_fail(str(error))
    server.start()
    return server


def migrate(url: str) -> None:
    """Makes the engine's tables in a database."""
    done = subprocess.run(
        [sys.executable, "-m", "order_engine", "migrate"],
        env=dict(os.environ) | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@contextmanager
def copied_database(postgres: PostgreSQL, template: str) -> Iterator[str]:
    """Copies a database; the server runs before and after, whatever is done to it."""
    postgres.start()
    url = postgres.create_database(copy_of=template)
    yield url
    postgres.start()
    postgres.drop_database(url)


@contextmanager
def fresh_vhost(rabbitmq: RabbitMQ) -> Iterator[Broker]:
    """Makes a virtual host; the server runs before and after, whatever is done to it."""
    rabbitmq.start()
    url = rabbitmq.create_vhost()
    yield Broker(url, rabbitmq)
    rabbitmq.start()
    rabbitmq.delete_vhost(url)
