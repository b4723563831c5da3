"""The descriptions of every contract are valid, equal the copies in docs/api, and are accurate.

The contracts themselves list what is tested, so that a new one is covered automatically.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from graphql import build_client_schema, build_schema, get_introspection_query, print_schema
from graphql import lexicographic_sort_schema as in_order
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from order_engine import InvalidInput, Misconfigured, OrderEngine, _native
from tests.python.support import asyncapi
from tests.python.support.api_descriptions import (
    ALL,
    ASYNCAPI,
    FOLDER,
    GRAPHQL,
    OPENAPI,
    RENEW,
    Description,
)
from tests.python.support.engine_process import EngineProcess
from tests.python.support.incoming_messages import HEARD
from tests.services import Redis

Document = dict[str, Any]

CONTRACTS = [description.contract for description in ASYNCAPI]
GOLDEN = FOLDER.parents[1] / "tests" / "golden"
# Placeholders in golden files for values that differ between orders.
STANDS_FOR = {
    "ID": "66ffbca00000000000000180",
    "LINE": "66ffbca0f000000000000180",
    "AT": "2024-10-04T10:00:00.500Z",
}
OPEN_DOORS = {
    setting.name: "none"
    for setting in _native.describe_settings({})
    if setting.name in {f"{contract}_auth" for contract in CONTRACTS}
}


@pytest.mark.parametrize("description", ALL, ids=str)
def test_the_copy_matches_the_generated_description(description: Description) -> None:
    printed = description.printed()
    assert description.file.exists(), f"not there; make it: {RENEW}"
    same = description.file.read_text() == printed
    assert same, f"{description.file} is not what the code gives. Look at the change: {RENEW}"


def test_there_are_no_other_copies() -> None:
    described = {description.file.name for description in ALL}
    assert {file.name for file in FOLDER.iterdir()} - {"README.md"} == described


def test_every_contract_describes_its_api_and_its_events() -> None:
    described = {description.contract for description in [*OPENAPI, *GRAPHQL]}
    assert described == set(CONTRACTS)


@pytest.mark.parametrize("description", OPENAPI, ids=str)
def test_openapi_is_valid(description: Description) -> None:
    validate(json.loads(description.printed()), cls=OpenAPIV31SpecValidator)


@pytest.mark.parametrize("description", ASYNCAPI, ids=str)
def test_asyncapi_is_valid(description: Description) -> None:
    assert asyncapi.problems(json.loads(description.printed())) == []


@pytest.mark.parametrize("language", ["openapi", "graphql"])
def test_an_unavailable_description_names_the_contracts_that_have_one(language: str) -> None:
    have = _native.described_contracts(language)
    without = next(contract for contract in CONTRACTS if contract not in have)
    with pytest.raises(Misconfigured, match=f"{without} has no .*{', '.join(have)}"):
        _native.describe_contract({}, without, language)
    with pytest.raises(Misconfigured, match=f"no contract named .*{', '.join(CONTRACTS)}"):
        _native.describe_contract({}, "express", language)


def test_queue_and_exchange_names_are_those_of_the_settings() -> None:
    def described(contract: str, **settings: str) -> str:
        return _native.describe_contract(settings, contract, "asyncapi")

    queues = {"jobs_order_queue": "new/orders", "jobs_payment_queue": "none"}
    document = json.loads(described("jobs", **queues))
    assert asyncapi.problems(document) == []
    assert {"new/orders", "payment-queue"} & set(document["channels"]) == {"new/orders"}
    assert '"shop"' in described("storefront", storefront_exchange="shop")


@pytest.mark.parametrize("description", [*OPENAPI, *GRAPHQL], ids=str)
def test_the_api_matches_its_description(
    description: Description, make_server: Callable[..., EngineProcess], redis: Redis
) -> None:
    server = make_server("--contract", description.contract, REDIS_URL=redis.url)
    if f"{description.contract}_auth" in OPEN_DOORS:
        server.env[f"ORDER_ENGINE_{description.contract.upper()}_AUTH"] = "jwt"
    server.start()
    shown = server.command(description.command, "--contract", description.contract)
    if description in OPENAPI:
        answer = server.client.get("/openapi.json")
        assert answer.json() == json.loads(shown)
        assert answer.json()["security"] == [{"token": []}], "the API requires tokens"
        return
    query = {"query": get_introspection_query()}
    served = build_client_schema(server.client.post("/graphql", json=query).json()["data"])
    described = build_schema(shown)
    assert print_schema(in_order(described)) == print_schema(in_order(served))


def test_a_gateway_secret_is_described_by_its_header() -> None:
    settings = {"auth_gateway_secret": "a-secret-of-the-gateway"}
    for description in OPENAPI:
        own = settings | {f"{description.contract}_auth": "gateway"}
        shown = _native.describe_contract(own, description.contract, "openapi")
        (scheme,) = json.loads(shown)["components"]["securitySchemes"].values()
        assert (scheme["type"], scheme["in"]) == ("apiKey", "header")
        assert "a-secret-of" not in shown


def validators(contract: str, action: str) -> dict[str, dict[str, Draft202012Validator]]:
    """Creates validators for the bodies of a contract's messages, by address and name."""
    document = json.loads(_native.describe_contract({}, contract, "asyncapi"))
    addresses = {
        operation["channel"]["$ref"].rpartition("/")[2]
        for operation in document["operations"].values()
        if operation["action"] == action
    }
    components = {"components": document["components"]}
    return {
        address: {
            name: Draft202012Validator(
                message["payload"] | components, format_checker=FormatChecker()
            )
            for name, message in document["channels"][address]["messages"].items()
        }
        for address in addresses
    }


def is_described(
    body: Any,  # noqa: ANN401 - whatever JSON can hold
    of_channel: dict[str, Draft202012Validator],
) -> set[str]:
    """The messages of a channel that match a body."""
    return {name for name, validator in of_channel.items() if validator.is_valid(body)}


@pytest.fixture
def announced(database_url: str, redis: Redis) -> list[tuple[str, str, str | None, Any]]:
    """Everything that can happen to an order, as each contract's messages."""
    settings: dict[str, Any] = {"contract": ",".join(CONTRACTS)} | OPEN_DOORS
    # Published messages stay in the outbox.
    settings |= {"relay": "false", "redis_url": redis.url}
    with OrderEngine(database_url=database_url, **settings) as engine:
        for product in (1, 2):
            engine.upsert_product(product, name="Mug", price="9.5")
            engine.apply_event("inventory.updated", {"product_id": product, "quantity": 1000})
        kept, cancelled, deleted = (
            engine.place_order(user_id=1, lines=[(1, 2), (2, 1)]).id for _ in range(3)
        )
        for status in ("shipped", "delivered", "returned"):
            engine.change_status(kept, status)
        engine.change_status(cancelled, "confirmed")
        engine.cancel_order(cancelled, reason="no thirst")
        engine.delete_order(deleted)
    select = b"select destination, topic, key, body from outbox"
    with psycopg.connect(database_url, options="-c search_path=order_engine") as connection:
        rows = connection.execute(select).fetchall()
    return [(destination, topic, key, json.loads(body)) for destination, topic, key, body in rows]


def test_published_messages_match_the_description(
    announced: list[tuple[str, str, str | None, Any]],
) -> None:
    reported: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    sent = {contract: validators(contract, "send") for contract in CONTRACTS}
    for contract, topic, key, body in announced:
        names = is_described(body, sent[contract][topic])
        assert names, f"{contract} says on {topic} what it has not described: {body}"
        # A job's name is its message's key; elsewhere the topic or the body names the message.
        reported[contract, topic] |= {key or ""} & names or names
    assert {contract for contract, _ in reported} == set(CONTRACTS)
    for (contract, topic), names in reported.items():
        assert names == set(sent[contract][topic]), f"all that {contract} may say on {topic}"


def golden_messages(contract: str) -> Iterator[tuple[str, str]]:
    """The recorded messages of a contract: address and body."""
    events, jobs = (GOLDEN / contract / name for name in ("events.json", "jobs.txt"))
    if events.exists():
        for event in json.loads(events.read_text())["events"]:
            body = event.get("body") or event["value"]
            body = re.sub('"(ID|LINE|AT)"', lambda word: f'"{STANDS_FOR[word[1]]}"', body)
            yield event.get("routing_key") or event["topic"], body
    if jobs.exists():
        for line in jobs.read_text().splitlines():
            _, queue, _, body = line.split(" ", 3)
            yield queue, body


@pytest.mark.parametrize("contract", CONTRACTS)
def test_recorded_messages_match_the_description(contract: str) -> None:
    channels = validators(contract, "send") | validators(contract, "receive")
    messages = list(golden_messages(contract))
    assert messages, f"tests/golden/{contract} has no messages"
    for address, body in messages:
        assert is_described(json.loads(body), channels[address]), f"{address}: {body}"


def test_an_incomplete_message_does_not_match_the_description() -> None:
    for contract in CONTRACTS:
        channels = validators(contract, "send")
        for address, body in golden_messages(contract):
            if address in channels:
                assert not is_described({}, channels[address])
                without_items = re.sub('"(items|products)"', '"lines"', body)
                assert not is_described(json.loads(without_items), channels[address])


def test_the_engine_accepts_exactly_the_messages_that_are_described(
    database_url: str, redis: Redis
) -> None:
    is_taken_in = set()
    for contract in HEARD:
        received = validators(contract, "receive")
        settings: dict[str, Any] = {"contract": contract, "redis_url": redis.url} | OPEN_DOORS
        with OrderEngine(database_url=database_url, **settings) as engine:
            for topic, body in HEARD[contract]:
                taken_in = takes_in(engine, topic, body)
                assert bool(is_described(body, received[topic])) == taken_in, f"{topic}: {body}"
                is_taken_in.add(taken_in)
    assert is_taken_in == {True, False}


def takes_in(engine: OrderEngine, topic: str, body: Any) -> bool:  # noqa: ANN401 - whatever is said
    """Returns whether the engine accepts a message."""
    try:
        engine.apply_event(topic, body)
    except InvalidInput:
        return False
    return True
