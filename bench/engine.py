"""The measured engine, started as an operator would start it."""

import http.client
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.services import Service, Workspace

from bench.errors import BenchError

PROGRAM = Path(sys.executable).with_name("order-engine")
COMMAND_TIMEOUT_S = 60
# Variables that would change the engine's settings.
SETTINGS = ("ORDER_ENGINE_", "DATABASE_", "SQLALCHEMY_", "POSTGRES_", "PG", "RABBITMQ_", "JWT_")


class Engine(Service):
    """`order-engine serve` with default settings."""

    name = "order-engine"

    def __init__(  # noqa: PLR0913 - each is another thing
        self,
        workspace: Workspace,
        *,
        database_url: str,
        rabbitmq_url: str,
        secret: str,
        has_relay: bool = True,
        program: Path = PROGRAM,
    ) -> None:
        """Picks a port; without a relay the messages stay in the outbox.

        Raises:
            BenchError: the engine is not installed.
        """
        if not program.exists():
            raise BenchError(f"{program} is missing: `make bench` builds and installs it")
        super().__init__(workspace)
        self._program = program
        self._settings = {
            "DATABASE_URL": database_url,
            "RABBITMQ_URL": rabbitmq_url,
            "JWT_SECRET_KEY": secret,
            "ORDER_ENGINE_RELAY": "true" if has_relay else "false",
            "ORDER_ENGINE_SHUTDOWN_DELAY_SECONDS": "0",
        }

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        """The server in the foreground."""
        return [str(self._program), "serve", f"--port={self.port}"]

    def environment(self) -> dict[str, str]:
        """This process's environment, without the engine's settings, plus the given ones."""
        own = {name: text for name, text in os.environ.items() if not name.startswith(SETTINGS)}
        return own | self._settings

    def is_ready(self) -> bool:
        """Whether `/readyz` reports that every component is available."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def migrate(self) -> None:
        """Creates the engine's tables.

        Raises:
            BenchError: the command failed; the message contains its output.
        """
        done = subprocess.run(
            [str(self._program), "migrate"],
            env=self.environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise BenchError(f"order-engine migrate failed: {done.stdout}{done.stderr}")


def version() -> str:
    """Returns the version that the installed engine reports."""
    done = subprocess.run([str(PROGRAM), "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def profile() -> str:
    """Returns the Cargo profile of the installed wheel, from the Makefile's stamp file."""
    stamps = sorted(Path(sys.prefix).glob(".wheel-*"))
    return ", ".join(stamp.name.removeprefix(".wheel-") for stamp in stamps) or "unknown"
