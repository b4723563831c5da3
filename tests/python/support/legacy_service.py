"""The old order service (tests/legacy_app): gunicorn, and its consumer script.

Both need the application's tables, which `upgrade` creates, and rows, which `seed` inserts.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.legacy_app.consumer import READY
from tests.python.support.http_process import HttpProcess
from tests.python.support.product_service import Product
from tests.python.support.waiting import eventually
from tests.services import Workspace

REPOSITORY = Path(__file__).parents[3]
COMMAND_TIMEOUT_S = 60.0
# Enough for requests in progress when a worker is stopped on a busy machine.
GRACE_S = 20


@dataclass(frozen=True)
class User:
    """A user as the old service remembers one."""

    id: int
    email: str
    contact: str
    address: str


USERS = (
    User(1, "ada@example.org", "555-0101", "1 Mill Lane"),
    User(2, "bob@example.org", "555-0102", "2 Mill Lane"),
    User(3, "cyd@example.org", "555-0103", "3 Mill Lane"),
)
# The first has a stock between what the recorded orders took and the two thousand millions that
# one of them asked for.
PRODUCTS = (
    Product(1, "Mug", 9.5, 999_616),
    Product(2, "Spoon", 0.1, 100_000),
    Product(3, "Kettle", 24.99, 50_000),
)


class LegacyService(HttpProcess):
    """gunicorn with the old service on its own port, which is the same after a restart."""

    NAME = "legacy-service"

    def __init__(
        self,
        workspace: Workspace,
        folder: Path,
        env: Mapping[str, str],
        *arguments: str,
        app: str = "tests.legacy_app.wsgi:app",
    ) -> None:
        """Picks the port; `env` names database and broker, `arguments` are more of gunicorn's."""
        super().__init__(workspace, folder, {"PYTHONPATH": str(REPOSITORY)} | dict(env))
        self._arguments = arguments or ("--workers=2", "--threads=8")
        self._app = app

    def command_line(self) -> list[str]:
        """What is typed to start it, in the foreground."""
        return [
            *(sys.executable, "-m", "gunicorn", f"--bind=127.0.0.1:{self.port}"),
            *(f"--graceful-timeout={GRACE_S}", "--no-control-socket"),
            *self._arguments,
            self._app,
        ]

    def flask(self, *arguments: str) -> str:
        """Types a `flask` command of the app with this service's settings; see `flask`."""
        return flask(self.env, *arguments, app=self._app)


class LegacyOrderConsumer:
    """The old service's `consumer.py` as a separate process."""

    def __init__(self, workspace: Workspace, folder: Path, env: Mapping[str, str]) -> None:
        """Takes the settings of a service, `LegacyService.env`."""
        self._workspace = workspace
        self._env = env
        self._log = folder / "legacy-order-consumer.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def start(self) -> None:
        """Starts consuming; returns once the queue is bound and it is subscribed."""
        self._starts += 1
        command = [sys.executable, "-m", "tests.legacy_app.consumer"]
        self._process = self._workspace.spawn(command, log=self._log, env=self._env)
        eventually(self._is_ready, "the old consumer is subscribed")

    def stop(self) -> None:
        """Ends it; what was on its way to it is lost, as in the field."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def is_running(self) -> bool:
        """Whether the process is there; one message that it cannot digest ends it."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """Everything it has written, over all its starts."""
        return self._log.read_text(errors="replace")

    def _is_ready(self) -> bool:
        assert self.is_running(), f"the old consumer ended while starting\n{self.log()}"
        return self.log().count(READY) == self._starts


def flask(env: Mapping[str, str], *arguments: str, app: str = "tests.legacy_app.wsgi:app") -> str:
    """Runs a `flask` command of the application with a service's settings; returns its output.

    Raises:
        AssertionError: it failed; the message contains its output.
    """
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", app, *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def upgrade(database_url: str) -> None:
    """Creates the old service's tables in a database, with `flask db upgrade`."""
    env = {
        "PYTHONPATH": str(REPOSITORY),
        "SQLALCHEMY_DATABASE_URI": database_url,
        # The migrations need neither, the app's settings do.
        "RABBITMQ_URL": "amqp://localhost",
        "JWT_SECRET_KEY": "a-secret-of-no-token-at-all-32-bytes",
    }
    flask(dict(os.environ) | env, "db", "upgrade")


def seed(database_url: str) -> None:
    """Writes `USERS` and `PRODUCTS` into the old service's tables."""
    with psycopg.connect(database_url) as database, database.cursor() as cursor:
        cursor.executemany(
            "insert into order_user (user_id, email, contact, address) values (%s, %s, %s, %s)",
            [(user.id, user.email, user.contact, user.address) for user in USERS],
        )
        cursor.executemany(
            "insert into product_catalog (product_id, name, price, quantity)"
            " values (%s, %s, %s, %s)",
            [(each.id, each.name, each.price, each.quantity) for each in PRODUCTS],
        )
