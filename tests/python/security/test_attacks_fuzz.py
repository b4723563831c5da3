"""Every decoder of untrusted input, fed with mutated samples.

tests/corpus has one file of samples for each decoder; inputs that once caused a failure are added
there. The seeds are fixed, so that a run can be repeated. `ATTACK_EXAMPLES`, which `make attack`
sets, runs more examples with new seeds.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from order_engine import InvalidInput, OrderEngine, wsgi

CORPUS = Path(__file__).parents[2] / "corpus"
ASKED = os.environ.get("ATTACK_EXAMPLES")
EXAMPLES = int(ASKED or 60)
SECRET = "a secret that is long enough to sign with"
CUT = 4_000
BAD_KINDS = ("INTERNAL", "MISCONFIGURED", "UNAVAILABLE")
EVENTS = {
    "flask": ("user.registered", "user.profile.updated", "product.created", "inventory.updated"),
    "gateway": ("inventory-events",),
    "stock": ("product_events", "user_logged_in"),
}
REST = {"jobs": "/orders", "gateway": "/", "stock": "/order/create"}
PAGES = {"/healthz", "/metrics", "/docs"}

many = settings(
    max_examples=EXAMPLES,
    derandomize=ASKED is None,
    deadline=None,
    database=None,
    suppress_health_check=[
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
        HealthCheck.function_scoped_fixture,
        HealthCheck.large_base_example,
        HealthCheck.too_slow,
    ],
)


def corpus(name: str) -> list[bytes]:
    """The samples for one decoder, one per line."""
    return (CORPUS / f"{name}.txt").read_bytes().splitlines()


TOKENS = [b'"', b"\\", b"{", b"}", b"[", b"]", b"(", b"null", b"-1", b"1e999", b"\\u0000", b"\xff"]
TOKENS += [b"\\ud800", b"9" * 40, b"$", b"...", b"@skip(if: true)", b"on ", b" ", b"\0", b"\r\n"]
TOKENS += [b"true", b"0.1", b"2147483648", b"'", b"--", b"%00", b"\xe2\x80\xae", b"{" * 50]


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """A sample of the corpus with bytes removed, doubled, swapped and inserted."""
    pieces = corpus(name)
    body = bytearray(draw(st.sampled_from(pieces)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, max(0, len(body) - 1)))
        length = draw(st.integers(0, 12))
        kind = draw(st.integers(0, 4))
        if kind == 0:
            del body[at : at + length]
        elif kind == 1:
            body[at:at] = body[at : at + length] * draw(st.integers(1, 20))
        elif kind == 2:
            body[at:at] = draw(st.sampled_from(TOKENS))
        elif kind == 3:
            body[at : at + length] = draw(st.binary(max_size=length))
        else:
            other = draw(st.sampled_from(pieces))
            body[at:] = other[draw(st.integers(0, len(other))) :]
    return bytes(body[:CUT])


@pytest.fixture(scope="module")
def database(postgres: Any, migrated_template: str) -> Iterator[str]:  # noqa: ANN401 - as conftest's.
    url = postgres.create_database(copy_of=migrated_template)
    with OrderEngine(database_url=url) as engine:
        engine.upsert_product(1, name="Mug", price="9.5")
        engine.set_stock(1, 1_000_000)
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="module")
def engine(database: str) -> Iterator[OrderEngine]:
    with OrderEngine(database_url=database, jwt_secret_key=SECRET) as opened:
        yield opened


@pytest.fixture(scope="module")
def token() -> str:
    return jwt.encode({"user_id": 1, "exp": int(time.time()) + 3_600}, SECRET)


def is_an_answer(answer: Any) -> None:  # noqa: ANN401 - JSON.
    """A GraphQL response that is a success or a client error."""
    assert {"data", "errors"} & set(answer)
    for error in answer.get("errors", []):
        assert error["extensions"]["code"] not in BAD_KINDS, error
        assert "panicked" not in error["message"]


@many
@given(document=damaged("graphql"))
def test_graphql_documents(engine: OrderEngine, token: str, document: bytes) -> None:
    is_an_answer(engine.execute(document.decode(errors="replace"), token=token))


@many
@given(text=damaged("cursors"))
def test_cursors(engine: OrderEngine, token: str, text: bytes) -> None:
    query = "query($after: String) { orders(after: $after) { edges { cursor } } }"
    variables = {"after": text.decode(errors="replace")}
    is_an_answer(engine.execute(query, variables, token=token))


@many
@given(text=damaged("ids"))
def test_ids_and_names(engine: OrderEngine, token: str, text: bytes) -> None:
    query = (
        "query($id: ID!) { getOrder(id: $id) { id } order(id: $id) { success message } }",
        "mutation($id: ID!) { updateOrder(id: 1, status: $id) { success } }".replace(
            "ID!", "String!"
        ),
    )
    variables = {"id": text.decode(errors="replace")}
    for each in query:
        is_an_answer(engine.execute(each, variables, token=token))


@many
@given(text=damaged("tokens"))
def test_tokens(engine: OrderEngine, token: str, text: bytes) -> None:
    forged = text.decode("latin-1").replace("TOKEN", token)
    if forged == token:
        return
    try:
        answer = engine.execute("{ getOrders { id } }", token=forged)
    except InvalidInput:
        # Headers cannot contain it.
        return
    if forged.strip() != token:
        assert answer["errors"][0]["extensions"]["code"] in {"TOKEN_INVALID", "TOKEN_MISSING"}


@pytest.mark.parametrize("contract", EVENTS)
def test_bodies_of_events(database: str, contract: str) -> None:
    choices = {f"{name}_auth": "none" for name in ("gateway", "stock") if name == contract}
    if contract == "stock":
        choices["redis_url"] = "redis://127.0.0.1:1/0"
    with OrderEngine(database_url=database, contract=contract, **choices) as engine:  # type: ignore[arg-type]

        @many
        @given(body=damaged(f"events-{contract}"), topic=st.sampled_from(EVENTS[contract]))
        def run(body: bytes, topic: str) -> None:
            # Any other error fails the test.
            with suppress(InvalidInput):
                engine.apply_event(topic, body)

        run()


@pytest.mark.parametrize("contract", REST)
def test_bodies_of_rest(database: str, contract: str) -> None:
    auth = {f"{contract}_auth": "none"}
    places = {"redis_url": "redis://127.0.0.1:1/0"} if contract == "stock" else {}
    app = wsgi.OrderEngineApp(database_url=database, contract=contract, **auth, **places)
    with closing(app), httpx.Client(transport=httpx.WSGITransport(app)) as client:

        @many
        @given(body=damaged("rest"), path=damaged("ids"))
        def run(body: bytes, path: bytes) -> None:
            for answer in asked(client, body, path):
                assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR, answer.text
                # Besides orders every API has common pages, such as /healthz.
                if answer.request.url.path not in PAGES:
                    assert json.loads(answer.content or b"{}") is not None

        def asked(client: httpx.Client, body: bytes, path: bytes) -> list[httpx.Response]:
            url = f"http://api{REST[contract]}"
            headers = {"Content-Type": "application/json"}
            # The client's WSGI transport supports only ASCII in paths.
            segment = "".join(f"%{byte & 127:02x}" for byte in path[:200])
            base = url.removesuffix("create").rstrip("/")
            return [
                client.post(url, content=body, headers=headers),
                client.put(f"{base}/{segment}", content=body, headers=headers),
                client.get(f"{base}/{segment}"),
            ]

        run()
