"""Loads the fixtures, which are grouped by subject, and shows server logs with failures.

A missing program is a visible skip, and a failure if CI is set.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from redis import Redis as RedisClient

from tests.python.support.adopted_database import SharedDatabase
from tests.python.support.all_contracts import AllContracts, start_all_contracts
from tests.python.support.attack_target import (
    AttackTarget,
    contract_arguments,
    start_target,
    target_settings,
)
from tests.python.support.browser import WatchedBrowser, open_browser
from tests.python.support.engine_process import EngineProcess
from tests.python.support.gateway_shop import GatewayShop
from tests.python.support.http_process import HttpProcess
from tests.python.support.kafka_topics import delete_topics, make_topics
from tests.python.support.legacy_consumer import LegacyConsumer
from tests.python.support.legacy_service import LegacyOrderConsumer, LegacyService, seed, upgrade
from tests.python.support.missing_tools import skip_or_fail
from tests.python.support.node_clients import BullMqWorker, KafkaJsConsumer
from tests.python.support.product_service import ProductService
from tests.python.support.shop import Shop
from tests.python.support.stock_shop import StockShop
from tests.python.support.upstream_services import UpstreamServices
from tests.services import (
    Kafka,
    MissingServiceError,
    PostgreSQL,
    RabbitMQ,
    Redis,
    Service,
    Workspace,
)

S = TypeVar("S", bound=Service)

LOG_LINES = 60
SERVERS = pytest.StashKey[list[HttpProcess]]()


@dataclass(frozen=True)
class Broker:
    """A virtual host of one test, and the server that it is on."""

    url: str
    server: RabbitMQ


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows the end of the servers' logs with a failure."""
    report = yield
    if report.failed:
        for server in [each for node in item.listchain() for each in node.stash.get(SERVERS, [])]:
            lines = server.log().splitlines()[-LOG_LINES:]
            report.sections.append((f"log of the {server.NAME} at {server.url}", "\n".join(lines)))
    return report


@pytest.fixture(scope="session")
def workspace() -> Iterator[Workspace]:
    """Ends everything that is started in it."""
    with Workspace() as made:
        yield made


@pytest.fixture(scope="session")
def postgres(workspace: Workspace) -> PostgreSQL:
    """A private PostgreSQL."""
    return start_server(PostgreSQL, workspace)


@pytest.fixture(scope="session")
def rabbitmq(workspace: Workspace) -> RabbitMQ:
    """A private RabbitMQ."""
    return start_server(RabbitMQ, workspace)


@pytest.fixture(scope="session")
def kafka_server(workspace: Workspace) -> Kafka:
    """A private Kafka, with what the tests before have left in it."""
    return start_server(Kafka, workspace)


@pytest.fixture(scope="session")
def redis_server(workspace: Workspace) -> Redis:
    """A private Redis, with what the tests before have left in it."""
    return start_server(Redis, workspace)


def start_server(kind: Callable[[Workspace], S], workspace: Workspace) -> S:
    """Starts a server that lives as long as the session."""
    try:
        server = kind(workspace)
    except MissingServiceError as error:
        skip_or_fail(str(error))
    server.start()
    return server


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgreSQL) -> str:
    """The name of a database with the engine's tables, from which others are copied."""
    url = postgres.create_database()
    migrate(url)
    return url


