"""The embedded PostgreSQL: a server started on demand, shared by the processes of a folder.

The first process that needs the server starts it. Later processes join it, and the last one to
leave stops it. Data is stored below the given folder and is as durable as that of any PostgreSQL.
Root runs the server as another user (see `postgres_install`).

Files in `<folder>/postgres`:

- `lock`: locked while a process starts, joins or leaves the server.
- `users`: every process that uses the server holds a shared lock on it. A process that can lock it
  exclusively is the only user. The kernel releases the locks of a process that dies.
- `alive`: a FIFO that every user keeps open for writing. A guard, a small shell beside the server,
  reads it. When all users have died, even by SIGKILL, the guard reads its end and stops the server.
- `data`, `password`, `port`, `server.log`: those of the server. The port is reused by the next
  start, so that the URL stays the same.

The server's working directory is its data folder, which it calls `/proc/self/cwd`. The kernel
resolves this name without walking the path, so the server's user needs no access to the folders
above, such as root's home. The server runs in its own session, so that Ctrl-C does not reach it:
the engine still needs the database to finish its work.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from order_engine import postgres_install, state
from order_engine.exceptions import Misconfigured, OrderEngineError, Unavailable
from order_engine.postgres_install import MAJOR_VERSION, Account

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

HOST = "127.0.0.1"
SUPERUSER = "order_engine"
# Starting may include recovery after a crash; stopping may include writing a full cache.
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
LOCK_TIMEOUT_S = START_TIMEOUT_S + STOP_TIMEOUT_S
JOIN_TIMEOUT_S = 1.0
POLL_INTERVAL_S = 0.01
# Another program may take a port between its choice and its use.
PORT_ATTEMPTS = 3

WORKING_DIRECTORY = Path("/proc/self/cwd")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

JOINED = b"joined\n"
# The guard reads one line per user that joins. At the end of input it stops the server, unless the
# server has already removed its pid file. The outer subshell detaches the guard: PostgreSQL treats
# the death of an unknown child as the crash of one of its own.
START_WITH_GUARD = """
exec 3<&0 </dev/null
( (
  while read -r _ <&3; do :; done
  exec 3<&-
  read -r pid <postmaster.pid && [ "$pid" = $$ ] && kill -INT $$
) >/dev/null 2>&1 & )
exec 3<&-
exec "$@"
"""

# Servers that were started here and outlive their use here, so that Popen does not warn about them.
_outliving: list[subprocess.Popen[bytes]] = []


class EmbeddedPostgres:
    """The PostgreSQL server of a folder, shared with other processes.

    The server runs until the last process that has started it here calls `stop` or ends.

    Args:
        directory: The folder for data and secrets; created if missing.
        parameters: PostgreSQL configuration parameters, applied if this call starts the server.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] = state.DEFAULT_FOLDER,
        parameters: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = Path(directory)
        self._parameters = dict(parameters or {})
        self._running: ExitStack | None = None
        self._url = ""

    def start(self) -> str:
        """Start or join the server, and wait until it accepts connections.

        The first start in a folder creates the database, which takes a few seconds.

        Returns:
            The URL of the database, with its password. A second call returns it again.

        Raises:
            Misconfigured: The extra `embedded` is not installed, the folder cannot be used, or its
                data was written by another version of PostgreSQL.
            Unavailable: The server does not start; the message contains the end of its log.
        """
        if self._running is None:
            with ExitStack() as started:
                self._url = self._start(started)
                self._running = started.pop_all()
        return self._url

    def stop(self) -> None:
        """Leave the server; the last user stops it and waits for its end. Safe to repeat."""
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
            server = _Server(folder, Account.for_data(folder / "data"), self._parameters)
            port = started.enter_context(server.use())
            password = (folder / "password").read_text().strip()
        except OSError as error:
            raise Misconfigured(
                f"The database folder {folder} cannot be used: {error}. "
                "Start as its owner, use another folder, or set DATABASE_URL."
            ) from error
        return f"postgresql://{SUPERUSER}:{password}@{HOST}:{port}/postgres"


