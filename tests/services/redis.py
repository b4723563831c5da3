"""A private Redis that keeps nothing on disk, as a cache does, or everything, as for jobs."""

import secrets
import shutil
import socket
from collections.abc import Sequence
from itertools import islice

from tests.services.errors import MissingServiceError
from tests.services.service import Service
from tests.services.workspace import Workspace


class Redis(Service):
    """The installed `redis-server`; a restart loses its keys, unless `keeps` is set."""

    name = "Redis"

    def __init__(self, workspace: Workspace, *, keeps: bool = False) -> None:
        """Writes the configuration.

        Raises:
            MissingServiceError: Redis is not installed.
        """
        self._program = find_program()
        super().__init__(workspace)
        self.password = secrets.token_hex(12)
        self._settings = self.folder / "redis.conf"
        self._settings.write_text(
            f"bind 127.0.0.1\nport {self.port}\nrequirepass {self.password}\n"
            f'dir {self.folder}\nsave ""\nappendonly {"yes" if keeps else "no"}\n'
            "maxmemory-policy noeviction\n"
        )

    @property
    def url(self) -> str:
        """The database 0."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        """The server with a settings file, which keeps the password out of `ps`."""
        return [self._program, str(self._settings)]

    def is_ready(self) -> bool:
        """Whether the server answers PING."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as answers:
                    return [*islice(answers, 2)] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False


def find_program() -> str:
    """Returns the path of `redis-server`.

    Raises:
        MissingServiceError: it is not installed.
    """
    if program := shutil.which("redis-server"):
        return program
    raise MissingServiceError(
        "redis-server is not installed: `python3 -m tests.services install` installs the package"
    )
