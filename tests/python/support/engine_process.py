"""An engine started with `order-engine serve`."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.python.support.http_process import HttpProcess
from tests.services import Workspace

COMMAND_TIMEOUT_S = 60.0


# Tests compare logs: a rejected request must not be an error. A line per failed request would be
# the only difference.
QUIET = {"ORDER_ENGINE_SHUTDOWN_DELAY_SECONDS": "0", "ORDER_ENGINE_LOG_REQUESTS": "off"}


class EngineProcess(HttpProcess):
    """`order-engine serve` on its own port, which is the same after a restart."""

    NAME = "engine"
    READY_PATH = "/readyz"

    def __init__(
        self, workspace: Workspace, folder: Path, env: Mapping[str, str], *arguments: str
    ) -> None:
        """Picks the port and a secret; `arguments` are added to the command line."""
        # No load balancer has to notice the shutdown.
        super().__init__(workspace, folder, {**QUIET, **env})
        self._arguments = arguments

    def command_line(self) -> list[str]:
        """The command line of the server in the foreground."""
        command = [sys.executable, "-m", "order_engine", "serve", "--host", "127.0.0.1"]
        return [*command, "--port", str(self.port), *self._arguments]

    def command(self, *arguments: str) -> str:
        """Runs an `order-engine` command with this engine's settings; returns its output.

        Raises:
            AssertionError: it failed; the message contains its output.
        """
        done = subprocess.run(
            [sys.executable, "-m", "order_engine", *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout
