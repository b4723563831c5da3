"""Row C38: no secret or personal data in responses or logs of any API, with full logging."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import pytest

from tests.python.support.attack_target import (
    CONTRACTS,
    JSON,
    MUG,
    OWNER,
    STRANGER,
    AttackTarget,
    contract_arguments,
    start_target,
    target_settings,
)
from tests.python.support.engine_process import EngineProcess
from tests.python.support.product_service import Product
from tests.python.support.servers import Broker
from tests.python.support.shop import Shop
from tests.python.support.waiting import eventually
from tests.services import Redis

EVERYTHING = "trace,lapin=trace,sqlx=trace,hyper=trace,rustls=trace,reqwest=trace,redis=trace"
CARD = "4111111111111111"
EMAIL, STREET, PHONE = "jane.doe@private.example", "1 Hidden Street", "555-0199-4711"
URL_WITH_PASSWORD = re.compile(r"[a-z]+://[^/\s:@\"]*:[^/\s@\"*]+@")
"""A password is between the colon and the at sign; masked ones are asterisks."""


@pytest.fixture(params=["text", "json"])
def talkative(
    request: pytest.FixtureRequest,
    make_server: Callable[..., EngineProcess],
    broker: Broker,
    redis: Redis,
) -> Iterator[AttackTarget]:
    """An engine with full logging."""
    contracts, ports = contract_arguments()
    settings = target_settings(redis.url) | {"RABBITMQ_URL": broker.url}
    settings |= {"ORDER_ENGINE_LOG": EVERYTHING, "ORDER_ENGINE_LOG_FORMAT": request.param}
    server = make_server(*contracts, **settings)
    with httpx.Client(trust_env=False) as client:
        opened = start_target(server, ports, client)
        with closing(opened.database):
            yield opened


def test_c38_responses_and_logs_contain_no_secrets_or_personal_data(
    talkative: AttackTarget, broker: Broker
) -> None:
    server = talkative.server
    good, expired = talkative.bearer(OWNER), talkative.bearer(OWNER, exp=1)
    tampered = {"Authorization": talkative.bearer(STRANGER)["Authorization"][:-6] + "AAAAAA"}
    with closing(Shop(server, broker.url)) as shop:
        shop.product_service.publish(
            "user.registered",
            {"user_id": 9, "username": "j", "email": EMAIL, "address": STREET, "contact": PHONE},
        )
        shop.offer(Product(5))
        eventually(lambda: shop.rows("select 1 from users where user_id = '9'"), "Jane is known")
    reported: list[httpx.Response] = []
    for api in talkative.apis.values():
        for headers in (good, expired, tampered, {}, talkative.bearer("9")):
            reported.append(api.list(headers=headers))
            reported.append(api.place(headers=headers, more={"card": CARD, "password": CARD}))
            reported.append(api.read("1", headers=headers))
            reported.append(api.place(lines=[(MUG, CARD)], headers=headers))
        for path in ("/graphql", "/orders", "/", "/order/create"):
            broken = f'{{"card": "{CARD}", "email": "{EMAIL}"'.encode()
            reported.append(
                talkative.client.post(api.url + path, content=broken, headers=good | JSON)
            )
        paths = ("/metrics", "/readyz", "/healthz", "/openapi.json", "/docs")
        reported += [talkative.client.get(api.url + path, headers=good) for path in paths]
    said = [answer.text for answer in reported]
    said += [server.command("config"), server.command("config", "--json")]
    said += [server.command("doctor", "--port", "0"), server.command("events", "tail", "--json")]
    server.stop()
    log = server.log()
    assert "TRACE" in log or "DEBUG" in log
    tokens = [headers["Authorization"].split(" ")[1] for headers in (good, expired, tampered)]
    secrets = [part for token in tokens for part in token.split(".")[1:]]
    urls = (server.env["DATABASE_URL"], server.env["RABBITMQ_URL"], server.env["REDIS_URL"])
    secrets += [server.secret, *(urlsplit(url).password or url for url in urls)]
    for text in (*said, log):
        leaked = [secret for secret in secrets if secret in text]
        assert leaked == [], around(text, leaked)
        assert not URL_WITH_PASSWORD.search(text), URL_WITH_PASSWORD.search(text)
    for private in (EMAIL, STREET, PHONE, CARD):
        assert private not in log, around(log, [private])
    # Senders see at most their own input; data of Jane appears nowhere.
    for private in (EMAIL, STREET, PHONE):
        assert private not in "\n".join(said), private


def around(text: str, leaked: list[str]) -> str:
    """The text around a leaked secret, for the failure message."""
    places = [text.find(secret) for secret in leaked]
    return "\n".join(text[max(0, place - 200) : place + 60] for place in places if place >= 0)


def test_c38_the_searched_log_is_the_engines(talkative: AttackTarget) -> None:
    json_or_text = talkative.server.log().splitlines()
    assert json_or_text
    if talkative.server.env["ORDER_ENGINE_LOG_FORMAT"] == "json":
        records = [line for line in json_or_text if line.startswith("{")]
        assert all(json.loads(line) for line in records)
        assert records
    assert len(talkative.apis) == len(CONTRACTS)
