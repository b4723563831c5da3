"""Comparable programs, started as their documentation recommends."""

import http.client
import os
import shutil
import sys
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.services import Service, Workspace

from bench.errors import BenchError
from bench.measurement import EXPRESS, FASTAPI, FLASK

HERE = Path(__file__).parent / "peers"
# `make bench` installs the Python programs' packages here.
INSTALLED = Path(__file__).parent.parent / "target" / "peers"
PATH_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


class Peer(Service):
    """A comparable program: it serves `/graphql`, and `/healthz` when it is ready."""

    subject: ClassVar[str]

    def __init__(
        self, workspace: Workspace, *, database_url: str, rabbitmq_url: str, secret: str
    ) -> None:
        """Picks a port.

        Raises:
            BenchError: its packages are not installed.
        """
        program = Path(self.program())
        if not program.exists():
            raise BenchError(f"{program} is missing: `make bench` installs it")
        super().__init__(workspace)
        self._settings = {
            "DATABASE_URL": database_url,
            "RABBITMQ_URL": rabbitmq_url,
            "JWT_SECRET_KEY": secret,
            "PORT": str(self.port),
        }

    @classmethod
    @abstractmethod
    def program(cls) -> str:
        """The program, or a file that exists if it can be run."""

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """Only the given settings, so that the machine's do not affect it."""
        kept = {name: os.environ[name] for name in PATH_KEPT if name in os.environ}
        return kept | self._settings

    def is_ready(self) -> bool:
        """Whether it responds."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()


class FlaskSqlalchemy(Peer):
    """Flask, SQLAlchemy, psycopg and pika under gunicorn."""

    name = "flask_sqlalchemy"
    subject = FLASK

    @classmethod
    def program(cls) -> str:
        """From the program's own environment."""
        return str(INSTALLED / cls.name / "bin" / "gunicorn")

    def command(self) -> Sequence[str]:
        """Gunicorn reads its settings from a file."""
        folder = HERE / self.name
        return [self.program(), f"--chdir={folder}", f"--config={folder / 'gunicorn.conf.py'}"]


class FastapiStrawberry(Peer):
    """FastAPI, Strawberry, asyncpg and aio-pika under uvicorn."""

    name = "fastapi_strawberry"
    subject = FASTAPI

    @classmethod
    def program(cls) -> str:
        """From the program's own environment."""
        return str(INSTALLED / cls.name / "bin" / "uvicorn")

    def command(self) -> Sequence[str]:
        """A process per core, with the event loop and the parser that are written in C."""
        return [
            self.program(),
            f"--app-dir={HERE / self.name}",
            f"--port={self.port}",
            *("--workers=2", "--loop=uvloop", "--http=httptools"),
            *("--no-access-log", "--log-level=warning"),
            "main:app",
        ]


class ExpressGraphql(Peer):
    """Express, graphql-http, pg and amqplib in Node's cluster."""

    name = "express_graphql"
    subject = EXPRESS

    @classmethod
    def program(cls) -> str:
        """A file that npm creates; node itself is searched on the path."""
        return str(HERE / cls.name / "node_modules" / ".package-lock.json")

    def command(self) -> Sequence[str]:
        """The primary process, which starts the others."""
        # If the system has no Node.js, `make` has installed one beside Python.
        node = shutil.which("node") or str(Path(sys.executable).with_name("node"))
        return [node, str(HERE / self.name / "main.js")]

    def environment(self) -> dict[str, str]:
        """As Express recommends for production."""
        return super().environment() | {"NODE_ENV": "production"}


ALL: dict[str, type[Peer]] = {
    kind.name: kind for kind in (FlaskSqlalchemy, FastapiStrawberry, ExpressGraphql)
}
