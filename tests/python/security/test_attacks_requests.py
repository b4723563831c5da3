"""Rows C22 to C28 and C34 to C36: harmful documents, bodies and bytes."""

import json
import re
import socket
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest
from redis import Redis as RedisClient

from tests.python.support.attack_target import (
    CONTRACTS,
    GRAPHQL,
    JSON,
    MUG,
    OWNER,
    REST,
    Api,
    AttackTarget,
    GraphQlApi,
)

MOMENT_S = 2.0
SOCKET_TIMEOUT_S = 20.0
PLACINGS = {
    "flask": "placeOrder(userId: 1, productId: 1, quantity: 1) { success }",
    "storefront": 'placeOrder(input: {products: [{productId: "1", quantity: 1}]}) { _id }',
}
LISTINGS = {"flask": "getOrders { id }", "storefront": "getAllOrders { _id }"}


@pytest.fixture(params=CONTRACTS)
def api(attack_target: AttackTarget, request: pytest.FixtureRequest) -> Api:
    return attack_target.apis[request.param]


def graphql(attack_target: AttackTarget, name: str) -> GraphQlApi:
    api = attack_target.apis[name]
    assert isinstance(api, GraphQlApi)
    return api


def refused_at_once(attack_target: AttackTarget, name: str, query: str) -> None:
    api = graphql(attack_target, name)
    began = time.monotonic()
    with attack_target.nothing_written():
        answer = api.ask(query, headers=attack_target.bearer(OWNER))
    assert time.monotonic() - began < MOMENT_S
    assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text
    assert set(answer.json()) == {"errors"}


def nested_types(depth: int) -> str:
    return "{ __schema { types " + "{ fields { type " * depth + "{ name }" + " } }" * depth + " } }"


def doubling(levels: int, root: str) -> str:
    """Each fragment uses the next one twice: 2 to the power of `levels` fields."""
    chain = [f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels)]
    return "{ ...F0 } " + " ".join([*chain, f"fragment F{levels} on Query {{ {root} }}"])


@pytest.mark.parametrize("name", GRAPHQL)
def test_c22_deep_and_wide_documents(attack_target: AttackTarget, name: str) -> None:
    many = range(1000)
    for query in (
        "{ a " * 5_000,
        "{ " + "(" * 5_000,
        "{ " + " ".join(f"a{n}: {LISTINGS[name]}" for n in many) + " }",
        "{ " + "__typename " * 1000 + "}",
        "{ __typename " + "@skip(if: false) " * 100 + "}",
        "query(" + " ".join(f"$v{n}: Int" for n in many) + ") { " + "__typename " * 600 + "}",
        "{ __typename } #" + "x" * 70_000,
    ):
        refused_at_once(attack_target, name, query)


@pytest.mark.parametrize("name", GRAPHQL)
def test_c23_cost_hidden_in_fragments(attack_target: AttackTarget, name: str) -> None:
    root = LISTINGS[name]
    hidden = " ".join(f"a{n}: {root}" for n in range(30))
    mutations = " ".join(f"m{n}: {PLACINGS[name]}" for n in range(5))
    for query in (
        doubling(40, root),
        "{ ...F } fragment F on Query { ...G } fragment G on Query { ...F }",
        "{ ...F } fragment F on Query { ...F }",
        f"{{ ...F }} fragment F on Query {{ {hidden} }}",
        f"mutation {{ ...F }} fragment F on Mutation {{ {mutations} }}",
        "{ ... on Query { " * 30 + "__typename" + " } }" * 30,
    ):
        refused_at_once(attack_target, name, query)


@pytest.mark.parametrize("name", GRAPHQL)
def test_c24_batches_of_requests_and_of_mutations(attack_target: AttackTarget, name: str) -> None:
    mutations = " ".join(f"m{n}: {PLACINGS[name]}" for n in range(20))
    refused_at_once(attack_target, name, f"mutation {{ {mutations} }}")
    api = graphql(attack_target, name)
    with attack_target.nothing_written():
        answer = attack_target.client.post(
            f"{api.url}/graphql",
            json=[{"query": f"mutation {{ {PLACINGS[name]} }}"}] * 100,
            headers=attack_target.bearer(OWNER),
        )
        assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text


@pytest.mark.parametrize("name", GRAPHQL)
def test_c24_guessing_by_alias_finds_nothing(attack_target: AttackTarget, name: str) -> None:
    number, long = attack_target.placed()
    argument = {"flask": f"id: {number}", "storefront": f'orderId: "{long}"'}[name]
    field = {"flask": "id", "storefront": "_id"}[name]
    query = " ".join(f"o{n}: getOrder({argument}) {{ {field} }}" for n in range(20))
    answer = graphql(attack_target, name).ask(f"{{ {query} }}", headers=attack_target.bearer("2"))
    assert set(answer.json()["data"].values()) == {None}


