"""A real PostgreSQL for an engine without one: started as a child, gone with its parent.

The data lie below the given folder and are as durable as those of any PostgreSQL. Root runs the
server as another user (see `postgres_install`). Three things are done in an unusual way:

- The server's data folder is its working directory, named `/proc/self/cwd`. The kernel looks
  that name up without walking the path, so that data below a private folder, such as root's
  home, can be used by the user the server runs as.
- A shell waits at a pipe whose other end this process holds. However this process ends, kill -9
  included, the kernel closes the pipe and the shell tells the server to shut down. (The kernel's
  own signal at a parent's death comes when the starting *thread* ends, and is Linux only.)
- The server has a session of its own: Ctrl-C reaches the engine, which needs the database to
  finish what is under way, and stops the server last.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from order_engine import postgres_install, state
from order_engine.exceptions import Misconfigured, OrderEngineError, Unavailable
from order_engine.postgres_install import MAJOR_VERSION, Account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import RawIOBase
    from types import TracebackType

HOST = "127.0.0.1"
SUPERUSER = "order_engine"
# A start may have to redo what a crash interrupted; a stop may have to write a full cache.
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_INTERVAL_S = 0.01
# A port may be taken between choosing and using it; nobody is that unlucky three times.
PORT_ATTEMPTS = 3

WORKING_DIRECTORY = Path("/proc/self/cwd")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

# Reading a line from the pipe means "stopped by its owner", its end means "the owner is gone".
# The inner shell is the server's neighbour, not its child: PostgreSQL wants to know its children.
START_WITH_GUARD = """
exec 3<&0 </dev/null
( (read -r _ <&3 || kill -INT $$) >/dev/null 2>&1 & )
exec 3<&-
exec "$@"
"""


class EmbeddedPostgres:
    """A PostgreSQL server with its data in a folder of yours.

    Once started it runs until `stop`, and no longer than this object and this process exist.

    Args:
        directory: Where everything is kept; made if missing. One server at a time may use it.
    """

    def __init__(self, directory: str | os.PathLike[str] = state.DEFAULT_FOLDER) -> None:
        self._directory = Path(directory)
        self._running: ExitStack | None = None
        self._url = ""

    def start(self) -> str:
        """Start the server, making the database on the first call, and wait until it answers.

        Returns:
            The URL of the database, with its password. A started server returns the same again.

        Raises:
            Misconfigured: The extra `embedded` is not installed, the folder is in use or cannot
                be used, or its data were written by another version.
            Unavailable: The server does not start; its last words are in the message.
        """
        if self._running is None:
            with ExitStack() as started:
                self._url = self._start(started)
                self._running = started.pop_all()
        return self._url

    def stop(self) -> None:
        """Shut the server down and wait until it is gone; again does nothing."""
        running, self._running = self._running, None
        if running is not None:
            running.close()

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self, started: ExitStack) -> str:
        folder = state.open_folder(self._directory) / "postgres"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            started.enter_context(_sole_user(folder))
            account = Account.for_data(folder / "data")
            programs = postgres_install.programs_for(account)
            password = _database(folder, account, programs)
            _stop_orphan(folder / "data")
            port = started.enter_context(_server(folder, account, programs))
        except OSError as error:
            raise Misconfigured(
                f"The database folder {folder} cannot be used: {error}. "
                "Start as the user it belongs to, use another folder, or set DATABASE_URL."
            ) from error
        return f"postgresql://{SUPERUSER}:{password}@{HOST}:{port}/postgres"


@contextmanager
def _sole_user(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which the kernel gives back however this process ends."""
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Misconfigured(
                f"The database in {folder} is in use by process {file.read().strip()}. "
                "Stop that one, start in another folder, or give both the same DATABASE_URL."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _database(folder: Path, account: Account, programs: Path) -> str:
    """Make the database unless it is there, and return the password of its superuser."""
    data = folder / "data"
    password_file = folder / "password"
    if not data.exists():
        _initialise(data, account, programs, state.secret(password_file))
    found = (data / "PG_VERSION").read_text().strip()
    if found != MAJOR_VERSION:
        raise Misconfigured(
            f"The database in {data} was written by PostgreSQL {found}, and this is "
            f"{MAJOR_VERSION}. Move it over with pg_dump of version {found}, or use another folder."
        )
    if not password_file.exists():
        raise Misconfigured(
            f"The password of the database in {data} is gone: {password_file} is missing. "
            f"Put it back, or remove {folder} to begin with an empty database."
        )
    return state.secret(password_file)


def _initialise(data: Path, account: Account, programs: Path, password: str) -> None:
    """Make an empty database that is either complete or not there at all."""
    unfinished = data.with_name("data.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if account.is_other:
        os.chown(unfinished, account.uid, account.gid)
    # A file without a name, which the account may open again through its descriptor.
    with tempfile.TemporaryFile() as password_file:
        password_file.write(password.encode())
        password_file.flush()
        password_file.seek(0)
        os.fchown(password_file.fileno(), account.uid, account.gid)
        initdb = subprocess.run(
            [
                programs / "initdb",
                *("-D", _data_argument(unfinished)),
                f"--username={SUPERUSER}",
                f"--pwfile=/dev/fd/{password_file.fileno()}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                # Unicode rules from PostgreSQL itself: the same on every machine, for ever.
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            ],
            cwd=unfinished,
            env=ENVIRONMENT,
            pass_fds=[password_file.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **account.process(),
        )
    if initdb.returncode != 0:
        raise _unavailable(f"The database in {data} cannot be made", initdb.stdout)
    unfinished.rename(data)
    state.sync_folder(data.parent)


def _stop_orphan(data: Path) -> None:
    """End a server that outlived its engine; the lock shows that nobody owns it.

    What is left of a server that is gone, PostgreSQL finds out by itself, unless its process
    number was given to another process in the meantime.
    """
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().split(maxsplit=1)[0])
    except (FileNotFoundError, IndexError, ValueError):
        return
    if not _works_in(pid, data):
        if Path(f"/proc/{pid}").exists():
            pid_file.unlink()
        return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    _wait_until(
        lambda: not _works_in(pid, data),
        STOP_TIMEOUT_S,
        f"A PostgreSQL left behind by an earlier run (process {pid}) does not stop. Stop it",
    )


def _works_in(pid: int, data: Path) -> bool:
    """Tell whether a process is a server of this data folder; a zombie works nowhere."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data
    except OSError:
        return False


@contextmanager
def _server(folder: Path, account: Account, programs: Path) -> Iterator[int]:
    """Run the server; gives the port it answers at."""
    log = folder / "server.log"
    if log.exists():
        log.rename(folder / "server.log.previous")
    port_file = folder / "port"
    for attempt in range(1, PORT_ATTEMPTS + 1):
        port = _free_port(port_file)
        with ExitStack() as starting:
            process = starting.enter_context(_process(folder, account, programs, port))
            try:
                _wait_until_ready(process, folder / "data", log)
            except OrderEngineError:
                if attempt == PORT_ATTEMPTS or "could not bind" not in log.read_text():
                    raise
                continue
            port_file.write_text(f"{port}\n")
            running = starting.pop_all()
        with running:
            yield port
        return


def _free_port(port_file: Path) -> int:
    """Choose the port of the run before, so that URLs stay the same, or any that is free."""
    remembered = 0
    with suppress(FileNotFoundError, ValueError):  # Nothing of value is lost with the file.
        remembered = int(port_file.read_text())
    for port in (remembered, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except (OSError, OverflowError):
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise Misconfigured(f"There is no free TCP port on {HOST} for the embedded PostgreSQL.")


@contextmanager
def _process(
    folder: Path, account: Account, programs: Path, port: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server's process, with the guard that ends it when this process ends."""
    settings = {
        "listen_addresses": HOST,
        "port": port,
        "unix_socket_directories": "",
        "cluster_name": "order-engine",  # Shown by ps.
    }
    read_end, write_end = os.pipe()
    with (
        os.fdopen(write_end, "wb", buffering=0) as guard,
        (folder / "server.log").open("ab") as log,
    ):
        with os.fdopen(read_end, "rb") as guarded:
            process = subprocess.Popen(
                [
                    *("/bin/sh", "-c", START_WITH_GUARD, "sh"),
                    programs / "postgres",
                    *("-D", _data_argument(folder / "data")),
                    *(f"--{name}={value}" for name, value in settings.items()),
                ],
                cwd=folder / "data",
                env=ENVIRONMENT,
                stdin=guarded,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **account.process(),
            )
        owner = os.getpid()
        try:
            yield process
        finally:
            if os.getpid() == owner:  # A fork of this process may end; the server is not its own.
                _shut_down(process)
                _dismiss(guard)


def _shut_down(process: subprocess.Popen[bytes]) -> None:
    """End the server: orderly, then at once (it recovers at the next start), then by force."""
    for how, timeout_s in (
        (signal.SIGINT, STOP_TIMEOUT_S),
        (signal.SIGQUIT, STOP_TIMEOUT_S),
        (signal.SIGKILL, None),
    ):
        process.send_signal(how)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            continue
        return


def _dismiss(guard: RawIOBase) -> None:
    """Let the guard go without a signal: the server's process number is free for others now."""
    with suppress(BrokenPipeError):
        guard.write(b"\n")


def _wait_until_ready(process: subprocess.Popen[bytes], data: Path, log: Path) -> None:
    _wait_until(
        lambda: process.poll() is not None or _is_ready(data, process.pid),
        START_TIMEOUT_S,
        f"PostgreSQL is not ready after {START_TIMEOUT_S:.0f} s. Look into {log}",
    )
    if process.poll() is not None:
        raise _unavailable(f"PostgreSQL does not start (see {log})", log.read_text())


def _is_ready(data: Path, pid: int) -> bool:
    """Read the file in which the server says how it is: its number first, its state last."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except FileNotFoundError:
        return False
    return lines[0] == str(pid) and "ready" in map(str.strip, lines)


def _wait_until(condition: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise _unavailable(otherwise, "")
        time.sleep(POLL_INTERVAL_S)


def _unavailable(what: str, output: str) -> Unavailable:
    last_words = "".join(f"\n  {line}" for line in output.strip().splitlines()[-5:])
    return Unavailable(f"{what}.{last_words}", {"component": "postgresql"})


def _data_argument(data: Path) -> str:
    return str(WORKING_DIRECTORY if WORKING_DIRECTORY.exists() else data)
