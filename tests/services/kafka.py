"""A private Kafka: one broker that is its own controller (KRaft), on a folder of its own."""

import os
import re
import secrets
import shutil
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.services.errors import MissingServiceError
from tests.services.ports import free_port
from tests.services.service import Service
from tests.services.workspace import Workspace

POM = Path(__file__).parents[1] / "java" / "pom.xml"
JARS = POM.with_name("jars")
# The checksum of `POM` for which the jars in `JARS` were fetched.
FETCHED_POM = JARS / "pom.xml"
OLDEST_JAVA = 17
USER = "order_engine"
# The users of SASL, which the operator adds to a running broker.
SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
LOGIN = "org.apache.kafka.common.security"
PROBE_TIMEOUT_S = 10.0
# Metadata, version 0, of all topics: the answer begins with its length, the correlation id and the
# number of brokers that accept requests.
METADATA_REQUEST = struct.pack(">hhihi", 3, 0, 1, -1, 0)
JAVA_OPTIONS = (
    # A small heap, and the fastest compiler and collector to start; no files outside the folder.
    *("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData"),
    # Without the log lines that repeat every setting.
    *(
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
        "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config.AbstractConfig=warn",
    ),
)
# Settings that only shorten the start, or that a single broker needs.
# single broker needs.
SINGLE_BROKER = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # After a kill, the broker is admitted only once its earlier session has expired.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "200",
    # The first member of a group does not wait for others; a killed one is removed soon.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    # The default is 128 MB, half of the heap.
    "log.cleaner.dedupe.buffer.size": "4194304",
    "num.network.threads": "2",
    "num.io.threads": "4",
}


@dataclass(frozen=True)
class Listener:
    """A port of the broker and its protocol."""

    protocol: str
    port: int
    certificate: Path | None = None
    called_port: int | None = None
    """The advertised port, if it is not the server's own."""

    @property
    def url(self) -> str:
        """The advertised address, `host:port`."""
        return f"127.0.0.1:{self.called_port or self.port}"

    def settings(self, prefix: str, password: str) -> dict[str, str]:
        """The lines of `server.properties` for this listener, each beginning with `prefix`."""
        lines = {}
        if self.certificate:
            lines[f"{prefix}.ssl.keystore.type"] = "PEM"
            lines[f"{prefix}.ssl.keystore.location"] = str(self.certificate)
        if self.protocol.startswith("SASL"):
            plain = f'{LOGIN}.plain.PlainLoginModule required user_{USER}="{password}";'
            lines[f"{prefix}.plain.sasl.jaas.config"] = plain
            for mechanism in SCRAM:
                module = f"{LOGIN}.scram.ScramLoginModule required;"
                lines[f"{prefix}.{mechanism.lower()}.sasl.jaas.config"] = module
        return lines


