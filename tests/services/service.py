"""What every private server has in common: start, stop, kill, restart, and a log to show."""

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.services.errors import ServiceError
from tests.services.ports import free_port
from tests.services.processes import kill_tree
from tests.services.workspace import Workspace

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.02


class Service(ABC):
    """A server on a loopback port, which is the same after a restart."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, workspace: Workspace) -> None:
        """Creates the folder and picks the port; starts nothing."""
        self.port = free_port()
        self.folder = workspace.folder / f"{self.name.lower()}-{self.port}"
        self.folder.mkdir()
        self.log = self.folder / "server.log"
        self.log.touch()
        self.user: str | None = None
        self._workspace = workspace
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL for clients; contains a password."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """The command line of the server in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server answers."""

    @property
    def pid(self) -> int:
        """The first of its processes.

        Raises:
            ServiceError: it is not running.
        """
        if self._process is None:
            raise ServiceError(f"{self.name} does not run")
        return self._process.pid

    def environment(self) -> dict[str, str]:
        """The server's environment: this process's, without variables that would redirect it."""
        return dict(os.environ)

    def start(self) -> None:
        """Starts the server and returns once it answers; does nothing if it is running.

        Raises:
            ServiceError: it ended or did not answer in time; the end of its log is in the message.
        """
        if self.is_running():
            return
        self._process = self._workspace.spawn(
            self.command(),
            log=self.log,
            env=self.environment(),
            user=self.user,
            stop_signal=self.stop_signal,
        )
        self._wait_until_ready()

    def stop(self) -> None:
        """Stops the server cleanly; does nothing if it is not running.

        Raises:
            ServiceError: it did not stop in time, and was killed.
        """
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServiceError(self._failure(f"did not stop in {STOP_TIMEOUT_S:g} s")) from None
        self._process = None

    def kill(self) -> None:
        """Kills the server and its children with SIGKILL, as a power cut would."""
        if self._process is None:
            return
        kill_tree(self._process.pid, STOP_TIMEOUT_S)
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stops the server cleanly and starts it again on the same port."""
        self.stop()
        self.start()

    def is_running(self) -> bool:
        """Whether the server's process exists."""
        return self._process is not None and self._process.poll() is None

    def log_tail(self, lines: int = 40) -> str:
        """Returns the last lines of the server's output."""
        return tail(self.log, lines)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.is_ready():
            if not self.is_running():
                raise ServiceError(self._failure("ended while starting"))
            if time.monotonic() > deadline:
                raise ServiceError(self._failure(f"does not answer after {START_TIMEOUT_S:g} s"))
            time.sleep(POLL_INTERVAL_S)

    def _failure(self, what: str) -> str:
        return f"{self.name} on 127.0.0.1:{self.port} {what}; its log ends with\n{self.log_tail()}"


def tail(log: Path, lines: int) -> str:
    """Returns the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
