"""Rows C22 to C28 and C34 to C36: documents, bodies and bytes that are made to do harm."""

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
    Attacked,
    Door,
    GraphQlDoor,
)

MOMENT_S = 2.0
SOCKET_TIMEOUT_S = 20.0
PLACINGS = {
    "flask": "placeOrder(userId: 1, productId: 1, quantity: 1) { success }",
    "storefront": 'placeOrder(input: {products: [{productId: "1", quantity: 1}]}) { _id }',
}
LISTINGS = {"flask": "getOrders { id }", "storefront": "getAllOrders { _id }"}


@pytest.fixture(params=CONTRACTS)
def door(attacked: Attacked, request: pytest.FixtureRequest) -> Door:
    return attacked.doors[request.param]


def graphql(attacked: Attacked, name: str) -> GraphQlDoor:
    door = attacked.doors[name]
    assert isinstance(door, GraphQlDoor)
    return door


def refused_at_once(attacked: Attacked, name: str, query: str) -> None:
    door = graphql(attacked, name)
    began = time.monotonic()
    with attacked.nothing_written():
        answer = door.ask(query, headers=attacked.bearer(OWNER))
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
def test_c22_deep_and_wide_documents(attacked: Attacked, name: str) -> None:
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
        refused_at_once(attacked, name, query)


@pytest.mark.parametrize("name", GRAPHQL)
def test_c23_cost_that_hides_in_fragments(attacked: Attacked, name: str) -> None:
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
        refused_at_once(attacked, name, query)


@pytest.mark.parametrize("name", GRAPHQL)
def test_c24_batches_of_requests_and_of_mutations(attacked: Attacked, name: str) -> None:
    mutations = " ".join(f"m{n}: {PLACINGS[name]}" for n in range(20))
    refused_at_once(attacked, name, f"mutation {{ {mutations} }}")
    door = graphql(attacked, name)
    with attacked.nothing_written():
        answer = attacked.client.post(
            f"{door.url}/graphql",
            json=[{"query": f"mutation {{ {PLACINGS[name]} }}"}] * 100,
            headers=attacked.bearer(OWNER),
        )
        assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text


@pytest.mark.parametrize("name", GRAPHQL)
def test_c24_guessing_by_alias_finds_nothing(attacked: Attacked, name: str) -> None:
    number, long = attacked.placed()
    argument = {"flask": f"id: {number}", "storefront": f'orderId: "{long}"'}[name]
    field = {"flask": "id", "storefront": "_id"}[name]
    query = " ".join(f"o{n}: getOrder({argument}) {{ {field} }}" for n in range(20))
    answer = graphql(attacked, name).ask(f"{{ {query} }}", headers=attacked.bearer("2"))
    assert set(answer.json()["data"].values()) == {None}


@pytest.mark.parametrize("name", GRAPHQL)
def test_c25_a_browser_cannot_be_made_to_write(attacked: Attacked, name: str) -> None:
    url = f"{attacked.doors[name].url}/graphql"
    document = f"mutation {{ {PLACINGS[name]} }}"
    headers = attacked.bearer(OWNER)
    with attacked.nothing_written():
        by_get = attacked.client.get(url, params={"query": document}, headers=headers)
        assert by_get.status_code == httpx.codes.METHOD_NOT_ALLOWED
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            body = json.dumps({"query": document}).encode()
            simple = headers | {"Content-Type": kind}
            answer = attacked.client.post(url, content=body, headers=simple)
            assert answer.status_code == httpx.codes.UNSUPPORTED_MEDIA_TYPE, kind
    unknown = graphql(attacked, name).ask("{ getOrder5 }", headers=headers)
    assert "did you mean" not in unknown.text.lower()


def test_c25_no_other_site_may_read_or_write(attacked: Attacked, door: Door) -> None:
    origin = {"Origin": "https://evil.example"}
    asked = origin | {"Access-Control-Request-Method": "POST"}
    for path in ("/", "/graphql", "/orders", "/order/create"):
        answer = attacked.client.options(door.url + path, headers=asked)
        assert not [header for header in answer.headers if header.startswith("access-control")]
    answer = door.list(headers=origin | attacked.bearer(OWNER))
    assert not [header for header in answer.headers if header.startswith("access-control")]


@pytest.mark.parametrize("name", REST)
def test_c25_rest_takes_json_as_json_only(attacked: Attacked, name: str) -> None:
    door = attacked.doors[name]
    honest = door.place(headers=attacked.bearer(OWNER)).request
    with attacked.nothing_written():
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/xml", ""):
            headers = attacked.bearer(OWNER) | {"Content-Type": kind}
            answer = attacked.client.post(honest.url, content=honest.content, headers=headers)
            assert answer.status_code == httpx.codes.BAD_REQUEST, kind
        override = attacked.bearer(OWNER) | {"X-HTTP-Method-Override": "POST"}
        assert door.orders(door.list(headers=override)) is not None


