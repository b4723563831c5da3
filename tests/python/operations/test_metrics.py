"""`/metrics` of a process with every contract, compared with docs/METRICS.md."""

import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from order_engine import OrderEngine, __version__
from tests.python.support import metrics_catalogue
from tests.python.support.all_contracts import MUG, OPEN, USER, AllContracts
from tests.python.support.engine_process import EngineProcess
from tests.python.support.missing_tools import skip_or_fail
from tests.python.support.servers import LOGGED_SERVERS
from tests.python.support.shop import database_of
from tests.python.support.upstream_services import UpstreamServices
from tests.python.support.waiting import eventually
from tests.services import Kafka, Redis, Workspace
from tests.services.ports import free_port

OPEN_METRICS = "application/openmetrics-text"
OPEN_METRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# The header that a Prometheus server sends.
PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
# Counted by the migration router in a Flask app; test_migration_router.py covers it.
SHADOWS = "order_engine_shadow_requests_total"
CONTRACTS = Path(__file__).parents[3] / "src" / "contracts"
# Metrics that change between two scrapes.
RESTLESS = re.compile(
    r"process_|order_engine_(runtime_|database_connections_used|outbox_oldest|relay_unroutable)"
)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass(frozen=True)
class Served:
    """A process with every contract, and the URLs of its listeners."""

    all_contracts: AllContracts
    metrics_url: str

    @property
    def server(self) -> EngineProcess:
        return self.all_contracts.server

    @property
    def urls(self) -> dict[str, str]:
        return self.all_contracts.urls

    def text(self, contract: str | None = None, accept: str = "*/*") -> httpx.Response:
        """The metrics of one of the contracts' listeners; by default those of the metrics port."""
        url = self.metrics_url if contract is None else self.urls[contract]
        answer = httpx.get(f"{url}/metrics", headers={"Accept": accept}, trust_env=False)
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer

    def families(self) -> list[Metric]:
        return list(parse_prometheus(self.text().text))

    def value(self, name: str, **labels: str) -> float:
        """The value of one sample; 0 if there is none."""
        return samples(self.families()).get((name, tuple(sorted(labels.items()))), 0.0)

    def waiting(self, contract: str) -> float:
        """The number of a contract's messages in the outbox."""
        return self.value("order_engine_outbox_messages", contract=contract)

    def graphql(self, contract: str, query: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.server.token(USER)}"}
        url = f"{self.urls[contract]}/graphql"
        return httpx.post(url, json={"query": query}, headers=headers, trust_env=False)

    def send(self, contract: str, method: str, path: str, body: object = None) -> httpx.Response:
        url = self.urls[contract] + path
        return httpx.request(method, url, json=body, trust_env=False)

    def placed(self) -> int:
        """Places an order in every contract, which must succeed; returns how many."""
        return len([getattr(self.all_contracts, contract)() for contract in self.urls])


def samples(families: list[Metric]) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def places(
    shared_places: dict[str, str], kafka_server: Kafka, redis_server: Redis
) -> dict[str, str]:
    """The servers, running, as settings."""
    for service in (kafka_server, redis_server):
        service.start()
    return shared_places | {"KAFKA_BROKER": kafka_server.url, "REDIS_URL": redis_server.url}


