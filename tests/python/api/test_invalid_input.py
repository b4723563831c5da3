"""Invalid input is refused in the contract's error format and changes nothing.

Every test also checks that nothing was written, published or logged, and that the response reveals
no internals.
"""

import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest

from tests.python.support.product_service import Product
from tests.python.support.shop import PLACE, Shop
from tests.python.support.waiting import eventually

CREATE = """
    mutation($user: Int!, $lines: [OrderItemInput!]!) {
        createOrder(user_id: $user, order_items: $lines) { success message orders { id } }
    }
"""
GRAPHQL = "/graphql"
# Words of SQL, Rust and Python that must not appear in a response.
INSIDE = re.compile(
    r"sqlx|select .* from|insert into|panicked|\.rs\b|/src/|Traceback|File \"|postgres(ql)?://|"
    r"search_path|constraint|thread '",
    re.IGNORECASE,
)
TOO_MANY = 10_000
STOCK = 100


@pytest.fixture(scope="module")
def stocked(shared_shop: Shop) -> Shop:
    shared_shop.offer(Product(1, quantity=STOCK), Product(2, quantity=STOCK))
    return shared_shop


class Refused:
    """Sends requests that must be refused, and checks every response."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.token = shop.server.token(1)

    def post(
        self,
        body: object = None,
        *,
        token: str | None = None,
        **request: Any,  # noqa: ANN401
    ) -> httpx.Response:
        """Posts JSON, or what `request` contains instead."""
        headers = {"Authorization": f"Bearer {token or self.token}"} | request.pop("headers", {})
        if body is not None:
            request |= {"json": body}
        answer = self.shop.server.client.post(GRAPHQL, headers=headers, **request)
        self.look_at(answer)
        return answer

    def look_at(self, answer: httpx.Response) -> None:
        """Checks that the response reveals no internals."""
        assert answer.status_code < 500, answer.text
        assert not INSIDE.search(answer.text), answer.text
        assert self.token not in answer.text
        assert self.shop.server.secret not in answer.text

    def business(self, query: str, variables: dict[str, object], field: str) -> str:
        """A rule is violated: HTTP 200 with an unsuccessful envelope; returns its message."""
        answer = self.post({"query": query, "variables": variables})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert set(body) == {"data"}, body
        envelope = body["data"][field]
        assert envelope["success"] is False
        assert envelope.get("orders") is None
        assert envelope.get("order") is None
        message: str = envelope["message"]
        return message

    def document(self, body: object, **request: Any) -> str:  # noqa: ANN401
        """The document is invalid: HTTP 400 with errors only; returns the message."""
        return reported(self.post(body, **request), 400)


def reported(answer: httpx.Response, status: int) -> str:
    """The message of a response that contains only an error."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"errors"}, body
    message: str = body["errors"][0]["message"]
    assert message
    return message


@pytest.fixture
def refused(stocked: Shop) -> Iterator[Refused]:
    """Checks afterwards that nothing has changed."""
    settled(stocked)
    before = stocked.written(), len(stocked.spy.received()), stocked.server.log()
    yield Refused(stocked)
    settled(stocked)
    assert (stocked.written(), len(stocked.spy.received()), stocked.server.log()) == before


def settled(shop: Shop) -> None:
    eventually(lambda: shop.row("select count(*) from outbox") == (0,), "everything is sent")


@pytest.mark.parametrize("quantity", [0, -1, -(2**31)])
def test_a_quantity_below_one(refused: Refused, quantity: int) -> None:
    for query, lines, field in (
        (CREATE, [{"product_id": 1, "quantity": quantity}], "createOrder"),
        (PLACE, [{"productId": 1, "quantity": quantity}], "placeOrder"),
    ):
        message = refused.business(query, {"user": 1, "lines": lines}, field)
        assert f"not {quantity}." in message
        literal = query_of(field, str(quantity))
        assert refused.business(literal, {}, field) == message


