"""A private PostgreSQL, with durability on, as a server in the field has it."""

import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tests.services.errors import MissingServiceError, ServiceError
from tests.services.service import Service, tail
from tests.services.workspace import Workspace

OLDEST_VERSION = 15
# Differs from the engine's schema: a user's own schema precedes that of the old tables.
USER = "shopkeeper"
CLIENT_TIMEOUT_S = 60.0


class PostgreSQL(Service):
    """The newest installed PostgreSQL, on a data directory of its own."""

    name = "PostgreSQL"
    # Fast shutdown: connections are closed, data is written.
    stop_signal = signal.SIGINT

    def __init__(self, workspace: Workspace) -> None:
        """Creates an empty cluster.

        Raises:
            MissingServiceError: PostgreSQL is not installed, or too old.
            ServiceError: `initdb` failed; its output is in the message.
        """
        self.binaries = find_binaries()
        super().__init__(workspace)
        self.password = secrets.token_hex(12)
        self._data = self.folder / "data"
        self._databases = 0
        if os.geteuid() == 0:
            self.user = _unprivileged_user()
        self._make_cluster()

    @property
    def url(self) -> str:
        """The maintenance database; tests use one from `create_database`."""
        return self._url("postgres")

    def command(self) -> Sequence[str]:
        """The server process, with TCP only."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
        }
        options = [f"--{key}={value}" for key, value in settings.items()]
        return [str(self.binaries / "postgres"), "-D", str(self._data), *options]

    def environment(self) -> dict[str, str]:
        """Without variables that redirect PostgreSQL's programs; messages in English."""
        own = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        return own | {"LC_ALL": "C", "PGPASSWORD": self.password}

    def is_ready(self) -> bool:
        """Whether `pg_isready` reports that the server accepts connections."""
        return self._client("pg_isready", "--timeout=5").returncode == 0

    def create_database(self, copy_of: str | None = None) -> str:
        """Creates a database and returns its URL.

        It is empty, or a copy of another one, to which no client is connected.
        """
        self._databases += 1
        name = f"test_{os.getpid()}_{self._databases}"
        template = "" if copy_of is None else f' TEMPLATE "{_database(copy_of)}"'
        self._sql(f'CREATE DATABASE "{name}"{template}')
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Drops a database and closes the connections to it."""
        self._sql(f'DROP DATABASE IF EXISTS "{_database(url)}" WITH (FORCE)')

    def synchronise_with(self, *standbys: "Standby") -> None:
        """Makes every commit wait until one of these standbys has written it to disk."""
        names = ", ".join(standby.called for standby in standbys)
        self._sql(f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({names})'")
        self._sql("SELECT pg_reload_conf()")

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def _sql(self, statement: str) -> str:
        options = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--dbname=postgres")
        done = self._client("psql", *options, "-c", statement)
        if done.returncode != 0:
            raise ServiceError(self._failure(f"refused {statement}: {done.stderr.strip()}"))
        return done.stdout.strip()

    def _client(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                str(self.binaries / program),
                "--host=127.0.0.1",
                f"--port={self.port}",
                f"--username={USER}",
                *arguments,
            ],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=CLIENT_TIMEOUT_S,
            check=False,
        )

    def _make_cluster(self) -> None:
        self._data.mkdir(mode=0o700)
        password_file = self.folder / "password"
        password_file.write_text(self.password)
        if self.user is not None:
            for path in (self.folder, self._data, password_file):
                shutil.chown(path, self.user)
        initdb = self._workspace.spawn(
            [
                str(self.binaries / "initdb"),
                f"--pgdata={self._data}",
                f"--username={USER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                # Only a temporary folder is lost if the machine stops here.
                "--no-sync",
            ],
            log=self.log,
            env=self.environment(),
            user=self.user,
        )
        if initdb.wait(CLIENT_TIMEOUT_S) != 0:
            raise ServiceError(f"initdb failed in {self._data}:\n{tail(self.log, 40)}")


class Standby(PostgreSQL):
    """A replica of another server, until it is promoted."""

    def __init__(self, workspace: Workspace, primary: PostgreSQL, called: str) -> None:
        """Copies a running primary.

        Args:
            workspace: Ends the process.
            primary: The server to replicate.
            called: The standby's application name.
        """
        self.called = called
        self._primary = primary
        super().__init__(workspace)
        self.password = primary.password

    def received(self) -> int:
        """The replay position, in bytes."""
        return int(self._sql("SELECT pg_last_wal_receive_lsn() - '0/0'::pg_lsn"))

    def promote(self) -> None:
        """Promotes the standby; returns once it accepts writes."""
        self._sql("SELECT pg_promote(true)")

    def follow(self, primary: PostgreSQL) -> None:
        """Follows another primary, such as a promoted standby."""
        connection = self._connection_to(primary)
        self._sql(f"ALTER SYSTEM SET primary_conninfo = '{connection}'")
        self._sql("SELECT pg_reload_conf()")

    def _connection_to(self, primary: PostgreSQL) -> str:
        return (
            f"host=127.0.0.1 port={primary.port} user={USER} password={primary.password}"
            f" application_name={self.called}"
        )

    def _make_cluster(self) -> None:
        if self.user is not None:
            shutil.chown(self.folder, self.user)
        copy = self._workspace.spawn(
            [
                str(self.binaries / "pg_basebackup"),
                f"--dbname={self._connection_to(self._primary)}",
                f"--pgdata={self._data}",
                "--wal-method=stream",
                "--checkpoint=fast",
                "--write-recovery-conf",
                "--no-sync",
            ],
            log=self.log,
            env=self.environment(),
            user=self.user,
        )
        if copy.wait(CLIENT_TIMEOUT_S) != 0:
            raise ServiceError(f"pg_basebackup failed in {self._data}:\n{tail(self.log, 40)}")


def find_binaries() -> Path:
    """Returns the folder with the programs of the newest installed PostgreSQL.

    Raises:
        MissingServiceError: there is none, or none that is new enough.
    """
    candidates = [*Path("/usr/lib/postgresql").glob("*/bin")]
    if on_path := shutil.which("postgres"):
        candidates.append(Path(on_path).resolve().parent)
    if pg_config := shutil.which("pg_config"):
        output = subprocess.run(
            [pg_config, "--bindir"], capture_output=True, text=True, check=False
        )
        candidates.append(Path(output.stdout.strip()))
    versions = {_version(folder): folder for folder in candidates}
    newest = max(versions, default=0)
    if newest < OLDEST_VERSION:
        found = f"only PostgreSQL {newest}" if newest else "no PostgreSQL server"
        raise MissingServiceError(
            f"{found} is installed, {OLDEST_VERSION} or newer is needed: "
            "`python3 -m tests.services install` installs the package `postgresql`"
        )
    return versions[newest]


def _database(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _version(binaries: Path) -> int:
    programs = [binaries / name for name in ("postgres", "initdb", "psql", "pg_isready")]
    if not all(os.access(program, os.X_OK) for program in programs):
        return 0
    output = subprocess.run([programs[0], "--version"], capture_output=True, text=True, check=False)
    number = re.search(r"\(PostgreSQL\) (\d+)", output.stdout)
    return int(number[1]) if number else 0


def _unprivileged_user() -> str:
    # The server refuses to run as root.
    users = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"