@pytest.mark.parametrize("name", GRAPHQL)
def test_c25_cross_site_requests_cannot_write(attack_target: AttackTarget, name: str) -> None:
    url = f"{attack_target.apis[name].url}/graphql"
    document = f"mutation {{ {PLACINGS[name]} }}"
    headers = attack_target.bearer(OWNER)
    with attack_target.nothing_written():
        by_get = attack_target.client.get(url, params={"query": document}, headers=headers)
        assert by_get.status_code == httpx.codes.METHOD_NOT_ALLOWED
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            body = json.dumps({"query": document}).encode()
            simple = headers | {"Content-Type": kind}
            answer = attack_target.client.post(url, content=body, headers=simple)
            assert answer.status_code == httpx.codes.UNSUPPORTED_MEDIA_TYPE, kind
    unknown = graphql(attack_target, name).ask("{ getOrder5 }", headers=headers)
    assert "did you mean" not in unknown.text.lower()


def test_c25_other_origins_cannot_read_or_write(attack_target: AttackTarget, api: Api) -> None:
    origin = {"Origin": "https://evil.example"}
    asked = origin | {"Access-Control-Request-Method": "POST"}
    for path in ("/", "/graphql", "/orders", "/order/create"):
        answer = attack_target.client.options(api.url + path, headers=asked)
        assert not [header for header in answer.headers if header.startswith("access-control")]
    answer = api.list(headers=origin | attack_target.bearer(OWNER))
    assert not [header for header in answer.headers if header.startswith("access-control")]


@pytest.mark.parametrize("name", REST)
def test_c25_rest_accepts_only_the_json_media_type(attack_target: AttackTarget, name: str) -> None:
    api = attack_target.apis[name]
    honest = api.place(headers=attack_target.bearer(OWNER)).request
    with attack_target.nothing_written():
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", ""):
            headers = attack_target.bearer(OWNER) | {"Content-Type": kind}
            answer = attack_target.client.post(honest.url, content=honest.content, headers=headers)
            assert answer.status_code == httpx.codes.BAD_REQUEST, kind
        override = attack_target.bearer(OWNER) | {"X-HTTP-Method-Override": "POST"}
        assert api.orders(api.list(headers=override)) is not None


@pytest.mark.parametrize("name", GRAPHQL)
def test_c26_circular_introspection(attack_target: AttackTarget, name: str) -> None:
    refused_at_once(attack_target, name, nested_types(50))
    refused_at_once(attack_target, name, nested_types(8))


BOMBS = [
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"userId": 1e309}',
    b'{"userId": "\\ud800"}',
    b'{"userId": "\xff\xfe"}',
    b'{"userId": "a\\u0000b", "products": []}',
    b"\x00",
    b"\xef\xbb\xbf{}",
    b"NaN",
    b'{"userId": "1", "userId": "2", "products": []}',
    b"{" + b'"k": 1,' * 50_000 + b'"k": 1}',
]


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: repr(bomb[:24]))
def test_c28_oversized_and_nested_bodies(
    attack_target: AttackTarget, api: Api, bomb: bytes
) -> None:
    path = {"flask": "/graphql", "storefront": "/graphql", "jobs": "/orders", "gateway": "/"}
    url = api.url + path.get(type(api).__name__.lower(), "/order/create")
    began = time.monotonic()
    with attack_target.nothing_written():
        headers = attack_target.bearer(OWNER) | JSON
        answer = attack_target.client.post(url, content=bomb, headers=headers)
        huge = attack_target.client.post(url, content=b" " * 10_000_000, headers=headers)
    assert time.monotonic() - began < 2 * MOMENT_S
    assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text
    assert huge.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE


def test_c34_input_cannot_forge_a_log_line(attack_target: AttackTarget, api: Api) -> None:
    forged = "1\r\n2026-01-01T00:00:00Z ERROR order_engine: forged"
    headers = attack_target.bearer(OWNER) | {"User-Agent": "x\tERROR forged"}
    with attack_target.nothing_written():
        assert api.failure(api.place(lines=[(MUG, forged)], headers=headers))
        assert api.failure(api.read("1%0d%0aERROR forged", headers=headers))
        assert api.failure(api.place(headers=headers | {"Idempotency-Key": "x" * 300}))
        attack_target.client.get(f"{api.url}/%0d%0aSet-Cookie:%20forged=1", headers=headers)
    assert "forged" not in attack_target.server.log()