@pytest.mark.parametrize(
    "quantity",
    [
        "2147483648",
        "-2147483649",
        "1.5",
        '"2"',
        "1e3",
        "null",
        "[1]",
        "{}",
        "TWO",
        "99999999999999999999",
    ],
)
@pytest.mark.parametrize("field", ["createOrder", "placeOrder"])
def test_a_quantity_that_is_not_an_int(refused: Refused, field: str, quantity: str) -> None:
    if (field, quantity) == ("placeOrder", "null"):
        # Optional here, because `items` may replace it.
        assert "quantity" in refused.business(query_of(field, quantity), {}, field)
    else:
        refused.document({"query": query_of(field, quantity)})
    if quantity in ("TWO", "[1]"):
        # The first is not JSON. GraphQL coerces a single value to a list, never the reverse.
        return
    of_lines = {"createOrder": "product_id", "placeOrder": "productId"}[field]
    lines = [{of_lines: 1, "quantity": json.loads(quantity)}]
    query = {"createOrder": CREATE, "placeOrder": PLACE}[field]
    refused.document({"query": query, "variables": {"user": 1, "lines": lines}})


def query_of(field: str, quantity: str) -> str:
    if field == "createOrder":
        return (
            "mutation { createOrder(user_id: 1, order_items: [{product_id: 1, quantity: "
            f"{quantity}}}]) {{ success message orders {{ id }} }} }}"
        )
    return (
        f"mutation {{ placeOrder(userId: 1, productId: 1, quantity: {quantity})"
        " { success message order { id } } }"
    )


def test_the_largest_quantity_is_limited_by_the_stock_only(refused: Refused) -> None:
    message = refused.business(query_of("placeOrder", str(2**31 - 1)), {}, "placeOrder")
    assert message == "Requested quantity of product ID 1 not available."


@pytest.mark.parametrize("product_id", [999, 0, -1, 2**31 - 1])
def test_an_unknown_product(refused: Refused, product_id: int) -> None:
    lines = [{"productId": 1, "quantity": 1}, {"productId": product_id, "quantity": 1}]
    message = refused.business(PLACE, {"user": 1, "lines": lines}, "placeOrder")
    assert message == f"Product with id {product_id} not found"


def test_placing_for_another_user(refused: Refused) -> None:
    lines = [{"productId": 1, "quantity": 1}]
    assert "user 2" in refused.business(PLACE, {"user": 2, "lines": lines}, "placeOrder")
    lines = [{"product_id": 1, "quantity": 1}]
    assert "user 2" in refused.business(CREATE, {"user": 2, "lines": lines}, "createOrder")


def test_no_items(refused: Refused) -> None:
    for query, field in ((PLACE, "placeOrder"), (CREATE, "createOrder")):
        assert "item" in refused.business(query, {"user": 1, "lines": []}, field)
    refused.document({"query": PLACE, "variables": {"user": 1, "lines": [None]}})
    refused.document({"query": CREATE, "variables": {"user": 1}})
    neither = "mutation { placeOrder(userId: 1) { success message } }"
    assert "items" in refused.business(neither, {}, "placeOrder")
    both = (
        "mutation { placeOrder(userId: 1, productId: 1, quantity: 1,"
        " items: [{productId: 1, quantity: 1}]) { success message } }"
    )
    assert "items" in refused.business(both, {}, "placeOrder")


def test_two_lines_of_one_product_that_exceed_the_stock_together(refused: Refused) -> None:
    lines = [{"productId": 1, "quantity": STOCK}, {"productId": 2, "quantity": 1}]
    lines += [{"productId": 1, "quantity": 1}]
    message = refused.business(PLACE, {"user": 1, "lines": lines}, "placeOrder")
    assert message == "Requested quantity of product ID 1 not available."


def test_ten_thousand_lines(refused: Refused) -> None:
    lines = [{"productId": 1, "quantity": 1}] * TOO_MANY
    message = refused.business(PLACE, {"user": 1, "lines": lines}, "placeOrder")
    assert "500" in message
    assert str(TOO_MANY) in message


@pytest.mark.parametrize("text", ["\0", "a\0b", "\x1f", "x" * 300, ""])
def test_a_key_with_invalid_characters(refused: Refused, text: str) -> None:
    variables = {"user": 1, "lines": [{"productId": 1, "quantity": 1}], "key": text}
    assert "key" in refused.business(PLACE, variables, "placeOrder").lower()


def test_lone_surrogates_and_broken_utf8(refused: Refused) -> None:
    body = json.dumps({"query": PLACE, "variables": {"user": 1, "lines": [], "key": "\ud800"}})
    headers = {"Content-Type": "application/json"}
    reported(refused.post(content=body.encode(), headers=headers), 400)
    reported(
        refused.post(content=b'{"query": "{ allOrders { message } \xff }"}', headers=headers), 400
    )
    latin = {"Content-Type": "application/json; charset=latin-1"}
    reported(refused.post(content=b'{"query": "{ __typename }"}', headers=latin), 415)


