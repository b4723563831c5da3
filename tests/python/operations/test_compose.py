"""docker-compose.yml, as far as it can be checked without a Docker engine."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]

from order_engine import _native

ROOT = Path(__file__).parents[3]
# What each contract needs besides PostgreSQL.
PARTS = {
    "flask": {"rabbitmq"},
    "storefront": {"rabbitmq", "redis"},
    "jobs": {"redis"},
    "gateway": {"kafka", "redis"},
    "stock": {"kafka", "redis"},
}
ALWAYS = {"postgres", "engine"}
VARIABLE = re.compile(r"\$\{(\w+)")
ROW = re.compile(r"^\| `(\w+)` \| ([\w, ]+) \|$", re.MULTILINE)
DEFAULT_PORT = re.compile(r"\bport (\d{4})\b")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return read


@pytest.fixture(scope="module")
def engine(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]["engine"]
    return found


def started(compose: dict[str, Any], *profiles: str) -> set[str]:
    """The services that `docker compose up` starts with these profiles."""
    services = compose["services"].items()
    return {
        name
        for name, service in services
        if not service.get("profiles") or set(profiles) & set(service["profiles"])
    }


def test_every_contract_is_a_profile_that_starts_what_it_needs(compose: dict[str, Any]) -> None:
    named = {
        profile
        for service in compose["services"].values()
        for profile in service.get("profiles", [])
    }
    assert named == PARTS.keys()
    for contract, parts in PARTS.items():
        assert started(compose, contract) == ALWAYS | parts
    assert started(compose, *PARTS) == compose["services"].keys()


def test_the_table_in_the_documents_says_the_same() -> None:
    text = (ROOT / "docs" / "CONTRACTS.md").read_text()
    table = {name: set(parts.lower().split(", ")) for name, parts in ROW.findall(text)}
    assert table == PARTS


def test_the_engine_gets_known_settings_only(engine: dict[str, Any]) -> None:
    settings = {name for setting in _native.settings() for name in setting.variables}
    reported = engine["environment"]
    assert reported.keys() <= settings
    used = {name for value in reported.values() for name in VARIABLE.findall(value)}
    assert used <= settings | {"COMPOSE_PROFILES"}
    documented = (ROOT / "docs" / "CONFIG.md").read_text()
    assert all(f"`{name}`" in documented for name in reported)
    # An API without an auth setting requires tokens.
    for name in [each for each in reported if each.endswith("_AUTH")]:
        assert reported[name] == f"${{{name}:-jwt}}"


def test_addresses_are_of_services_that_run(
    compose: dict[str, Any], engine: dict[str, Any]
) -> None:
    reported = engine["environment"]
    urls = [reported["DATABASE_URL"], reported["RABBITMQ_URL"], reported["REDIS_URL"]]
    hosts = [urlsplit(url.removeprefix("${REDIS_URL-").removesuffix("}")).hostname for url in urls]
    assert hosts == ["postgres", "rabbitmq", "redis"]
    assert {*hosts, reported["KAFKA_BROKERS"].partition(":")[0]} < compose["services"].keys()
    kafka = compose["services"]["kafka"]["environment"]
    assert kafka["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{reported['KAFKA_BROKERS']}"
    assert engine["depends_on"].keys() == {"postgres"}
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in compose["volumes"]
        assert "healthcheck" in service or service is engine


def test_every_api_has_a_port_and_the_image_a_health_check(engine: dict[str, Any]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    (exposed,) = re.findall(r"^EXPOSE (.+)$", dockerfile, re.MULTILINE)
    mapped = [port.split(":") for port in engine["ports"]]
    assert [inside for _, inside in mapped] == exposed.split()
    assert all(outside == inside for outside, inside in mapped)
    documented = DEFAULT_PORT.findall((ROOT / "docs" / "CONTRACTS.md").read_text())
    assert set(documented) | {"5000"} <= set(exposed.split())
    metrics_port = engine["environment"]["METRICS_PORT"]
    assert f"METRICS_PORT={metrics_port}" in dockerfile
    assert f"127.0.0.1:{metrics_port}/readyz" in dockerfile
