"""TLS of the APIs: certificates of a private authority, and connections without TLS."""

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.python.support.certificates import BAD, HOST, Certificates
from tests.python.support.engine_process import EngineProcess
from tests.python.support.failed_commands import refusal
from tests.python.support.waiting import eventually

READ = "{ allOrders { message } }"
TIMEOUT_S = 20.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def serving(
    make_server: Callable[..., EngineProcess], files: tuple[Path, Path], *arguments: str
) -> Iterator[EngineProcess]:
    """Runs an engine with TLS on the given port."""
    certificate, key = files
    server = make_server(
        *arguments,
        RABBITMQ_URL="",
        ORDER_ENGINE_TLS_CERTIFICATE_FILE=str(certificate),
        ORDER_ENGINE_TLS_KEY_FILE=str(key),
    )
    server.launch()
    eventually(lambda: "Serving at" in server.log() or not server.is_running(), "it serves")
    assert server.is_running(), server.log()
    yield server
    server.stop()


def trusting(authority: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority))


def asked(server: EngineProcess, context: ssl.SSLContext) -> Any:  # noqa: ANN401 - JSON.
    with httpx.Client(verify=context, trust_env=False, timeout=TIMEOUT_S) as client:
        headers = {"Authorization": f"Bearer {server.token(1)}"}
        url = f"https://{HOST}:{server.port}/graphql"
        return client.post(url, json={"query": READ}, headers=headers).json()


def test_an_api_with_tls_refuses_plain_http(
    make_server: Callable[..., EngineProcess], certificates: Certificates
) -> None:
    context = trusting(certificates.authority)
    with serving(make_server, certificates.issue()) as server:
        assert f"https://{HOST}:{server.port}" in server.log()
        good = {"data": {"allOrders": {"message": "Orders fetched successfully."}}}
        assert asked(server, context) == good
        with connect(
            f"wss://{HOST}:{server.port}/graphql",
            ssl=context,
            subprotocols=["graphql-transport-ws"],  # type: ignore[list-item]
            proxy=None,
        ) as opened:
            opened.send(json.dumps({"type": "connection_init"}))
            assert json.loads(opened.recv(timeout=TIMEOUT_S))["type"] == "connection_ack"
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            only = trusting(certificates.authority)
            only.minimum_version = only.maximum_version = version
            assert asked(server, only) == good
        # Clients that send nothing, plain text, or half a handshake block no others.
        silent = socket.create_connection((HOST, server.port), timeout=TIMEOUT_S)
        with silent, pytest.raises(httpx.TransportError):
            httpx.get(f"http://{HOST}:{server.port}/healthz", trust_env=False, timeout=TIMEOUT_S)
        with socket.create_connection((HOST, server.port), timeout=TIMEOUT_S) as noisy:
            noisy.sendall(b"\x16\x03\x01\xff\xff" + b"\0" * 2_000)
        assert asked(server, context) == good
        assert "panicked" not in server.log()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_of_tls_are_refused(
    make_server: Callable[..., EngineProcess], certificates: Certificates
) -> None:
    with serving(make_server, certificates.issue()) as server:
        old = trusting(certificates.authority)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(httpx.ConnectError):
            asked(server, old)


@pytest.mark.parametrize("kind", BAD)
def test_clients_reject_invalid_certificates(
    make_server: Callable[..., EngineProcess], certificates: Certificates, kind: str
) -> None:
    with (
        serving(make_server, certificates.issue(kind)) as server,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        asked(server, trusting(certificates.authority))


def test_a_renewed_certificate_is_loaded_and_a_broken_one_is_not(
    make_server: Callable[..., EngineProcess], certificates: Certificates, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "api.pem", tmp_path / "api.key"

    def put(kind: str = "good") -> None:
        for file, text in zip((certificate, key), certificates.issue(kind), strict=True):
            file.write_bytes(text.read_bytes())

    def is_trusted() -> bool:
        try:
            return "data" in asked(server, trusting(certificates.authority))
        except httpx.ConnectError:
            return False

    put("expired")
    with serving(make_server, (certificate, key)) as server:
        assert not is_trusted()
        put()
        eventually(is_trusted, "the renewed certificate is shown")
        key.write_text("hunter2")
        eventually(lambda: "the old one stays in use" in server.log(), "it is reported")
        assert is_trusted()
        assert "hunter2" not in server.log()
        put("expired")
        eventually(lambda: not is_trusted(), "it is looked at again")


@pytest.mark.parametrize("what", ["missing", "unreadable", "swapped", "of another", "alone"])
def test_mismatched_files_are_reported_at_start_and_by_doctor(
    make_server: Callable[..., EngineProcess],
    certificates: Certificates,
    tmp_path: Path,
    what: str,
) -> None:
    certificate, key = map(str, certificates.issue())
    if what == "missing":
        key, said = str(tmp_path / "no.key"), "no.key cannot be read"
    elif what == "unreadable":
        (tmp_path / "text.key").write_text("hunter2")
        key, said = str(tmp_path / "text.key"), "holds no private key"
    elif what == "swapped":
        certificate, key, said = key, certificate, "holds no private key"
    elif what == "of another":
        key, said = str(certificates.issue("expired")[1]), "is not the key of the certificate"
    else:
        key, said = "", "belong together"
    server = make_server(
        RABBITMQ_URL="",
        ORDER_ENGINE_TLS_CERTIFICATE_FILE=certificate,
        ORDER_ENGINE_TLS_KEY_FILE=key,
    )
    for command in ("serve", "doctor"):
        reported = refusal(server.env, command, "--port", "0")
        assert said in reported, reported
        assert "hunter2" not in reported


def test_doctor_accepts_matching_files(
    make_server: Callable[..., EngineProcess], certificates: Certificates
) -> None:
    certificate, key = certificates.issue()
    server = make_server(
        RABBITMQ_URL="",
        ORDER_ENGINE_TLS_CERTIFICATE_FILE=str(certificate),
        ORDER_ENGINE_TLS_KEY_FILE=str(key),
    )
    server.command("migrate")
    assert "matches its key" in server.command("doctor", "--port", "0")