@pytest.mark.parametrize("text", ["\0", "1\0", "x", "-1", "1.0", "0", "9" * 40, "' or 1=1 --", ""])
def test_ids_that_are_not_order_ids_are_unknown_orders(refused: Refused, text: str) -> None:
    query = "query($id: ID!) { order(id: $id) { success message orders { id } } }"
    shown = text.replace("\0", "")
    message = refused.business(query, {"id": text}, "order")
    assert message == f"Order with id {shown} not found"


@pytest.mark.parametrize("status", ["", "Lost", "ship\0ped", "pending'", "x" * 10_000])
def test_an_unknown_status(refused: Refused, status: str) -> None:
    query = (
        "mutation($status: String!) {"
        " updateOrder(id: 1, status: $status) { success message order { id } } }"
    )
    message = refused.business(query, {"status": status}, "updateOrder")
    assert len(message) < 300


@pytest.mark.parametrize("cursor", ["", "1", "AAAA", "=====", "../../etc/passwd", "\0", "é" * 100])
def test_a_forged_cursor(refused: Refused, cursor: str) -> None:
    query = "query($after: String) { orders(after: $after) { edges { cursor } } }"
    answer = refused.post({"query": query, "variables": {"after": cursor}})
    field_error(answer, "orders", "INVALID_INPUT")


@pytest.mark.parametrize("first", [0, -1, 101, 1_000_000])
def test_a_page_size_out_of_range(refused: Refused, first: int) -> None:
    query = "query($first: Int!) { orders(first: $first) { edges { cursor } } }"
    answer = refused.post({"query": query, "variables": {"first": first}})
    field_error(answer, "orders", "INVALID_INPUT")