@pytest.fixture(scope="module")
def served(
    request: pytest.FixtureRequest,
    workspace: Workspace,
    places: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    """A process with every metric, in which everything has happened once."""
    folder = tmp_path_factory.mktemp("metrics")
    upstream = UpstreamServices(workspace, folder)
    ports = {name: free_port() for name in ("storefront", "jobs", "gateway", "stock")}
    contracts = ["flask", *(f"{name}:{port}" for name, port in ports.items())]
    metrics_port = free_port()
    env = (
        places
        | OPEN
        | {
            "USERS_SERVICE_URL": upstream.users_url,
            "PRODUCTS_SERVICE_URL": upstream.products_url,
        }
    )
    arguments = [word for contract in contracts for word in ("--contract", contract)]
    arguments += ["--metrics-port", str(metrics_port)]
    server = EngineProcess(workspace, folder, env, *arguments)
    request.node.stash.setdefault(LOGGED_SERVERS, []).append(server)
    upstream.start()
    upstream.add_user(USER)
    upstream.set_product(MUG)
    server.start()
    with OrderEngine(database_url=env["DATABASE_URL"]) as engine:
        engine.upsert_product(MUG, name="Mug", price="9.5")
        engine.set_stock(MUG, 1000)
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    all_contracts = AllContracts(
        server, {"flask": server.url} | urls, httpx.Client(trust_env=False)
    )
    with closing(all_contracts):
        made = Served(all_contracts, f"http://127.0.0.1:{metrics_port}")
        made.placed()
        yield made
    server.stop()
    upstream.kill()


def test_the_catalogue_lists_exactly_the_exported_metrics(served: Served) -> None:
    documented = metrics_catalogue.families()
    shown = {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in served.families()
    }
    adoption = {name for name in documented if name.startswith("order_engine_adoption_")}
    assert shown.keys() | {SHADOWS} | adoption == documented.keys()
    assert all(family.samples for family in shown.values())
    for name, family in shown.items():
        line = documented[name]
        assert (family.type, line.meaning.startswith(family.documentation[:-1])) == (
            line.kind,
            True,
        ), f"{name} is a {family.type} and says {family.documentation!r}"
        for sample in family.samples:
            labels = set(sample.labels) - ({"le"} if family.type == "histogram" else set())
            assert labels == line.labels, sample


def test_names_end_with_base_units() -> None:
    for family in metrics_catalogue.families().values():
        stem = family.name.removesuffix("_total")
        assert (family.kind == "counter") == family.name.endswith("_total"), family
        assert re.fullmatch(r"(order_engine|process)(_[a-z]+)+", stem), family
        for unit in ("seconds", "bytes"):
            assert (family.unit == unit) == stem.endswith(f"_{unit}"), family
        assert not re.search(r"_(ms|milliseconds|minutes|kb|percent)(_|$)", family.name), family


def test_both_formats_are_valid_and_agree(served: Served) -> None:
    eventually(lambda: not any(map(served.waiting, ("jobs", "gateway", "stock"))), "all is calm")
    plain, opened = served.text(), served.text(accept=OPEN_METRICS)
    assert plain.headers["content-type"] == PROMETHEUS_TYPE
    assert opened.headers["content-type"] == OPEN_METRICS_TYPE
    assert served.text(accept=PROMETHEUS_ACCEPT).headers["content-type"] == OPEN_METRICS_TYPE
    assert opened.text.endswith("\n# EOF\n")
    assert "EOF" not in plain.text
    ours = list(parse_prometheus(plain.text))
    theirs: list[Metric] = list(parse_openmetrics(opened.text))  # type: ignore[no-untyped-call]
    assert [(each.name, each.type) for each in ours] == [(each.name, each.type) for each in theirs]
    assert "unknown" not in {each.type for each in ours}
    of_theirs = samples(theirs)
    for key, value in samples(ours).items():
        assert key in of_theirs
        if not RESTLESS.match(key[0]):
            assert of_theirs[key] == value, key


def test_promtool_finds_no_problem(served: Served) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        skip_or_fail("promtool is not installed: `python3 -m tests.services install`")
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=served.text().text,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_listener_exports_the_same_and_the_metrics_port_serves_nothing_else(
    served: Served,
) -> None:
    for contract in served.urls:
        names = {family.name for family in parse_prometheus(served.text(contract).text)}
        assert names == {family.name for family in served.families()}
    for path, status in [("/healthz", 200), ("/readyz", 200), ("/", 404), ("/orders", 404)]:
        assert httpx.get(served.metrics_url + path, trust_env=False).status_code == status, path


def test_what_clients_send_never_becomes_a_label(served: Served) -> None:
    junk = [
        *(("jobs", method, "/orders/wp-admin") for method in ("GET", "PATCH", "TRACE", "BREW")),
        *(("jobs", "POST", f"/phpmyadmin/{number}") for number in range(5)),
        *(("gateway", method, f"/{number}/%00/..") for number, method in enumerate(("GET", "X"))),
        ("flask", "POST", "/graphql/x"),
    ]
    strangers = [unknown("jobs", "NOT_FOUND"), unknown("flask", "REFUSED")]
    before = [served.value("order_engine_requests_total", **labels) for labels in strangers]
    httpx.post(f"{served.urls['flask']}/graphql", content=b"{", trust_env=False)
    for contract, method, path in junk:
        assert (
            served.send(contract, method, path, {}).status_code < httpx.codes.INTERNAL_SERVER_ERROR
        )
    for query in (
        "{ secretOrders { id } }",
        "query Stolen { a: getOrders { id } b: getOrders { id } }",
        "mutation { dropTables }",
        "{ __schema { types { name } } }",
        "{",
    ):
        for contract in ("flask", "storefront"):
            served.graphql(contract, query)
    after = [served.value("order_engine_requests_total", **labels) for labels in strangers]
    # Five unknown paths, a body that is not JSON, and three invalid documents.
    assert [now - was for was, now in zip(before, after, strict=True)] == [5, 4]
    named = metrics_catalogue.label_values()
    for family in served.families():
        for sample in family.samples:
            for label, value in sample.labels.items():
                if label == "le":
                    assert float(value) <= 10 or math.isinf(float(value))
                elif label == "version":
                    assert value == __version__
                else:
                    assert value in named[label], sample


def test_every_operation_that_the_contracts_count_is_in_the_catalogue() -> None:
    named = metrics_catalogue.label_values()["operation"]
    surfaces = [*CONTRACTS.glob("*/api.rs"), *CONTRACTS.glob("*/api/*.rs")]
    text = "\n".join(file.read_text() for file in surfaces)
    of_rest = set(re.findall(r'\.serve\(\s*"(\w+)"', text))
    lists = re.findall(r"OPERATIONS: &\[&str\] =\s*&\[([^\]]*)\]", text)
    of_graphql = {name for names in lists for name in re.findall(r'"(\w+)"', names)}
    assert (len(of_rest), len(of_graphql)) > (5, 10)
    assert of_rest | of_graphql <= named


def unknown(contract: str, outcome: str) -> dict[str, str]:
    return {"contract": contract, "operation": "none", "outcome": outcome}


def test_orders_are_counted_once_in_every_contract(served: Served) -> None:
    operations = {
        "flask": "placeOrder",
        "storefront": "placeOrder",
        "jobs": "createOrder",
        "gateway": "placeOrder",
        "stock": "createOrder",
    }

    def counts() -> list[float]:
        text = samples(served.families())
        found = [text[("order_engine_orders_total", (("outcome", "PLACED"),))]]
        for contract, operation in operations.items():
            labels = (("contract", contract), ("operation", operation))
            found.append(text[("order_engine_requests_total", (*labels, ("outcome", "OK")))])
            found.append(text[("order_engine_request_duration_seconds_count", labels)])
        return found

    before = counts()
    placed = served.placed()
    grown = [after - was for was, after in zip(before, counts(), strict=True)]
    assert grown == [placed, *[1] * (2 * len(operations))]


def test_a_refused_order_is_counted_by_its_reason(served: Served) -> None:
    labels = {"service": "products", "outcome": "answered"}
    before = served.value("order_engine_upstream_requests_total", **labels)
    refused = {"userId": USER, "products": [{"_id": "nothing", "quantity": 1}]}
    assert not served.send("gateway", "POST", "/", refused).is_success
    assert served.value("order_engine_orders_total", outcome="PRODUCT_NOT_FOUND") >= 1
    assert served.value("order_engine_upstream_requests_total", **labels) == before + 1
    assert served.value("order_engine_upstream_wait_seconds_total", service="products") > 0


def test_pending_and_published_messages_are_counted_by_contract(served: Served) -> None:
    before = {contract: sent(served, contract) for contract in served.urls}
    placed = served.placed()
    for contract in served.urls:
        # An order has several jobs, and some queues are not bound.
        eventually(
            lambda contract=contract: (
                sent(served, contract) >= before[contract] + placed  # type: ignore[misc]
                if contract in ("gateway", "jobs", "stock")
                else served.value("order_engine_outbox_messages", contract=contract) >= placed
            ),
            f"the events of {contract} are sent, or wait for a queue",
        )
    waiting = samples(served.families())
    assert waiting[("order_engine_outbox_oldest_seconds", (("contract", "flask"),))] > 0
    assert waiting[("order_engine_outbox_oldest_seconds", (("contract", "gateway"),))] == 0


def sent(served: Served, contract: str) -> float:
    return served.value("order_engine_relay_published_total", contract=contract)


def test_reads_are_counted_by_cache_result(served: Served) -> None:
    def reads() -> float:
        text = samples(served.families())
        return sum(text[(f"order_engine_cache_{way}_total", ())] for way in ("hits", "misses"))

    order = served.send("jobs", "GET", "/orders").json()[0]["_id"]
    before = served.value("order_engine_cache_hits_total")

    def read() -> bool:
        assert served.send("gateway", "GET", f"/{order}").is_success
        return served.value("order_engine_cache_hits_total") > before

    eventually(read, "the cache answers")
    assert reads() > before


def test_the_outbox_depth_comes_from_the_database(served: Served) -> None:
    with closing(database_of(served.server)) as database:
        served.placed()
        (count,) = database.execute(
            "select count(*) from outbox where destination = 'flask'"
        ).fetchone() or (None,)
    assert served.value("order_engine_outbox_messages", contract="flask") == count


def test_every_row_of_the_catalogue_is_read() -> None:
    text = metrics_catalogue.CATALOGUE.read_text()
    rows = re.findall(r"^\| `[a-z_]+` \|", text, re.MULTILINE)
    assert len(rows) == len(metrics_catalogue.families()) + len(metrics_catalogue.label_values())
