"""Servers that accept TLS connections only, with certificates of a private authority."""

import shutil
import socket
import ssl
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

from tests.python.support.certificates import HOST
from tests.services import PostgreSQL, RabbitMQ, Redis, Workspace
from tests.services.rabbitmq import PROTOCOL_HEADER

TIMEOUT_S = 5.0
Files = tuple[Path, Path]


class SecretService(Protocol):
    """A server whose certificate can be changed."""

    def prove_with(self, files: Files) -> None:
        """Shows this certificate from now on; starts or restarts the server."""


def connected(port: int) -> ssl.SSLSocket:
    """A connection to a server of the tests, whose certificate is not looked at here."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection((HOST, port), timeout=TIMEOUT_S))


class SecretPostgreSQL(PostgreSQL):
    """PostgreSQL with TLS."""

    def __init__(self, workspace: Workspace) -> None:
        """Creates an empty cluster."""
        super().__init__(workspace)
        self._files = self.folder / "server.pem", self.folder / "server.key"

    def prove_with(self, files: Files) -> None:
        """As `SecretService.prove_with`."""
        self.stop()
        for given, own in zip(files, self._files, strict=True):
            shutil.copy(given, own)
            own.chmod(0o600)
            if self.user is not None:
                shutil.chown(own, self.user)
        self.start()

    def command(self) -> Sequence[str]:
        """The postmaster, with TLS."""
        certificate, key = self._files
        tls = ["--ssl=on", f"--ssl_cert_file={certificate}", f"--ssl_key_file={key}"]
        return [*super().command(), *tls]


class SecretRedis(Redis):
    """Redis with TLS."""

    def __init__(self, workspace: Workspace, authority: Path) -> None:
        """Writes the configuration."""
        super().__init__(workspace)
        self._plain = self._settings.read_text().replace(f"port {self.port}\n", "port 0\n")
        self._authority = authority

    @property
    def url(self) -> str:
        """The database 0, by TLS."""
        return super().url.replace("redis://", "rediss://")

    def prove_with(self, files: Files) -> None:
        """As `SecretService.prove_with`."""
        self.stop()
        certificate, key = files
        self._settings.write_text(
            f"{self._plain}tls-port {self.port}\ntls-cert-file {certificate}\n"
            f"tls-key-file {key}\ntls-ca-cert-file {self._authority}\ntls-auth-clients no\n"
        )
        self.start()

    def is_ready(self) -> bool:
        """Whether the server answers PING."""
        try:
            with connected(self.port) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as answers:
                    return [*islice(answers, 2)] == [b"+OK\r\n", b"+PONG\r\n"]
        except OSError:
            return False


class SecretRabbitMQ(RabbitMQ):
    """RabbitMQ with TLS."""

    def __init__(self, workspace: Workspace, authority: Path) -> None:
        """Writes the configuration."""
        super().__init__(workspace)
        self._authority = authority
        self._configuration = self.folder / "rabbitmq.conf"
        self._plain = self._configuration.read_text()

    @property
    def url(self) -> str:
        """The default virtual host, by TLS."""
        return super().url.replace("amqp://", "amqps://")

    def prove_with(self, files: Files) -> None:
        """As `SecretService.prove_with`."""
        self.stop()
        certificate, key = files
        listener = f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
        assert listener in self._plain
        self._configuration.write_text(
            "listeners.tcp = none\n"
            f"listeners.ssl.1 = 127.0.0.1:{self.port}\n"
            f"ssl_options.cacertfile = {self._authority}\n"
            f"ssl_options.certfile = {certificate}\n"
            f"ssl_options.keyfile = {key}\n"
            "ssl_options.verify = verify_none\n" + self._plain.replace(listener, "")
        )
        self.start()

    def is_ready(self) -> bool:
        """Whether the broker greets a client."""
        try:
            with connected(self.port) as connection:
                connection.sendall(PROTOCOL_HEADER)
                return connection.recv(1) == b"\x01"
        except OSError:
            return False