def field_error(answer: httpx.Response, field: str, code: str) -> None:
    """A field without an envelope failed: HTTP 200, null in its place, and an error with a code."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["data"] == {field: None}
    (error,) = body["errors"]
    assert error["path"] == [field]
    assert error["extensions"]["code"] == code


def test_a_body_of_ten_megabytes(refused: Refused) -> None:
    body = {"query": "{ __typename }", "variables": {"ballast": "x" * 10_000_000}}
    assert "bytes" in reported(refused.post(body), 413)


def test_a_body_just_above_the_bound(refused: Refused) -> None:
    frame = len(json.dumps({"query": "{ __typename }", "extensions": {"x": ""}}))
    body = {"query": "{ __typename }", "extensions": {"x": "x" * (1024 * 1024 - frame + 64)}}
    reported(refused.post(body), 413)


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "application/graphql",
        "application/xml",
    ],
)
def test_a_wrong_media_type(refused: Refused, media_type: str) -> None:
    body = json.dumps({"query": query_of("placeOrder", "1")}).encode()
    answer = refused.post(content=body, headers={"Content-Type": media_type})
    assert "application/json" in reported(answer, 415)


@pytest.mark.parametrize("header", ["Accept: image/png", "Content-Type: text/plain"])
def test_a_refused_request_leaves_its_connection_usable(stocked: Shop, header: str) -> None:
    body = b'{"query": "{ __typename }"}'
    head = f"POST /graphql HTTP/1.1\r\nHost: api\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", stocked.server.port), timeout=0.2) as connection:
        connection.sendall(f"{head}{header}\r\n\r\n".encode())
        # The body follows a little after its headers, as most clients send it.
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(20)
        connection.sendall(body)
        answers = connection.makefile("rb")
        assert answers.readline().split()[1] in {b"406", b"415"}
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        eventually(lambda: b"200 OK" in answers.readline(), "the next one is answered")


def test_a_response_in_an_unsupported_media_type(refused: Refused) -> None:
    answer = refused.post({"query": "{ __typename }"}, headers={"Accept": "text/csv"})
    reported(answer, 406)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"{}",
        b'{"query": null}',
        b'{"query": 1}',
        b'{"query": "{ __typename }", "variables": []}',
        b'[{"query": "{ __typename }"}]',
        b'{"query": "{ __typename }", "variables": {"x": 1e309}}',
        b'{"query":' + b"[" * 100_000,
    ],
)
def test_a_body_that_is_not_a_request(refused: Refused, body: bytes) -> None:
    reported(refused.post(content=body, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        "{",
        "}",
        "{ allOrders { ",
        "query",
        "{ nope }",
        "{ allOrders }",
        "{ allOrders { nope } }",
        "mutation { createOrder(user_id: 1) { success } }",
        "query A { __typename } query B { __typename }",
        "{ ...F } fragment F on Query { ...F }",
        "{ ...Missing }",
        "query($x: Nope) { __typename }",
        "\0",
        "{ __typename } \0",
    ],
)
def test_a_document_that_cannot_be_executed(refused: Refused, query: str) -> None:
    refused.document({"query": query})


def nested(depth: int) -> str:
    return "{ __schema { types " + "{ fields { type " * depth + "{ name }" + " } }" * depth + " } }"


def fragments(levels: int) -> str:
    """Each fragment uses the next one twice: 2 to the power of `levels` fields."""
    chain = [f"fragment F{n} on Order {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels)]
    chain.append(f"fragment F{levels} on Order {{ id }}")
    return "{ getOrders { ...F0 } } " + " ".join(chain)


@pytest.mark.parametrize(
    "query",
    [
        nested(50),
        "{ a " * 5_000,
        "{ " + "(" * 5_000,
        "query { orders(after: " + "[" * 5_000,
        "{ " + " ".join(f"a{n}: getOrder(id: {n}) {{ id }}" for n in range(1000)) + " }",
        "{ " + "__typename " * 1000 + "}",
        "{ __typename " + "@skip(if: false) " * 100 + "}",
        "{ " + " ".join(f"a{n}: __typename" for n in range(101)) + " }",
        fragments(40),
        "mutation { "
        + " ".join(f"a{n}: deleteOrder(id: 1) {{ success }}" for n in range(9))
        + " }",
        "{ getOrders { " + " ".join(f"h{n}: history {{ at }}" for n in range(90)) + " } }",
        "{ __typename } #" + "x" * 70_000,
    ],
    ids=[
        "introspection",
        "braces",
        "brackets",
        "lists",
        "aliases",
        "fields",
        "directives",
        "more aliases",
        "fragments",
        "mutations",
        "complexity",
        "length",
    ],
)
def test_a_document_beyond_the_limits_is_refused_immediately(refused: Refused, query: str) -> None:
    began = time.monotonic()
    refused.document({"query": query})
    assert time.monotonic() - began < 2.0


def test_a_mutation_with_get(refused: Refused) -> None:
    answer = refused.shop.server.client.get(
        GRAPHQL,
        params={"query": query_of("placeOrder", "1")},
        headers={"Authorization": f"Bearer {refused.token}"},
    )
    refused.look_at(answer)
    assert "POST" in reported(answer, 405)
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("claims", "sentence"),
    [({"exp": 1_700_000_000}, "Token has expired."), ({"exp": "tomorrow"}, "Invalid token.")],
)
def test_an_invalid_token(refused: Refused, claims: dict[str, object], sentence: str) -> None:
    body = {"query": query_of("placeOrder", "1")}
    token = jwt.api_jws.encode(
        json.dumps({"user_id": 1} | claims).encode(), refused.shop.server.secret
    )
    for bad in (token, token[:-4] + "AAAA", token + "x", "x.y.z"):
        answer = refused.post(body, token=bad)
        envelope = answer.json()["data"]["placeOrder"]
        expected = sentence if bad is token else "Invalid token."
        assert envelope == {"success": False, "message": expected, "order": None}
        assert bad not in answer.text


def test_another_users_order(stocked: Shop) -> None:
    order_id = stocked.placed((1, 1), user_id=7)
    stocked.spy.wait_for(order_id)
    settled(stocked)
    before = stocked.written(), len(stocked.spy.received()), stocked.server.log()
    refused = Refused(stocked)
    for field in ("cancelOrder", "deleteOrder", 'updateOrder(status: "Shipped", '):
        name, _, given = field.partition("(")
        query = (
            f"mutation {{ {name}({given}id: {order_id}) {{ success message orders {{ id }} }} }}"
        )
        message = refused.business(query, {}, name)
        assert message == f"Order with id {order_id} not found"
    settled(stocked)
    assert (stocked.written(), len(stocked.spy.received()), stocked.server.log()) == before