class Kafka(Service):
    """The server of `tests/java/pom.xml`; topics, messages and offsets survive a restart."""

    name = "Kafka"

    def __init__(
        self,
        workspace: Workspace,
        settings: Mapping[str, str] | None = None,
        certificates: Mapping[str, Path] | None = None,
    ) -> None:
        """Writes the configuration.

        Args:
            workspace: Ends the process.
            settings: Lines of `server.properties` that override the defaults. By default a topic is
                created with three partitions when a client names it.
            certificates: Files with a key (PKCS 8) and its certificate, in PEM. For each of
                them the server listens at `tls_url(name)`, and with `login=True` for clients with
                a password.

        Raises:
            MissingServiceError: Java or the server's jars are missing, or Java is too old.
        """
        self._java = find_java()
        find_jars()
        super().__init__(workspace)
        self.password = secrets.token_hex(12)
        self._listeners = {
            "PLAINTEXT": Listener("PLAINTEXT", self.port),
            "SASL": Listener("SASL_PLAINTEXT", free_port()),
            "LINK": Listener("PLAINTEXT", free_port(), called_port=free_port()),
        }
        for name, certificate in (certificates or {}).items():
            self._listeners[name] = Listener("SSL", free_port(), certificate)
            self._listeners[f"{name}_LOGIN"] = Listener("SASL_SSL", free_port(), certificate)
        self._data = self.folder / "data"
        self._format()
        self._settings = self.folder / "server.properties"
        usual = {
            "log.dirs": str(self._data),
            "auto.create.topics.enable": "true",
            "num.partitions": "3",
        }
        lines = SINGLE_BROKER | self._doors() | usual | dict(settings or {})
        self._settings.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))

    def _doors(self) -> dict[str, str]:
        controller = f"127.0.0.1:{free_port()}"
        advertised = ",".join(f"{name}://{at.url}" for name, at in self._listeners.items())
        own = [f"{name}://127.0.0.1:{at.port}" for name, at in self._listeners.items()]
        protocols = [f"{name}:{at.protocol}" for name, at in self._listeners.items()]
        lines = {
            "listeners": ",".join([*own, f"CONTROLLER://{controller}"]),
            "advertised.listeners": advertised,
            "controller.quorum.voters": f"1@{controller}",
            "listener.security.protocol.map": ",".join([*protocols, "CONTROLLER:PLAINTEXT"]),
            "sasl.enabled.mechanisms": ",".join(["PLAIN", *SCRAM]),
        }
        for name, listener in self._listeners.items():
            lines |= listener.settings(f"listener.name.{name.lower()}", self.password)
        return lines

    @property
    def url(self) -> str:
        """The list of brokers, `host:port`, without a password."""
        return f"127.0.0.1:{self.port}"

    @property
    def sasl_url(self) -> str:
        """The same broker for a client that logs in as `USER` with `password` (SASL, PLAIN)."""
        return self._listeners["SASL"].url

    def tls_url(self, certificate: str, *, login: bool = False) -> str:
        """The broker's TLS listener with one of its certificates; with `login`, as `sasl_url`."""
        return self._listeners[f"{certificate}_LOGIN" if login else certificate].url

    @property
    def link_url(self) -> str:
        """The broker through a test's proxy: see `link_ports`."""
        return self._listeners["LINK"].url

    @property
    def link_ports(self) -> tuple[int, int]:
        """The port of that proxy, and its target port."""
        link = self._listeners["LINK"]
        return link.called_port or link.port, link.port

    def command(self) -> Sequence[str]:
        """The server's main class, without shell scripts."""
        options = [*JAVA_OPTIONS, "-cp", str(JARS / "*")]
        return [self._java, *options, "kafka.Kafka", str(self._settings)]

    def environment(self) -> dict[str, str]:
        """Without variables that add options to a JVM."""
        redirecting = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
        return {key: value for key, value in os.environ.items() if key not in redirecting}

    def is_ready(self) -> bool:
        """Whether the broker reports that it accepts requests."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                request = len(METADATA_REQUEST).to_bytes(4, "big") + METADATA_REQUEST
                connection.sendall(request)
                with connection.makefile("rb") as answer:
                    head = answer.read(12)
        except OSError:
            return False
        return len(head) == 12 and head[8:] != bytes(4)  # noqa: PLR2004 three numbers of 4 bytes

    def _format(self) -> None:
        # The files that Kafka's formatting tool would write for a single broker with the newest
        # metadata version; writing them here saves the start of a JVM.
        self._data.mkdir()
        lines = ("version=1", "cluster.id=b3JkZXItZW5naW5lLXRlcw", "node.id=1")
        (self._data / "meta.properties").write_text("".join(f"{line}\n" for line in lines))


def find_java() -> str:
    """Returns the path of `java`.

    Raises:
        MissingServiceError: it is not installed, or older than Kafka needs.
    """
    java = shutil.which("java")
    if java is None:
        raise MissingServiceError(
            "Java is not installed, which Kafka needs: `python3 -m tests.services install`"
            " installs the package `default-jre-headless`"
        )
    asked = subprocess.run(
        [java, "-version"], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
    )
    version = re.search(r'version "(\d+)', asked.stderr)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise MissingServiceError(
            f"Kafka needs Java {OLDEST_JAVA} or newer, and {java} says: {asked.stderr.strip()}"
        )
    return java


def find_jars() -> Path:
    """Returns the folder with the server's jars.

    Raises:
        MissingServiceError: they have not been fetched, or for another version.
    """
    if not FETCHED_POM.exists() or FETCHED_POM.read_bytes() != POM.read_bytes():
        raise MissingServiceError(
            f"Kafka's jars are not in {JARS}: `python3 -m tests.services install` fetches them"
        )
    return JARS