def test_c34_message_names_come_from_a_fixed_list(attack_target: AttackTarget) -> None:
    name = "order.placed\r\nx: y\0" + "z" * 300
    api = attack_target.apis["jobs"]
    hostile = ["a.b.#", "*", "order.cancelled", "x-delay", "__TypeId__", "../../x", "a b"]
    with attack_target.nothing_written():
        assert api.failure(api.place(lines=[(name, 1)], headers=attack_target.bearer(OWNER)))
    for product in hostile:
        assert api.order(api.place(lines=[(product, 1)], headers=attack_target.bearer(OWNER)))
    topics = attack_target.database.execute("select distinct topic from outbox").fetchall()
    known = re.compile(r"[a-z_.-]+")
    assert {topic for (topic,) in topics} >= {"order.placed", "order-events"}
    assert all(known.fullmatch(topic) for (topic,) in topics), topics
    assert not {topic for (topic,) in topics} & set(hostile)


def test_c35_ids_stay_one_segment_of_a_redis_key(attack_target: AttackTarget) -> None:
    with RedisClient.from_url(attack_target.server.env["REDIS_URL"]) as redis:
        redis.set("canary", "alive")
        for wild in ("1:stock", "*", "a:stock\r\nDEL canary", "a\nFLUSHALL", "x y z", "{1}", "'"):
            for name in CONTRACTS[1:]:
                api = attack_target.apis[name]
                api.place(lines=[(wild, 1)], headers=attack_target.bearer(OWNER))
                api.read(wild.replace("\r\n", "%0d%0a").replace("\n", "%0a"), headers={})
        stock = attack_target.apis["stock"]
        for user in ("preferences", "email", "x' 'y", "%0d%0aFLUSHALL"):
            attack_target.client.get(
                f"{stock.url}/order/{user}", headers=attack_target.bearer(OWNER)
            )
        assert redis.get("canary") == b"alive"
        keys = {str(key) for key in redis.keys("*")}
    assert not [key for key in keys if "FLUSHALL" in key or "\\n" in key], keys


SMUGGLED = b"POST /graphql HTTP/1.1\r\nHost: x\r\nX-Smuggled: 1\r\n\r\n"
HEADS: dict[str, bytes] = {
    "two lengths": b"Content-Length: 0\r\nContent-Length: 50\r\n",
    "length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "chunks and more": b"Transfer-Encoding: chunked, identity\r\n",
    "a length that is none": b"Content-Length: +5\r\n",
    "a length in hex": b"Content-Length: 0x5\r\n",
    "a length too long": b"Content-Length: 99999999999999999999\r\n",
    "a space before the colon": b"Content-Length : 5\r\n",
    "a folded header": b"X-A: b\r\n Content-Length: 5\r\n",
    "no name": b": x\r\n",
    "a NUL": b"X-A: \0\r\n",
    "many headers": b"".join(b"X-%d: y\r\n" % n for n in range(1_000)),
    "a huge header": b"X-A: " + b"y" * 1_000_000 + b"\r\n",
}


@pytest.mark.parametrize("what", HEADS)
def test_c36_requests_cannot_be_smuggled(attack_target: AttackTarget, api: Api, what: str) -> None:
    bearer = attack_target.bearer(OWNER)["Authorization"].encode()
    head = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nAuthorization: " + bearer + b"\r\n" + HEADS[what]
    with attack_target.nothing_written(), connected(api) as connection:
        answers = exchanged(connection, head + b"\r\n0\r\n\r\n" + SMUGGLED)
    codes = re.findall(rb"HTTP/1\.1 (\d{3})", answers)
    assert not codes or codes[0].startswith(b"4"), answers
    # If the lengths agree after all, the second request is a request, and is answered as one.
    assert len(codes) <= 1 or what == "length and chunks", answers


def connected(api: Api) -> socket.socket:
    return socket.create_connection(
        ("127.0.0.1", urlsplit(api.url).port or 0), timeout=SOCKET_TIMEOUT_S
    )


def exchanged(connection: socket.socket, sent: bytes) -> bytes:
    """The bytes until the other side closes."""
    received = b""
    try:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65_536):
            received += part
    except OSError:
        # It was closed immediately.
        pass
    return received


def test_c36_slow_and_silent_connections_do_not_block_others(
    attack_target: AttackTarget, api: Api
) -> None:
    with ExitStack() as stack:
        for number in range(200):
            connection = stack.enter_context(connected(api))
            if number % 2:
                connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\nx")
        began = time.monotonic()
        assert api.orders(api.list(headers=attack_target.bearer(OWNER))) is not None
        assert time.monotonic() - began < MOMENT_S


def test_c36_connections_without_http_are_closed(attack_target: AttackTarget, api: Api) -> None:
    for noise in (
        b"\x16\x03\x01\x02\x00\x01" + b"\0" * 200,
        b"\0" * 4096,
        b"GET / HTTP/9.9\r\n\r\n",
    ):
        with connected(api) as connection:
            answers = exchanged(connection, noise)
        assert not answers or answers.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), answers
    assert api.orders(api.list(headers=attack_target.bearer(OWNER))) is not None
