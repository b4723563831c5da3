"""A service that runs as a separate process and is reached over HTTP only."""

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import jwt

from tests.python.support.waiting import eventually
from tests.services import Workspace
from tests.services.ports import free_port

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 30.0
TOKEN_LIFE_S = 600
# What a server may see of the surroundings: nothing that could configure it.
INHERITED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR")


class HttpProcess:
    """A server on its own port, which is the same after a restart."""

    NAME = "server"
    """What messages and the log's name call it."""
    READY_PATH = "/"
    """What answers 200 as soon as it serves."""

    def __init__(self, workspace: Workspace, folder: Path, env: Mapping[str, str]) -> None:
        """Picks the port and a secret; starts nothing.

        Args:
            workspace: Ends the process if the tests are killed.
            folder: The working directory.
            env: Settings besides those of every server.
        """
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {key: os.environ[key] for key in INHERITED if key in os.environ}
        self.env |= {"JWT_SECRET_KEY": secrets.token_hex(32), **env}
        self.secret = self.env["JWT_SECRET_KEY"]
        self._log = folder / f"{self.NAME}-{self.port}.log"
        self._workspace = workspace
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None

    def command_line(self) -> list[str]:
        """What is typed to start it, in the foreground."""
        raise NotImplementedError

    @property
    def client(self) -> httpx.Client:
        """A client whose connections are kept; only while the server runs. Threads may share it."""
        assert self._client is not None, f"the {self.NAME} is not running"
        return self._client

    @property
    def pid(self) -> int:
        """The process id; only while it runs."""
        assert self._process is not None, f"the {self.NAME} is not running"
        return self._process.pid

    def start(self) -> None:
        """Starts the server and returns when its `READY_PATH` answers 200.

        Raises:
            AssertionError: it ended or was not ready in time; its log is in the message.
        """
        self.launch()
        try:
            eventually(self._is_ready, f"GET {self.url}{self.READY_PATH} is 200", START_TIMEOUT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def launch(self) -> None:
        """Starts the server without waiting, for tests of what it does until it is ready."""
        assert self._process is None, f"the {self.NAME} runs already"
        self._process = self._workspace.spawn(self.command_line(), log=self._log, env=self.env)
        # Ignore proxies of the environment.
        self._client = httpx.Client(base_url=self.url, timeout=REQUEST_TIMEOUT_S, trust_env=False)

    def stop(self) -> None:
        """Ends the server with SIGTERM, and checks that it ends cleanly.

        Raises:
            AssertionError: its exit code was not 0; its log is in the message.
        """
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        code = self.wait(STOP_TIMEOUT_S)
        assert code == 0, f"the {self.NAME} ended with exit code {code}\n{self.log()}"

    def kill(self) -> None:
        """Ends the server with SIGKILL, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self.wait(STOP_TIMEOUT_S)

    def wait(self, timeout_s: float) -> int:
        """Waits until the server has ended by itself; returns its exit code.

        Raises:
            AssertionError: it still ran after `timeout_s` seconds, and was killed.
        """
        assert self._process is not None, f"the {self.NAME} is not running"
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"still running after {timeout_s:g} s\n{self.log()}") from None
        finally:
            self._process = None
            self.client.close()
            self._client = None

    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """Everything the server has written, over all its starts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def token(self, user_id: int | str, **claims: object) -> str:
        """Mints a token as the user service does; `claims` override the usual ones."""
        usual = {"user_id": user_id, "exp": int(time.time()) + TOKEN_LIFE_S}
        return jwt.encode(usual | claims, self.secret, algorithm="HS256")

    def graphql(
        self,
        query: str,
        variables: Mapping[str, object] | None = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Posts a GraphQL request as JSON; without a token it carries no Authorization."""
        authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.client.post(
            "/graphql",
            json={"query": query} | ({} if variables is None else {"variables": variables}),
            headers=authorization | dict(headers or {}),
        )

    def _is_ready(self) -> bool:
        assert self.is_running(), f"the {self.NAME} ended while starting"
        try:
            return self.client.get(self.READY_PATH).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False
