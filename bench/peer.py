"""The programs that a team would otherwise write, started as their documentation recommends."""

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
# Where `make bench` installs what the Python programs need.
INSTALLED = Path(__file__).parent.parent / "target" / "peers"
PATH_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


class Peer(Service):
    """One of the programs: it serves `/graphql`, and `/healthz` when it is ready."""

    subject: ClassVar[str]

    def __init__(
        self, workspace: Workspace, *, database_url: str, rabbitmq_url: str, secret: str
    ) -> None:
        """Picks a port.

        Raises:
            BenchError: what it needs is not installed.
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
        """What is run, or a file that is there when it can be run."""

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """Nothing but what it is told, so that no setting of the machine changes it."""
        kept = {name: os.environ[name] for name in PATH_KEPT if name in os.environ}
        return kept | self._settings

    def is_ready(self) -> bool:
        """Whether it answers at all."""
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
        """Of the program's own environment."""
        return str(INSTALLED / cls.name / "bin" / "gunicorn")

    def command(self) -> Sequence[str]:
        """The settings are in a file, as gunicorn's users have them."""
        folder = HERE / self.name
        return [self.program(), f"--chdir={folder}", f"--config={folder / 'gunicorn.conf.py'}"]


class FastapiStrawberry(Peer):
    """FastAPI, Strawberry, asyncpg and aio-pika under uvicorn."""

    name = "fastapi_strawberry"
    subject = FASTAPI

    @classmethod
    def program(cls) -> str:
        """Of the program's own environment."""
        return str(INSTALLED / cls.name / "bin" / "uvicorn")

    def command(self) -> Sequence[str]:
        """A process per core, on the loop and the parser that are written in C."""
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
        """What npm leaves behind; node itself is looked for on the path."""
        return str(HERE / cls.name / "node_modules" / ".package-lock.json")

    def command(self) -> Sequence[str]:
        """The primary process, which starts the others."""
        # Where the system has no Node, `make` has put one beside Python.
        node = shutil.which("node") or str(Path(sys.executable).with_name("node"))
        return [node, str(HERE / self.name / "main.js")]

    def environment(self) -> dict[str, str]:
        """As Express asks for in production."""
        return super().environment() | {"NODE_ENV": "production"}


ALL: dict[str, type[Peer]] = {
    kind.name: kind for kind in (FlaskSqlalchemy, FastapiStrawberry, ExpressGraphql)
}
