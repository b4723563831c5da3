"""A temporary folder with the processes started in it; neither outlives the owning process."""

import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.services import watchdog

# Removing the databases of a run means gigabytes, and the disk may be busy.
CLOSE_TIMEOUT_S = 120.0


class Workspace:
    """Starts processes and ensures that they end.

    `close` (or leaving the `with` block) ends them and removes the folder. If the owning process is
    killed, a watchdog does the same.
    """

    def __init__(self) -> None:
        """Creates the folder and starts the watchdog."""
        self.folder = Path(tempfile.mkdtemp(prefix="order-engine-services-"))
        # Servers that run as another user need access to their folders inside.
        self.folder.chmod(0o711)
        self._processes: list[subprocess.Popen[bytes]] = []
        read_end, self._pipe = os.pipe()
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__, str(self.folder)],
            stdin=read_end,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            # A signal to the owner's process group must not reach the watchdog.
            start_new_session=True,
        )
        os.close(read_end)

    def spawn(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> subprocess.Popen[bytes]:
        """Starts `command` in the folder of `log` and appends its output to `log`.

        `user` is the account to run as (default: the current one); `stop_signal` ends it cleanly.
        """
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=log.parent,
                user=user,
                group=None if user is None else pwd.getpwnam(user).pw_gid,
                extra_groups=None if user is None else [],
                # Ctrl-C is for the tests; the servers are stopped after them.
                start_new_session=True,
            )
        self.watch(process, stop_signal)
        return process

    def watch(self, process: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
        """Registers a process to be stopped when this one ends."""
        self._processes.append(process)
        os.write(self._pipe, f"{process.pid} {stop_signal}\n".encode())

    def close(self) -> None:
        """Stops all processes and removes the folder."""
        os.close(self._pipe)
        for process in [self._watchdog, *self._processes]:
            process.wait(CLOSE_TIMEOUT_S)

    def __enter__(self) -> "Workspace":
        """Returns itself; the folder exists already."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Closes."""
        self.close()