@pytest.mark.parametrize("name", GRAPHQL)
def test_c26_introspection_in_circles(attacked: Attacked, name: str) -> None:
    refused_at_once(attacked, name, nested_types(50))
    refused_at_once(attacked, name, nested_types(8))


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
def test_c28_bodies_that_are_bombs(attacked: Attacked, door: Door, bomb: bytes) -> None:
    path = {"flask": "/graphql", "storefront": "/graphql", "jobs": "/orders", "gateway": "/"}
    url = door.url + path.get(type(door).__name__.lower(), "/order/create")
    began = time.monotonic()
    with attacked.nothing_written():
        headers = attacked.bearer(OWNER) | JSON
        answer = attacked.client.post(url, content=bomb, headers=headers)
        huge = attacked.client.post(url, content=b" " * 10_000_000, headers=headers)
    assert time.monotonic() - began < 2 * MOMENT_S
    assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text
    assert huge.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE


def test_c34_nothing_from_outside_forges_a_line_of_the_log(attacked: Attacked, door: Door) -> None:
    forged = "1\r\n2026-01-01T00:00:00Z ERROR order_engine: forged"
    headers = attacked.bearer(OWNER) | {"User-Agent": "x\tERROR forged"}
    with attacked.nothing_written():
        assert door.failure(door.place(lines=[(MUG, forged)], headers=headers))
        assert door.failure(door.read("1%0d%0aERROR forged", headers=headers))
        assert door.failure(door.place(headers=headers | {"Idempotency-Key": "x" * 300}))
        attacked.client.get(f"{door.url}/%0d%0aSet-Cookie:%20forged=1", headers=headers)
    assert "forged" not in attacked.server.log()


def test_c34_messages_are_named_by_a_fixed_list(attacked: Attacked) -> None:
    name = "order.placed\r\nx: y\0" + "z" * 300
    door = attacked.doors["jobs"]
    hostile = ["a.b.#", "*", "order.cancelled", "x-delay", "__TypeId__", "../../x", "a b"]
    with attacked.nothing_written():
        assert door.failure(door.place(lines=[(name, 1)], headers=attacked.bearer(OWNER)))
    for product in hostile:
        assert door.order(door.place(lines=[(product, 1)], headers=attacked.bearer(OWNER)))
    topics = attacked.database.execute("select distinct topic from outbox").fetchall()
    known = re.compile(r"[a-z_.-]+")
    assert {topic for (topic,) in topics} >= {"order.placed", "order-events"}
    assert all(known.fullmatch(topic) for (topic,) in topics), topics
    assert not {topic for (topic,) in topics} & set(hostile)


def test_c35_ids_stay_one_part_of_a_redis_key(attacked: Attacked) -> None:
    with RedisClient.from_url(attacked.server.env["REDIS_URL"]) as redis:
        redis.set("canary", "alive")
        for wild in ("1:stock", "*", "a:stock\r\nDEL canary", "a\nFLUSHALL", "x y z", "{1}", "'"):
            for name in CONTRACTS[1:]:
                door = attacked.doors[name]
                door.place(lines=[(wild, 1)], headers=attacked.bearer(OWNER))
                door.read(wild.replace("\r\n", "%0d%0a").replace("\n", "%0a"), headers={})
        stock = attacked.doors["stock"]
        for user in ("preferences", "email", "x' 'y", "%0d%0aFLUSHALL"):
            attacked.client.get(f"{stock.url}/order/{user}", headers=attacked.bearer(OWNER))
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
def test_c36_no_second_request_hides_behind_a_first(
    attacked: Attacked, door: Door, what: str
) -> None:
    bearer = attacked.bearer(OWNER)["Authorization"].encode()
    head = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nAuthorization: " + bearer + b"\r\n" + HEADS[what]
    with attacked.nothing_written(), connected(door) as connection:
        answers = exchanged(connection, head + b"\r\n0\r\n\r\n" + SMUGGLED)
    codes = re.findall(rb"HTTP/1\.1 (\d{3})", answers)
    assert not codes or codes[0].startswith(b"4"), answers
    # Where the lengths agree after all the second request is one, and answered as such.
    assert len(codes) <= 1 or what == "length and chunks", answers


def connected(door: Door) -> socket.socket:
    return socket.create_connection(
        ("127.0.0.1", urlsplit(door.url).port or 0), timeout=SOCKET_TIMEOUT_S
    )


def exchanged(connection: socket.socket, sent: bytes) -> bytes:
    """What comes back until the other side closes."""
    received = b""
    try:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65_536):
            received += part
    except OSError:
        # It was hung up on at once.
        pass
    return received


def test_c36_slow_and_silent_connections_keep_nobody_out(attacked: Attacked, door: Door) -> None:
    with ExitStack() as stack:
        for number in range(200):
            connection = stack.enter_context(connected(door))
            if number % 2:
                connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\nx")
        began = time.monotonic()
        assert door.orders(door.list(headers=attacked.bearer(OWNER))) is not None
        assert time.monotonic() - began < MOMENT_S


def test_c36_what_is_no_http_is_hung_up_on(attacked: Attacked, door: Door) -> None:
    for noise in (
        b"\x16\x03\x01\x02\x00\x01" + b"\0" * 200,
        b"\0" * 4096,
        b"GET / HTTP/9.9\r\n\r\n",
    ):
        with connected(door) as connection:
            answers = exchanged(connection, noise)
        assert not answers or answers.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), answers
    assert door.orders(door.list(headers=attacked.bearer(OWNER))) is not None
