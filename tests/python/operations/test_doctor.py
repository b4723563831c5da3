"""`order-engine doctor`: unreachable components, their addresses, and remedies."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask

from order_engine.flask import OrderEngineExtension
from tests.python.support.all_contracts import OPEN
from tests.python.support.servers import Broker
from tests.python.support.upstream_services import UpstreamServices
from tests.services import Kafka, Redis
from tests.services.kafka import USER
from tests.services.ports import free_port

SECRET = "a secret of sufficient length for HS256"
PASSWORD = "hunter2-is-no-password"
INHERITED = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR")
CONTRACTS = ("storefront", "jobs", "gateway", "stock")
# The components that doctor checks besides settings, tokens, database and ports.
AROUND = ("rabbitmq", "kafka", "redis", "user service", "product service")
Doctor = Callable[..., "Report"]


@dataclass(frozen=True)
class Entry:
    ok: bool
    detail: str
    remedy: str | None


@dataclass(frozen=True)
class Report:
    """The output of doctor."""

    code: int
    entries: dict[str, Entry]
    text: str

    def failed(self) -> set[str]:
        return {name for name, entry in self.entries.items() if not entry.ok}


@pytest.fixture
def doctor(database_url: str, tmp_path: Path) -> Doctor:
    """Runs doctor for some contracts, on free ports, with a reachable database."""

    def ask(*contracts: str, **settings: str) -> Report:
        usual = (
            {name: os.environ[name] for name in INHERITED if name in os.environ}
            | {
                "DATABASE_URL": database_url,
                "JWT_SECRET_KEY": SECRET,
                "METRICS_PORT": str(free_port()),
            }
            | OPEN
        )
        done = subprocess.run(
            [
                *(sys.executable, "-m", "order_engine", "doctor", "--json"),
                *(word for name in contracts for word in ("--contract", name)),
            ],
            cwd=tmp_path,
            env={name: value for name, value in (usual | settings).items() if value},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        entries = {
            each["name"]: Entry(each["ok"], each["detail"], each["remedy"])
            for each in json.loads(done.stdout)
        }
        return Report(done.returncode, entries, done.stdout + done.stderr)

    return ask


@pytest.fixture
def around(
    broker: Broker, kafka: Kafka, redis: Redis, upstream: UpstreamServices
) -> dict[str, str]:
    """All other components, running, as settings."""
    return {
        "RABBITMQ_URL": broker.url,
        "KAFKA_BROKERS": kafka.url,
        "REDIS_URL": redis.url,
        "USERS_SERVICE_URL": upstream.users_url,
        "PRODUCTS_SERVICE_URL": upstream.products_url,
    }


def on_free_ports() -> list[str]:
    return [f"{name}:{free_port()}" for name in CONTRACTS]


def test_every_reachable_component_is_listed_with_its_address(
    doctor: Doctor, around: dict[str, str], redis: Redis, upstream: UpstreamServices
) -> None:
    reported = doctor(*on_free_ports(), **around)
    assert (reported.code, reported.failed()) == (0, set()), reported.text
    assert set(AROUND) <= reported.entries.keys()
    assert reported.entries["kafka"].detail == f"Connected to {around['KAFKA_BROKERS']}."
    assert reported.entries["user service"].detail == f"Connected to {upstream.users_url}."
    assert redis.password not in reported.text
    # Each service was asked only for an id that does not exist.
    assert [call.path for call in upstream.calls()] == [
        f"/{what}/order-engine-doctor" for what in ("users", "products")
    ]


@pytest.mark.parametrize(
    ("setting", "name", "away"),
    [
        ("RABBITMQ_URL", "rabbitmq", f"amqp://me:{PASSWORD}@127.0.0.1:{{port}}/"),
        ("KAFKA_BROKERS", "kafka", "127.0.0.1:{port}"),
        ("REDIS_URL", "redis", f"redis://me:{PASSWORD}@127.0.0.1:{{port}}/0"),
        ("USERS_SERVICE_URL", "user service", "http://127.0.0.1:{port}/users"),
        ("PRODUCTS_SERVICE_URL", "product service", "http://127.0.0.1:{port}/products"),
    ],
)
def test_unreachable_components_are_listed_with_a_remedy(
    doctor: Doctor, around: dict[str, str], setting: str, name: str, away: str
) -> None:
    port = free_port()
    reported = doctor(*on_free_ports(), **around | {setting: away.format(port=port)})
    assert (reported.code, reported.failed()) == (1, {name}), reported.text
    assert f"127.0.0.1:{port}" in reported.entries[name].detail
    assert setting in str(reported.entries[name].remedy)
    assert PASSWORD not in reported.text


def test_refused_credentials_differ_from_no_response(
    doctor: Doctor, around: dict[str, str], kafka: Kafka, redis: Redis
) -> None:
    wrong = {
        "REDIS_URL": redis.url.replace(redis.password, PASSWORD),
        "KAFKA_BROKERS": kafka.sasl_url,
        "KAFKA_SECURITY_PROTOCOL": "sasl_plaintext",
        "KAFKA_USERNAME": USER,
        "KAFKA_PASSWORD": PASSWORD,
    }
    reported = doctor(*on_free_ports(), **around | wrong)
    assert (reported.code, reported.failed()) == (1, {"kafka", "redis"}), reported.text
    assert "does not accept the user or the password" in reported.entries["redis"].detail
    assert "Authentication failed" in reported.entries["kafka"].detail
    assert PASSWORD not in reported.text
    right = wrong | {"REDIS_URL": redis.url, "KAFKA_PASSWORD": kafka.password}
    assert doctor(*on_free_ports(), **around | right).failed() == set()
    without = doctor("jobs:0", **around | {"REDIS_URL": f"redis://127.0.0.1:{redis.port}/0"})
    assert "does not accept the user or the password" in without.entries["redis"].detail


@pytest.mark.parametrize("protocol", ["rest", "graphql"])
def test_a_broken_service_counts_as_unreachable(
    doctor: Doctor, upstream: UpstreamServices, protocol: str
) -> None:
    url = upstream.graphql_url if protocol == "graphql" else upstream.products_url
    settings = {
        "PRODUCTS_SERVICE_URL": url,
        "ORDER_ENGINE_PRODUCTS_SERVICE_PROTOCOL": protocol,
        "ORDER_ENGINE_UPSTREAM_TIMEOUT_MS": "500",
    }
    assert doctor("storefront:0", **settings).failed() == set()
    upstream.misbehave("status", status=503)
    reported = doctor("storefront:0", **settings)
    assert reported.failed() == {"product service"}
    assert "answers 503" in reported.entries["product service"].detail
    upstream.behave()
    upstream.misbehave("hang")
    assert "in time" in doctor("storefront:0", **settings).entries["product service"].detail


def test_missing_settings_are_named_if_a_contract_needs_them(doctor: Doctor) -> None:
    reported = doctor("storefront:0", "jobs:0", "gateway:0")
    assert reported.failed() == set()
    for name, setting in [
        ("rabbitmq", "RABBITMQ_URL"),
        ("kafka", "KAFKA_BROKERS"),
        ("redis", "REDIS_URL"),
    ]:
        assert reported.entries[name].detail == f"{setting} is not set; events stay in the outbox."
    assert set(AROUND) & doctor("flask:0").entries.keys() == {"rabbitmq"}
    assert set(AROUND) & doctor("jobs:0").entries.keys() == {"redis"}


def test_every_port_is_checked_and_none_is_used_twice(doctor: Doctor) -> None:
    port, metrics_port = str(free_port()), str(free_port())
    reported = doctor(f"flask:{port}", f"jobs:{port}", METRICS_PORT=metrics_port)
    assert reported.failed() == {f"port {port}"}
    assert f"port {metrics_port}" in reported.entries
    assert "for jobs" in reported.entries[f"port {port}"].detail


def test_the_contract_gateway_shows_metrics_on_its_documented_port(doctor: Doctor) -> None:
    assert "port 9202" in doctor("gateway:0", METRICS_PORT="").entries
    assert "port 9202" not in doctor("jobs:0", METRICS_PORT="").entries


def test_the_contract_stock_requires_redis(doctor: Doctor) -> None:
    reported = doctor("stock:0")
    assert reported.failed() == {"redis"}
    assert reported.entries["redis"].detail == "REDIS_URL is not set, and stock needs it."


def test_a_flask_command_does_not_check_the_port_of_the_running_app(database_url: str) -> None:
    app = Flask(__name__)
    with socket.create_server(("127.0.0.1", 0)) as running_app:
        app.config.update(
            DATABASE_URL=database_url,
            JWT_SECRET_KEY=SECRET,
            ORDER_ENGINE_PORT=running_app.getsockname()[1],
        )
        OrderEngineExtension(app)
        result = app.test_cli_runner().invoke(args=["order-engine", "doctor", "--json"])
    assert result.exit_code == 0, result.output
    assert not any(check["name"].startswith("port") for check in json.loads(result.output))
