"""Kafka with TLS and passwords: valid credentials work, and no other broker is trusted."""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from kafka import KafkaAdminClient, KafkaConsumer  # type: ignore[import-untyped]
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion  # type: ignore[import-untyped]

from tests.python.support.engine_process import EngineProcess
from tests.python.support.gateway_shop import GatewayShop
from tests.python.support.kafka_topics import delete_topics, make_topics
from tests.python.support.missing_tools import skip_or_fail
from tests.python.support.waiting import eventually
from tests.services import Kafka, MissingServiceError, Workspace
from tests.services.kafka import SCRAM, USER

NOBODYS_PASSWORD = "hunter2-is-no-password"
READ_WITHIN_MS = 20_000
CERTIFICATE = "certificate verify failed"
PASSWORD = "Authentication failed"


class Guarded:
    """A Kafka with certificates of an authority that the system does not trust."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        authority = trustme.CA()
        self.authority = _written(folder / "authority.pem", authority)
        self.stranger = _written(folder / "stranger.pem", trustme.CA())
        yesterday = datetime.now(timezone.utc) - timedelta(days=1)
        certificates = {
            "GOOD": authority.issue_cert("127.0.0.1"),
            "ELSEWHERE": authority.issue_cert("kafka.example"),
            "EXPIRED": authority.issue_cert("127.0.0.1", not_after=yesterday),
        }
        files = {name: _with_key(folder / name, each) for name, each in certificates.items()}
        self.server = Kafka(workspace, certificates=files)

    def start(self) -> None:
        """Starts it, and sets the password of `USER` for every mechanism."""
        self.server.start()
        with closing(KafkaAdminClient(bootstrap_servers=self.server.url)) as admin:
            # One at a time: a request may name a user only once.
            for name in SCRAM:
                mechanism = ScramMechanism[name.replace("-", "_")]
                reported = UserScramCredentialUpsertion(USER, mechanism, self.server.password)
                # Pyright does not see the admin's many base classes, one of which has it.
                alter: Any = getattr(admin, "alter_user_scram_credentials")  # noqa: B009
                assert alter([reported]) == {USER: None}

    def settings(
        self, protocol: str, mechanism: str | None = None, certificate: str = "GOOD"
    ) -> dict[str, str]:
        """The engine's settings for a connection with credentials."""
        brokers = self.server.sasl_url
        if protocol.endswith("ssl"):
            brokers = self.server.tls_url(certificate, login=mechanism is not None)
        reported = {
            "KAFKA_BROKER": brokers,
            "KAFKA_SECURITY_PROTOCOL": protocol,
            "KAFKA_CA_FILE": self.authority,
        }
        if mechanism:
            reported["KAFKA_SASL_MECHANISM"] = mechanism
            reported["KAFKA_USERNAME"] = USER
            reported["KAFKA_PASSWORD"] = self.server.password
        return reported

    def received(self) -> list[str]:
        """The keys of the published orders, read without TLS."""
        consumer = KafkaConsumer(
            "order-events",
            bootstrap_servers=self.server.url,
            auto_offset_reset="earliest",
            consumer_timeout_ms=READ_WITHIN_MS,
        )
        with closing(consumer):
            return [next(consumer).key.decode()]


def _written(path: Path, authority: trustme.CA) -> str:
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def _with_key(path: Path, certificate: trustme.LeafCert) -> Path:
    """Writes a certificate after its key, in the PKCS 8 format that Kafka requires."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    chain = b"".join(each.bytes() for each in certificate.cert_chain_pems)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain)
    return path


@pytest.fixture(scope="module")
def guarded_server(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Guarded:
    """The broker, running."""
    try:
        guarded = Guarded(workspace, tmp_path_factory.mktemp("certificates"))
    except MissingServiceError as error:
        skip_or_fail(str(error))
    guarded.start()
    return guarded


@pytest.fixture
def guarded(guarded_server: Guarded) -> Guarded:
    """The broker with only the topic that the engine consumes."""
    delete_topics(guarded_server.server.url)
    make_topics(guarded_server.server.url, "inventory-events")
    return guarded_server


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [
        ("ssl", None),
        ("sasl_ssl", "plain"),
        ("sasl_ssl", "scram-sha-256"),
        ("sasl_ssl", "scram-sha-512"),
        ("sasl_plaintext", "scram-sha-512"),
    ],
)
def test_events_are_published_and_consumed(
    make_gateway: Callable[..., EngineProcess],
    guarded: Guarded,
    protocol: str,
    mechanism: str | None,
) -> None:
    engine = make_gateway(**guarded.settings(protocol, mechanism))
    engine.start()
    with closing(GatewayShop(engine)) as shop:
        shop.brokers = guarded.server.url
        shop.offer(p=3)
        order = shop.placed("p")
        assert guarded.received() == [order["_id"]]
    assert guarded.server.password not in engine.log()


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"certificate": "EXPIRED"}, CERTIFICATE),
        ({"certificate": "ELSEWHERE"}, CERTIFICATE),
        ({"KAFKA_CA_FILE": "stranger"}, CERTIFICATE),
        ({"KAFKA_CA_FILE": ""}, CERTIFICATE),
        ({"KAFKA_PASSWORD": NOBODYS_PASSWORD}, PASSWORD),
    ],
    ids=["expired", "another host's", "another authority's", "unknown to the system", "password"],
)
def test_a_bad_certificate_or_password_is_refused_and_the_message_waits(
    make_gateway: Callable[..., EngineProcess],
    guarded: Guarded,
    wrong: dict[str, str],
    complaint: str,
) -> None:
    certificate = wrong.get("certificate", "GOOD")
    settings = guarded.settings("sasl_ssl", "scram-sha-256", certificate)
    reported = {name: value for name, value in wrong.items() if name != "certificate"}
    if reported.get("KAFKA_CA_FILE") == "stranger":
        reported["KAFKA_CA_FILE"] = guarded.stranger
    engine = make_gateway(**settings | reported)
    engine.start()
    with closing(GatewayShop(engine)) as shop:
        shop.put("p", 3)
        shop.placed("p")
        eventually(lambda: complaint in engine.log(), "the log says why")
        assert shop.count("outbox") == 1
    assert NOBODYS_PASSWORD not in engine.log()


def test_a_waiting_message_is_published_once_the_password_is_right(
    make_gateway: Callable[..., EngineProcess], guarded: Guarded
) -> None:
    right = guarded.settings("sasl_ssl", "scram-sha-512")
    engine = make_gateway(**right | {"KAFKA_PASSWORD": NOBODYS_PASSWORD})
    engine.start()
    with closing(GatewayShop(engine)) as shop:
        shop.put("p", 3)
        order = shop.placed("p")
        engine.stop()
        make_gateway(**right).start()
        assert guarded.received() == [order["_id"]]
