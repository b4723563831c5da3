"""A private RabbitMQ node with an epmd of its own."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from tests.services.errors import MissingServiceError, ServiceError
from tests.services.ports import free_port
from tests.services.service import POLL_INTERVAL_S, Service
from tests.services.workspace import Workspace

USER = "order_engine"
CALL_TIMEOUT_S = 60.0
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
# A node that is killed while it rewrites its definitions may lose a confirmed one. It rewrites them
# at its start, and later only after this many changes or milliseconds.
REWRITING = """
[{mnesia, [
    {dump_log_write_threshold, 1000000000},
    {dump_log_time_threshold, 1000000000}
]}].
"""


class Programs(NamedTuple):
    """The broker's start script, and two programs of Erlang."""

    server: str
    epmd: str
    erl_call: str


class RabbitMQ(Service):
    """The installed RabbitMQ; a restart loses what is not durable."""

    name = "RabbitMQ"

    def __init__(self, workspace: Workspace, beside: "RabbitMQ | None" = None) -> None:
        """Writes the configuration.

        Args:
            workspace: Ends the process.
            beside: A running node whose cluster this one joins at its first start.

        Raises:
            MissingServiceError: RabbitMQ is not installed.
        """
        self._programs = find_programs()
        super().__init__(workspace)
        self.password: str = beside.password if beside else secrets.token_hex(12)
        self.node = f"order-engine-{self.port}@localhost"
        self._beside = beside
        self._epmd: subprocess.Popen[bytes] | None = None
        self.epmd_port: int = beside.epmd_port if beside else free_port()
        self._distribution_port = free_port()
        self._vhosts = 0
        self._write_settings()

    @property
    def url(self) -> str:
        """The default virtual host; tests use one from `create_vhost`."""
        return self._url("/")

    def command(self) -> Sequence[str]:
        """The node itself, without a shell that would catch signals."""
        return [self._programs.server, "-noinput"]

    def environment(self) -> dict[str, str]:
        """Every folder, port and name is private; nothing of /etc/rabbitmq is read."""
        own = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("RABBITMQ_", "ERL_"))
        }
        return own | {
            "HOME": str(self.folder),
            "ERL_CRASH_DUMP": str(self.folder / "erl_crash.dump"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.epmd_port),
            # The start script becomes the node instead of waiting for it.
            "RABBITMQ_ALLOW_INPUT": "true",
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced.config"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(self.folder / "conf.d"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_PID_FILE": str(self.folder / "rabbitmq.pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
            ),
        }

    def is_ready(self) -> bool:
        """Whether the broker sends Connection.Start, which it does once it has started."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(PROTOCOL_HEADER)
                # Connection.Start is a frame of type 1; a refusing broker sends its header or
                # disconnects.
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def start(self) -> None:
        """Starts the node, and before the first node of a cluster its epmd, which keeps running."""
        is_there = self._epmd is not None and self._epmd.poll() is None
        if not is_there and self._beside is None:
            self._start_epmd()
        super().start()

    def create_vhost(self) -> str:
        """Creates an empty virtual host and returns its URL."""
        self._vhosts += 1
        name = f"test-{os.getpid()}-{self._vhosts}"
        self._evaluate(
            f'ok = rabbit_vhost:add(<<"{name}">>, <<"tests">>),'
            "rabbit_auth_backend_internal:set_permissions("
            f'<<"{USER}">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>).\n'
        )
        return self._url(name)

    def limit(self, url: str, missing: str) -> None:
        """Takes a right, `configure`, `write` or `read`, from the user of a virtual host."""
        name = unquote(urlsplit(url).path.removeprefix("/"))
        rights = ", ".join(
            '<<"^$">>' if right == missing else '<<".*">>'
            for right in ("configure", "write", "read")
        )
        self._evaluate(
            "ok = rabbit_auth_backend_internal:set_permissions("
            f'<<"{USER}">>, <<"{name}">>, {rights}, <<"tests">>).\n'
        )

    def delete_vhost(self, url: str) -> None:
        """Deletes a virtual host and closes the connections to it."""
        name = urlsplit(url).path.removeprefix("/")
        self._evaluate(f'rabbit_vhost:delete(<<"{name}">>, <<"tests">>).\n')

    def _url(self, vhost: str) -> str:
        return f"amqp://{USER}:{self.password}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def _evaluate(self, expression: str) -> None:
        # `rabbitmqctl` starts an Erlang VM for each call; this takes milliseconds.
        done = subprocess.run(
            [self._programs.erl_call, "-n", self.node, "-e"],
            input=expression,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=CALL_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0 or done.stdout.strip() != "{ok, ok}":
            answer = f"{done.stdout} {done.stderr}".strip()
            raise ServiceError(self._failure(f"refused {expression} with {answer}"))

    def _write_settings(self) -> None:
        (self.folder / "conf.d").mkdir()
        (self.folder / "advanced.config").write_text(REWRITING)
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "rabbitmq-env.conf").touch()
        # The nodes of a cluster authenticate each other with a shared secret.
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(self.password)
        cookie.chmod(0o400)
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "loopback_users = none\n"
            f"default_user = {USER}\n"
            f"default_pass = {self.password}\n"
            # Everything is written to standard output, and so to one log.
            "log.console = true\n"
            "log.console.use_colors = off\n"
            "log.file = false\n"
            # A nearly full disk must not silently block the publishers of a test.
            "disk_free_limit.absolute = 1MB\n"
        )
        if self._beside is not None:
            with (self.folder / "rabbitmq.conf").open("a") as settings:
                settings.write(f"cluster_formation.classic_config.nodes.1 = {self._beside.node}\n")

    def _start_epmd(self) -> None:
        self._epmd = self._workspace.spawn(
            [self._programs.epmd, "-port", str(self.epmd_port), "-address", "127.0.0.1"],
            log=self.log,
            env=self.environment(),
            stop_signal=signal.SIGKILL,
        )
        deadline = time.monotonic() + CALL_TIMEOUT_S
        while not _listens(self.epmd_port):
            if self._epmd.poll() is not None or time.monotonic() > deadline:
                raise ServiceError(self._failure(f"has no epmd on port {self.epmd_port}"))
            time.sleep(POLL_INTERVAL_S)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def find_programs() -> Programs:
    """Returns the paths of RabbitMQ's and Erlang's programs.

    Raises:
        MissingServiceError: RabbitMQ or Erlang is not installed.
    """
    # The script on Debian's PATH accepts only root and its own user, and writes to /var/log: use
    # the script that it calls.
    packaged = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    server = str(packaged) if packaged.exists() else shutil.which("rabbitmq-server")
    epmd, erl_call = shutil.which("epmd"), shutil.which("erl_call")
    if server is None or epmd is None or erl_call is None:
        raise MissingServiceError(
            "RabbitMQ is not installed, or Erlang's epmd and erl_call are not:"
            " `python3 -m tests.services install` installs the package `rabbitmq-server`"
        )
    return Programs(server, epmd, erl_call)