class _Server:
    """The server of a folder, and this process's use of it."""

    def __init__(self, folder: Path, account: Account, parameters: Mapping[str, str]) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._account = account
        self._parameters = parameters
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def use(self) -> Iterator[int]:
        """Use the server, starting it if it is not running; yields its port."""
        with ExitStack() as held:
            with _exclusive(self._folder):
                users = held.enter_context((self._folder / "users").open("a"))
                alive = self._join(users.fileno())
                if alive is None:
                    alive = self._start()
                held.callback(os.close, alive)
                port = int((self._folder / "port").read_text())
            owner = os.getpid()
            try:
                yield port
            finally:
                # After a fork the child shares the locks; only the process that took them leaves.
                if os.getpid() == owner:
                    self._leave(users.fileno())

    def _join(self, users: int) -> int | None:
        """Join a running server that has users; returns the write end of its FIFO."""
        is_unused = _try_lock(users)
        fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if is_unused or not _works_in(_postmaster_pid(self._data), self._data):
            return None
        return _join_guard(self._folder / "alive")

    def _start(self) -> int:
        """Start the server; returns the write end of its FIFO."""
        programs = postgres_install.programs_for(self._account)
        _prepare_data(self._folder, self._account, programs)
        _stop_orphan(self._data)
        log = self._folder / "server.log"
        if log.exists():
            log.rename(self._folder / "server.log.previous")
        for attempt in range(1, PORT_ATTEMPTS + 1):
            port = _free_port(self._folder / "port")
            process, alive = self._launch(programs, port)
            try:
                _wait_until_ready(process, self._data, log)
            except BaseException as error:
                _shut_down(process.pid, self._data, process)
                os.close(alive)
                is_taken = "could not bind" in log.read_text()
                if isinstance(error, OrderEngineError) and is_taken and attempt < PORT_ATTEMPTS:
                    continue
                raise
            (self._folder / "port").write_text(f"{port}\n")
            self._process = process
            return alive
        raise AssertionError("the last attempt returns or raises")

    def _launch(self, programs: Path, port: int) -> tuple[subprocess.Popen[bytes], int]:
        parameters = {
            "cluster_name": "order-engine",  # Shown by ps.
            **self._parameters,
            "listen_addresses": HOST,
            "port": port,
            "unix_socket_directories": "",
        }
        read_end, alive = _open_fifo(self._folder / "alive")
        with (
            os.fdopen(read_end, "rb") as guard_input,
            (self._folder / "server.log").open("ab") as log,
        ):
            process = subprocess.Popen(
                [
                    *("/bin/sh", "-c", START_WITH_GUARD, "sh"),
                    programs / "postgres",
                    *("-D", _data_argument(self._data)),
                    *(f"--{name}={value}" for name, value in parameters.items()),
                ],
                cwd=self._data,
                env=ENVIRONMENT,
                stdin=guard_input,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._account.process_arguments(),
            )
        return process, alive

    def _leave(self, users: int) -> None:
        """Stop the server if no other process uses it."""
        with _exclusive(self._folder):
            if _try_lock(users):
                _shut_down(_postmaster_pid(self._data), self._data, self._process)
            if self._process is not None and self._process.poll() is None:
                _outliving.append(self._process)
            # Released before the folder's lock, so that the next process can use the server.
            fcntl.flock(users, fcntl.LOCK_UN)


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that processes start, join and leave one after another."""
    with (folder / "lock").open("a") as file:
        _wait_until(
            lambda: _try_lock(file.fileno()),
            LOCK_TIMEOUT_S,
            f"The PostgreSQL in {folder} is still being started or stopped by another process "
            f"after {LOCK_TIMEOUT_S:.0f} s. Stop that process",
        )
        yield


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _open_fifo(path: Path) -> tuple[int, int]:
    """Create the FIFO if needed and open both ends."""
    with suppress(FileExistsError):
        os.mkfifo(path, 0o600)
    read_end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_end = os.open(path, os.O_WRONLY)
    os.set_blocking(read_end, True)
    return read_end, write_end


def _join_guard(path: Path) -> int | None:
    """Register with the guard; returns the write end of the FIFO, or None if the guard is gone.

    The guard has accepted the registration once it has read the line. A guard that is about to
    stop the server does not read any more.
    """
    try:
        alive = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None
    deadline = time.monotonic() + JOIN_TIMEOUT_S
    with suppress(OSError):
        os.write(alive, JOINED)
        while time.monotonic() < deadline:
            (unread,) = struct.unpack("i", fcntl.ioctl(alive, termios.FIONREAD, b"\0" * 4))
            if unread == 0:
                return alive
            time.sleep(POLL_INTERVAL_S / 10)
    os.close(alive)
    return None


def _prepare_data(folder: Path, account: Account, programs: Path) -> None:
    """Create the data folder if it is missing, and check that it can be used."""
    data = folder / "data"
    password_file = folder / "password"
    if not data.exists():
        _initialise(data, account, programs, state.secret(password_file))
    version = (data / "PG_VERSION").read_text().strip()
    if version != MAJOR_VERSION:
        raise Misconfigured(
            f"The database in {data} was written by PostgreSQL {version}; this version is "
            f"{MAJOR_VERSION}. Migrate it with pg_dump {version}, or use another folder."
        )
    if not password_file.exists():
        raise Misconfigured(
            f"The password file of the database in {data} is missing: {password_file}. "
            f"Restore it, or remove {folder} to start with an empty database."
        )


def _initialise(data: Path, account: Account, programs: Path, password: str) -> None:
    """Create an empty database, which is renamed into place once it is complete."""
    unfinished = data.with_name("data.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if account.is_other:
        os.chown(unfinished, account.uid, account.gid)
    # An unnamed file, which the account can open through its inherited descriptor.
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
                # PostgreSQL's own Unicode rules do not depend on the operating system's version.
                *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            ],
            cwd=unfinished,
            env=ENVIRONMENT,
            pass_fds=[password_file.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **account.process_arguments(),
        )
    if initdb.returncode != 0:
        raise _unavailable(f"The database in {data} cannot be created", initdb.stdout)
    unfinished.rename(data)
    state.sync_folder(data.parent)


def _postmaster_pid(data: Path) -> int | None:
    """Return the process id in the server's pid file; the process may be gone."""
    try:
        return int((data / "postmaster.pid").read_text().split(maxsplit=1)[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _stop_orphan(data: Path) -> None:
    """Stop a server without users: its guard was killed together with them.

    PostgreSQL detects a stale pid file by itself, unless the process id is in use again.
    """
    pid = _postmaster_pid(data)
    if pid is None:
        return
    if _works_in(pid, data):
        _shut_down(pid, data, None)
    elif Path(f"/proc/{pid}").exists():
        (data / "postmaster.pid").unlink()


def _works_in(pid: int | None, data: Path) -> bool:
    """Return whether the process is a server of this data folder; false for a zombie."""
    if pid is None:
        return False
    try:
        if not WORKING_DIRECTORY.exists():  # Without /proc any process with this id counts.
            os.kill(pid, 0)
            return True
        return Path(f"/proc/{pid}/cwd").readlink() == data
    except OSError:
        return False


def _free_port(port_file: Path) -> int:
    """Return the port of the previous run, or any free port if it is taken."""
    previous = 0
    with suppress(FileNotFoundError, ValueError):
        previous = int(port_file.read_text())
    for port in (previous, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except (OSError, OverflowError):
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise Misconfigured(f"No TCP port is free on {HOST} for the embedded PostgreSQL.")


def _shut_down(pid: int | None, data: Path, process: subprocess.Popen[bytes] | None) -> None:
    """Stop the server: fast shutdown, then immediate shutdown, then SIGKILL."""

    def is_stopped() -> bool:
        if process is not None and process.pid == pid:
            return process.poll() is not None
        return not _works_in(pid, data)

    if pid is None or is_stopped():
        return
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        with suppress(Unavailable):
            _wait_until(is_stopped, STOP_TIMEOUT_S, f"PostgreSQL (process {pid}) does not stop")
            return


def _wait_until_ready(process: subprocess.Popen[bytes], data: Path, log: Path) -> None:
    _wait_until(
        lambda: process.poll() is not None or _is_ready(data, process.pid),
        START_TIMEOUT_S,
        f"PostgreSQL is not ready after {START_TIMEOUT_S:.0f} s. See {log}",
    )
    if process.poll() is not None:
        raise _unavailable(f"PostgreSQL does not start (see {log})", log.read_text())


def _is_ready(data: Path, pid: int) -> bool:
    """Return whether the pid file is that of the process and its status is `ready`."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except FileNotFoundError:
        return False
    return lines[0] == str(pid) and "ready" in map(str.strip, lines)


def _wait_until(condition: Callable[[], bool], timeout_s: float, failure: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise _unavailable(failure, "")
        time.sleep(POLL_INTERVAL_S)


def _unavailable(what: str, output: str) -> Unavailable:
    end = "".join(f"\n  {line}" for line in output.strip().splitlines()[-5:])
    return Unavailable(f"{what}.{end}", {"component": "postgresql"})


def _data_argument(data: Path) -> str:
    return str(WORKING_DIRECTORY if WORKING_DIRECTORY.exists() else data)
