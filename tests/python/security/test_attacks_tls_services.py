"""TLS to PostgreSQL, RabbitMQ and Redis: only the configured authority is trusted."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from order_engine import OrderEngine
from tests.python.support.attack_target import MUG
from tests.python.support.certificates import HOST, Certificates
from tests.python.support.engine_process import EngineProcess
from tests.python.support.failed_commands import refusal
from tests.python.support.missing_tools import skip_or_fail
from tests.python.support.servers import Broker
from tests.python.support.tls_services import (
    SecretPostgreSQL,
    SecretRabbitMQ,
    SecretRedis,
    SecretService,
)
from tests.python.support.waiting import eventually
from tests.services import MissingServiceError, PostgreSQL, Redis, Workspace
from tests.services.ports import free_port

VARIABLES = {"postgresql": "DATABASE_URL", "rabbitmq": "RABBITMQ_URL", "redis": "REDIS_URL"}
WHY = {
    "another authority": "UnknownIssuer",
    "another host": "not valid for",
    "expired": "expired",
}


@dataclass(frozen=True)
class Around:
    """Servers with TLS only, and their authority."""

    certificates: Certificates
    postgres: SecretPostgreSQL
    rabbitmq: SecretRabbitMQ
    redis: SecretRedis

    def settings(self, authority: Path, host: str = HOST) -> dict[str, str]:
        """The settings of an engine that reaches them by TLS and trusts `authority` only."""
        tls = f"?sslmode=verify-full&sslrootcert={authority}"
        urls = {
            "DATABASE_URL": self.postgres.url + tls,
            "RABBITMQ_URL": self.rabbitmq.url,
            "REDIS_URL": self.redis.url,
        }
        reached = {name: url.replace(f"@{HOST}:", f"@{host}:") for name, url in urls.items()}
        return reached | {"SSL_CERT_FILE": str(authority)}

    def of(self, name: str) -> SecretService:
        """The server of this name."""
        servers: dict[str, SecretService] = {
            "postgresql": self.postgres,
            "rabbitmq": self.rabbitmq,
            "redis": self.redis,
        }
        return servers[name]


@pytest.fixture(scope="module")
def around(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Around]:
    folder = tmp_path_factory.mktemp("authority")
    certificates = Certificates(folder)
    try:
        postgres = SecretPostgreSQL(workspace)
        rabbitmq = SecretRabbitMQ(workspace, certificates.authority)
        redis = SecretRedis(workspace, certificates.authority)
    except MissingServiceError as error:
        skip_or_fail(str(error))
    good = certificates.issue()
    for server in (postgres, rabbitmq, redis):
        server.prove_with(good)
    yield Around(certificates, postgres, rabbitmq, redis)
    for each in (postgres, rabbitmq, redis):
        each.stop()


def test_orders_and_events_use_tls(
    around: Around, make_engine: Callable[..., EngineProcess]
) -> None:
    settings = around.settings(around.certificates.authority)
    url = around.postgres.create_database()
    settings["DATABASE_URL"] = settings["DATABASE_URL"].replace(around.postgres.url, url)
    settings |= {"ORDER_ENGINE_JOBS_AUTH": "jwt"}
    contracts = ("--contract", "flask", "--contract", f"jobs:{free_port()}")
    server = make_engine(settings, *contracts)
    server.start()
    with OrderEngine(database_url=settings["DATABASE_URL"]) as engine:
        engine.upsert_product(MUG, name="Mug", price="9.5")
        engine.set_stock(MUG, 5)
    place = "mutation { placeOrder(userId: 1, productId: 1, quantity: 1) { success } }"
    answer = server.graphql(place, token=server.token(1))
    assert answer.json()["data"]["placeOrder"]["success"], answer.text
    parts = server.client.get("/readyz").json()["parts"]
    assert {part["state"] for part in parts.values()} == {"up"}, parts
    # RabbitMQ has no queue for the order, which waits; Redis has received its jobs.
    jobs = 'order_engine_outbox_messages{contract="jobs"} 0'
    eventually(lambda: jobs in server.client.get("/metrics").text, "Redis has taken the jobs")
    reported = server.command("doctor", "--port", "0", "--contract", "flask")
    for name in VARIABLES:
        assert name in reported


@pytest.fixture
def plain(postgres: PostgreSQL, broker: Broker, redis: Redis) -> dict[str, str]:
    """The servers without TLS, as settings."""
    return {"DATABASE_URL": postgres.url, "RABBITMQ_URL": broker.url, "REDIS_URL": redis.url}


def diagnosed(engine: EngineProcess) -> str:
    """The output of doctor for invalid settings."""
    reported = refusal(engine.env, "doctor", "--port", "0")
    for variable in VARIABLES.values():
        assert engine.env[variable].partition("@")[0].rpartition(":")[2] not in reported
    return reported


def refused(reported: str, name: str) -> str:
    """The output of doctor for one server, which must be a failure."""
    (line,) = (each for each in reported.splitlines() if re.match(rf"\S+ failed +{name} ", each))
    return line


def cases() -> list[tuple[str, str]]:
    """The tested cases. RabbitMQ is slow to restart with another certificate."""
    every = [(name, kind) for name in VARIABLES for kind in WHY]
    return (
        every
        if "ATTACK_EXAMPLES" in os.environ
        else [case for case in every if case != ("rabbitmq", "expired")]
    )


@pytest.mark.parametrize(("name", "kind"), cases())
def test_a_bad_certificate_is_refused_and_reported(
    around: Around,
    plain: dict[str, str],
    make_engine: Callable[..., EngineProcess],
    name: str,
    kind: str,
) -> None:
    certificates = around.certificates
    other = kind == "another authority"
    authority = certificates.other_authority if other else certificates.authority
    # The certificate names the address, not the host name.
    secret = around.settings(authority, "localhost" if kind == "another host" else HOST)
    wanted = {VARIABLES[name], "SSL_CERT_FILE"}
    engine = make_engine(plain | {key: secret[key] for key in wanted})
    if kind == "expired":
        around.of(name).prove_with(certificates.issue("expired"))
    try:
        reported = diagnosed(engine)
    finally:
        if kind == "expired":
            around.of(name).prove_with(certificates.issue())
    assert re.search(WHY[kind], refused(reported, name)), reported


@pytest.mark.parametrize("name", VARIABLES)
def test_a_server_without_tls_is_refused(
    around: Around,
    plain: dict[str, str],
    make_engine: Callable[..., EngineProcess],
    name: str,
) -> None:
    authority = around.certificates.authority
    urls = {
        "postgresql": f"{plain['DATABASE_URL']}?sslmode=verify-full&sslrootcert={authority}",
        "rabbitmq": plain["RABBITMQ_URL"].replace("amqp://", "amqps://"),
        "redis": plain["REDIS_URL"].replace("redis://", "rediss://"),
    }
    tls = {VARIABLES[name]: urls[name], "SSL_CERT_FILE": str(authority)}
    assert refused(diagnosed(make_engine(plain | tls)), name)