def migrate(url: str) -> None:
    """Makes the engine's tables in a database."""
    done = subprocess.run(
        [sys.executable, "-m", "order_engine", "migrate"],
        env=dict(os.environ) | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def empty_database_url(postgres: PostgreSQL) -> Iterator[str]:
    """A fresh database with nothing in it."""
    postgres.start()
    url = postgres.create_database()
    yield url
    postgres.start()
    postgres.drop_database(url)


@pytest.fixture
def database_url(postgres: PostgreSQL, migrated_template: str) -> Iterator[str]:
    """A fresh database with the engine's tables in it."""
    with copied_database(postgres, migrated_template) as url:
        yield url


@contextmanager
def copied_database(postgres: PostgreSQL, template: str) -> Iterator[str]:
    """Copies a database; the server runs before and after, whatever is done to it."""
    postgres.start()
    url = postgres.create_database(copy_of=template)
    yield url
    postgres.start()
    postgres.drop_database(url)


@pytest.fixture
def broker(rabbitmq: RabbitMQ) -> Iterator[Broker]:
    """A fresh virtual host."""
    with fresh_vhost(rabbitmq) as made:
        yield made


@contextmanager
def fresh_vhost(rabbitmq: RabbitMQ) -> Iterator[Broker]:
    """Makes a virtual host; the server runs before and after, whatever is done to it."""
    rabbitmq.start()
    url = rabbitmq.create_vhost()
    yield Broker(url, rabbitmq)
    rabbitmq.start()
    rabbitmq.delete_vhost(url)


@pytest.fixture
def kafka(kafka_server: Kafka) -> Kafka:
    """The running Kafka without a topic; the first message to one makes it."""
    kafka_server.start()
    delete_topics(kafka_server.url)
    return kafka_server


@pytest.fixture
def redis(redis_server: Redis) -> Redis:
    """The running Redis without a key."""
    redis_server.start()
    with RedisClient.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server


@pytest.fixture
def make_engine(
    request: pytest.FixtureRequest, workspace: Workspace, tmp_path: Path
) -> Iterator[Callable[..., EngineProcess]]:
    """Makes engines that are not started yet: `make_engine({"LOG": "debug"}, "--port", "1")`.

    Fixtures take it as their last argument, so that engines end before what they work on does.
    """
    engines = request.node.stash.setdefault(SERVERS, [])

    with ExitStack() as stack:

        def make(env: Mapping[str, str], *arguments: str) -> EngineProcess:
            engine = EngineProcess(workspace, tmp_path, env, *arguments)
            engines.append(engine)
            stack.callback(engine.stop)
            return engine

        yield make


@pytest.fixture
def make_server(
    database_url: str, broker: Broker, make_engine: Callable[..., EngineProcess]
) -> Callable[..., EngineProcess]:
    """Makes engines that are not started yet: `make_server("--access", "roles", LOG="debug")`."""
    usual = {"DATABASE_URL": database_url, "RABBITMQ_URL": broker.url}
    return lambda *arguments, **env: make_engine(usual | env, *arguments)


@pytest.fixture
def server(make_server: Callable[..., EngineProcess]) -> EngineProcess:
    """A running engine with a database and a virtual host of its own."""
    engine = make_server()
    engine.start()
    return engine


@pytest.fixture
def all_contracts(
    make_server: Callable[..., EngineProcess], kafka: Kafka, redis: Redis
) -> Iterator[AllContracts]:
    """A running engine with every contract, and plenty of mugs."""
    with closing(start_all_contracts(make_server, kafka.url, redis.url)) as opened:
        yield opened


@pytest.fixture
def make_gateway(
    database_url: str, kafka: Kafka, make_engine: Callable[..., EngineProcess]
) -> Callable[..., EngineProcess]:
    """Makes engines that serve `gateway`, its door open to all; not started yet."""
    usual = {
        "DATABASE_URL": database_url,
        "KAFKA_BROKER": kafka.url,
        "METRICS_PORT": "0",
        "ORDER_ENGINE_GATEWAY_AUTH": "none",
    }
    gateway = ("--contract", "gateway")
    return lambda *arguments, **env: make_engine(usual | env, *gateway, *arguments)


@pytest.fixture
def gateway_shop(make_gateway: Callable[..., EngineProcess], kafka: Kafka) -> Iterator[GatewayShop]:
    """A running engine with the contract `gateway` and what is around it."""
    # A consumer looks only now and then for topics that are not there yet.
    make_topics(kafka.url, "inventory-events")
    engine = make_gateway()
    engine.start()
    with closing(GatewayShop(engine)) as opened:
        yield opened


@pytest.fixture
def make_stock(
    database_url: str, kafka: Kafka, redis: Redis, make_engine: Callable[..., EngineProcess]
) -> Callable[..., EngineProcess]:
    """Makes engines that serve `stock`, its door open to all; not started yet."""
    # A consumer looks only now and then for topics that are not there yet.
    make_topics(kafka.url, "product_events", "user_logged_in")
    usual = {
        "DATABASE_URL": database_url,
        "KAFKA_BROKER": kafka.url,
        "REDIS_URL": redis.url,
        "ORDER_ENGINE_STOCK_AUTH": "none",
    }
    stock = ("--contract", "stock")
    return lambda *arguments, **env: make_engine(usual | env, *stock, *arguments)


@pytest.fixture
def stock_shop(make_stock: Callable[..., EngineProcess]) -> Iterator[StockShop]:
    """A running engine with the contract `stock` and what is around it."""
    engine = make_stock()
    engine.start()
    with closing(StockShop(engine)) as opened:
        yield opened


@pytest.fixture
def product_service(broker: Broker) -> ProductService:
    """Publishes the events of the other services."""
    return ProductService(broker.url)


@pytest.fixture
def shop(server: EngineProcess, broker: Broker) -> Iterator[Shop]:
    """The running `server` with what is around it."""
    with closing(Shop(server, broker.url)) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_server(
    request: pytest.FixtureRequest,
    workspace: Workspace,
    shared_places: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[EngineProcess]:
    """A running engine for all tests of a module."""
    engine = EngineProcess(workspace, tmp_path_factory.mktemp("engine"), shared_places)
    request.node.stash.setdefault(SERVERS, []).append(engine)
    engine.start()
    yield engine
    engine.stop()


@pytest.fixture(scope="module")
def shared_places(
    postgres: PostgreSQL, migrated_template: str, rabbitmq: RabbitMQ
) -> Iterator[dict[str, str]]:
    """The database and the virtual host of `shared_server`, as settings."""
    with copied_database(postgres, migrated_template) as url, fresh_vhost(rabbitmq) as broker:
        yield {"DATABASE_URL": url, "RABBITMQ_URL": broker.url}


@pytest.fixture(scope="module")
def shared_shop(shared_server: EngineProcess) -> Iterator[Shop]:
    """The engine of a module with what is around it."""
    with closing(Shop(shared_server, shared_server.env["RABBITMQ_URL"])) as opened:
        yield opened


@pytest.fixture(scope="module")
def make_attack_target(
    request: pytest.FixtureRequest,
    workspace: Workspace,
    shared_places: dict[str, str],
    redis_server: Redis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., AttackTarget]]:
    """Starts engines with every door, each of which needs a token, for all tests of a module.

    `make_attacked("--access", "roles", ORDER_ENGINE_LOG="debug")`.
    """
    redis_server.start()

    with ExitStack() as stack:

        def make(*arguments: str, **env: str) -> AttackTarget:
            contracts, ports = contract_arguments()
            settings = shared_places | target_settings(redis_server.url) | env
            folder = tmp_path_factory.mktemp("attacked")
            server = EngineProcess(workspace, folder, settings, *contracts, *arguments)
            request.node.stash.setdefault(SERVERS, []).append(server)
            stack.callback(server.stop)
            client = stack.enter_context(httpx.Client(trust_env=False))
            opened = start_target(server, ports, client)
            stack.enter_context(closing(opened.database))
            return opened

        yield make


@pytest.fixture(scope="module")
def attack_target(make_attack_target: Callable[..., AttackTarget]) -> AttackTarget:
    """A running engine with every door, each of which needs a token, for all tests of a module."""
    return make_attack_target()


@pytest.fixture
def legacy_consumer(
    workspace: Workspace, broker: Broker, tmp_path: Path
) -> Iterator[LegacyConsumer]:
    """The Product service's consumer, subscribed."""
    consumer = LegacyConsumer(workspace, tmp_path, broker.url)
    consumer.start()
    yield consumer
    consumer.kill()


@pytest.fixture
def browser() -> Iterator[WatchedBrowser]:
    """Chromium with an empty profile."""
    with open_browser() as opened:
        yield opened


@pytest.fixture
def upstream(workspace: Workspace, tmp_path: Path) -> Iterator[UpstreamServices]:
    """The user and the product service, running, without a user or a product."""
    services = UpstreamServices(workspace, tmp_path)
    services.start()
    yield services
    services.kill()


@pytest.fixture
def make_bullmq_worker(
    workspace: Workspace, redis: Redis, tmp_path: Path
) -> Iterator[Callable[..., BullMqWorker]]:
    """Starts workers: `make_bullmq_worker("order-queue", major="5", fail_first=True)`."""
    with ExitStack() as stack:

        def make(*queues: str, **options: Any) -> BullMqWorker:  # noqa: ANN401 - as BullMqWorker's
            worker = BullMqWorker(workspace, tmp_path, redis.url, *queues, **options)
            stack.callback(worker.kill)
            worker.start()
            return worker

        yield make


@pytest.fixture
def make_kafkajs_consumer(
    workspace: Workspace, kafka: Kafka, tmp_path: Path
) -> Iterator[Callable[..., KafkaJsConsumer]]:
    """Starts consumers: `make_kafkajs_consumer("group", "order-events")`."""
    with ExitStack() as stack:

        def make(group: str, *topics: str) -> KafkaJsConsumer:
            consumer = KafkaJsConsumer(workspace, tmp_path, kafka.url, group, *topics)
            stack.callback(consumer.kill)
            consumer.start()
            return consumer

        yield make


@pytest.fixture(scope="session")
def legacy_template(postgres: PostgreSQL) -> str:
    """A database with the old service's tables, and its users and products."""
    url = postgres.create_database()
    upgrade(url)
    seed(url)
    return url


@pytest.fixture
def legacy_database_url(postgres: PostgreSQL, legacy_template: str) -> Iterator[str]:
    """A fresh database as the old service has it, without orders."""
    with copied_database(postgres, legacy_template) as url:
        yield url


@pytest.fixture
def make_legacy_service(
    request: pytest.FixtureRequest,
    workspace: Workspace,
    legacy_database_url: str,
    broker: Broker,
    tmp_path: Path,
) -> Iterator[Callable[..., LegacyService]]:
    """Makes old services that are not started yet: `make_legacy_service("--workers=4", app=…)`."""
    services = request.node.stash.setdefault(SERVERS, [])
    usual = {"SQLALCHEMY_DATABASE_URI": legacy_database_url, "RABBITMQ_URL": broker.url}

    with ExitStack() as stack:

        def make(
            *arguments: str, app: str = "tests.legacy_app.wsgi:app", **env: str
        ) -> LegacyService:
            service = LegacyService(workspace, tmp_path, usual | env, *arguments, app=app)
            services.append(service)
            stack.callback(service.stop)
            return service

        yield make


@pytest.fixture
def legacy_service(make_legacy_service: Callable[..., LegacyService]) -> LegacyService:
    """The old service, running."""
    service = make_legacy_service()
    service.start()
    return service


@pytest.fixture
def legacy_order_consumer(
    workspace: Workspace, legacy_service: LegacyService, tmp_path: Path
) -> Iterator[LegacyOrderConsumer]:
    """The consumer script of the running old service, subscribed."""
    consumer = LegacyOrderConsumer(workspace, tmp_path, legacy_service.env)
    consumer.start()
    yield consumer
    consumer.stop()


@pytest.fixture
def shared_database(legacy_database_url: str) -> Iterator[SharedDatabase]:
    """The old service's database, not adopted yet."""
    with closing(SharedDatabase(legacy_database_url)) as opened:
        yield opened
