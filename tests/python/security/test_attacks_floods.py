"""Rate limits for each user and address, reported in the contract's error format."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.sync.client import connect

from tests.python.support.attack_target import (
    CONTRACTS,
    GRAPHQL,
    OWNER,
    STRANGER,
    Api,
    AttackTarget,
)

BURST = 5
LIMITS = {
    # So slow that no token is regained during a test.
    "ORDER_ENGINE_RATE_LIMIT_USER_PER_MINUTE": "1",
    "ORDER_ENGINE_RATE_LIMIT_ADDRESS_PER_MINUTE": "1",
    "ORDER_ENGINE_RATE_LIMIT_BURST": str(BURST),
}
MINUTE_S = 60
CONCURRENT = 8


@pytest.fixture(scope="module")
def limited(make_attack_target: Callable[..., AttackTarget]) -> AttackTarget:
    """An engine with a limit of five requests for each caller."""
    return make_attack_target(**LIMITS)


@pytest.fixture(params=CONTRACTS)
def api(limited: AttackTarget, request: pytest.FixtureRequest) -> Api:
    return limited.apis[request.param]


def limited_requests(attack_target: AttackTarget) -> float:
    """The refused requests in the metrics."""
    text = attack_target.client.get(f"{attack_target.server.url}/metrics").text
    (line,) = (each for each in text.splitlines() if each.startswith("order_engine_rate_limited"))
    return float(line.rpartition(" ")[2])


def test_c29_a_user_over_the_rate_limit_waits(limited: AttackTarget, api: Api) -> None:
    user = f"flood-{CONTRACTS.index(type(api).__name__.lower())}"
    headers = limited.bearer(user)
    counted = limited_requests(limited)
    for _ in range(BURST):
        assert api.list(headers=headers).status_code == httpx.codes.OK
    with limited.nothing_written():
        for answer in (api.list(headers=headers), api.place(user="1", headers=headers)):
            assert answer.status_code == httpx.codes.TOO_MANY_REQUESTS
            assert 0 < int(answer.headers["retry-after"]) <= MINUTE_S
            assert "Too many requests" in (api.failure(answer) or "")
    if api in (limited.apis[name] for name in GRAPHQL):
        assert answer.json()["errors"][0]["extensions"] == {"code": "RATE_LIMITED"}
    assert limited_requests(limited) == counted + 2
    assert api.list(headers=limited.bearer(f"other-{user}")).status_code == httpx.codes.OK


def test_c29_all_apis_share_one_limit(limited: AttackTarget) -> None:
    headers = limited.bearer("everywhere")
    codes = [api.list(headers=headers).status_code for api in limited.apis.values()]
    assert codes == [httpx.codes.OK] * len(CONTRACTS)
    codes = [api.list(headers=headers).status_code for api in limited.apis.values()]
    assert codes == [httpx.codes.TOO_MANY_REQUESTS] * len(CONTRACTS)


def test_c29_without_a_valid_token_the_address_is_limited(limited: AttackTarget) -> None:
    flask = limited.apis["flask"]
    bad = [limited.bearer(f"u{n}", exp=1) for n in range(3)]
    bad += [{"Authorization": f"Bearer a.b.{n}"} for n in range(3)]
    codes = [flask.list(headers=headers).status_code for headers in (*bad, {}, {})]
    assert Counter(codes)[httpx.codes.TOO_MANY_REQUESTS] == len(codes) - BURST
    spoofed = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    assert flask.list(headers=spoofed).status_code == httpx.codes.TOO_MANY_REQUESTS
    assert flask.list(headers=limited.bearer("good")).status_code == httpx.codes.OK
    for path in ("/healthz", "/readyz", "/metrics"):
        assert limited.client.get(limited.server.url + path).status_code == httpx.codes.OK


def test_c29_concurrent_requests_of_a_user_get_the_burst_exactly(limited: AttackTarget) -> None:
    headers = limited.bearer("one user")
    start = threading.Barrier(CONCURRENT)

    def ask(number: int) -> int:
        start.wait()
        api = limited.apis[CONTRACTS[number % len(CONTRACTS)]]
        return api.list(headers=headers).status_code

    with ThreadPoolExecutor(CONCURRENT) as load:
        codes = Counter(load.map(ask, range(CONCURRENT)))
    assert codes == {200: BURST, 429: CONCURRENT - BURST}


def test_c29_operations_of_a_websocket_count(limited: AttackTarget) -> None:
    url = limited.server.url.replace("http", "ws") + "/graphql"
    with connect(url, subprotocols=["graphql-transport-ws"], proxy=None) as socket:  # type: ignore[list-item]
        payload = limited.bearer("socket")
        socket.send(json.dumps({"type": "connection_init", "payload": payload}))
        assert json.loads(socket.recv(timeout=10))["type"] == "connection_ack"
        reported = []
        for number in range(BURST + 1):
            query = {"query": "{ getOrders { id } }"}
            socket.send(json.dumps({"type": "subscribe", "id": str(number), "payload": query}))
            while (message := json.loads(socket.recv(timeout=10)))["id"] != str(number):
                assert message["type"] == "complete"
            reported.append(json.dumps(message))
    assert ["Too many requests" in each for each in reported] == [False] * BURST + [True]


def test_c29_many_users_take_no_memory(limited: AttackTarget) -> None:
    """A gateway may name many users, which must not take memory."""
    before = resident_bytes(limited)
    api = limited.apis["gateway"]
    for number in range(2_000):
        api.list(headers=limited.bearer(f"{OWNER}-{STRANGER}-{number}"))
    assert resident_bytes(limited) - before < 20_000_000


def resident_bytes(attack_target: AttackTarget) -> float:
    text = attack_target.client.get(f"{attack_target.server.url}/metrics").text
    wanted = "process_resident_memory_bytes"
    (line,) = (each for each in text.splitlines() if each.startswith(wanted))
    return float(line.rpartition(" ")[2])
