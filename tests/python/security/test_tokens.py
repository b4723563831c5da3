"""Valid and forged tokens, minted by the usual libraries."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest
from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token, create_refresh_token

from tests.python.support.engine_process import EngineProcess
from tests.python.support.shop import Shop

READ = "{ allOrders { success message orders { id } } }"
GOOD = "Orders fetched successfully."
MISSING = "Authorization header missing."
EXPIRED = "Token has expired."
INVALID = "Invalid token."
YEAR_S = 365 * 86400


def now() -> int:
    return int(time.time())


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def signed(
    secret: str, header: str | Mapping[str, object], claims: str | Mapping[str, object]
) -> str:
    """Signs any text with HS256, also what no library would produce."""
    texts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    message = ".".join(encoded(text.encode()) for text in texts)
    signature = hmac.digest(secret.encode(), message.encode(), hashlib.sha256)
    return f"{message}.{encoded(signature)}"


def answer_to(server: EngineProcess, authorization: str | None) -> str:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = server.client.post("/graphql", json={"query": READ}, headers=headers)
    assert answer.status_code == 200, answer.text
    envelope: dict[str, Any] = answer.json()["data"]["allOrders"]
    assert envelope["success"] is (envelope["message"] == GOOD)
    assert (envelope["orders"] is not None) is envelope["success"]
    message: str = envelope["message"]
    return message


@pytest.fixture
def ask(shared_shop: Shop) -> Callable[[str | None], str]:
    """Reads with a token; returns the envelope's message."""

    def ask(token: str | None) -> str:
        message = answer_to(shared_shop.server, None if token is None else f"Bearer {token}")
        for part in (token or "").split("."):
            assert len(part) < 20 or part not in shared_shop.server.log(), "no token is logged"
        return message

    return ask


@pytest.fixture
def mint(shared_shop: Shop) -> Callable[..., str]:
    """Signs claims unchanged, with the right secret and a valid header."""

    def mint(**claims: object) -> str:
        return signed(shared_shop.server.secret, {"alg": "HS256", "typ": "JWT"}, claims)

    return mint


@pytest.fixture
def flask_app(shared_shop: Shop) -> Flask:
    app = Flask("users")
    app.config["JWT_SECRET_KEY"] = shared_shop.server.secret
    JWTManager(app)
    return app


Ask = Callable[[str | None], str]
Mint = Callable[..., str]


def test_pyjwt_with_user_id_or_sub(shared_shop: Shop, ask: Ask) -> None:
    secret = shared_shop.server.secret
    for claims in ({"user_id": 1}, {"user_id": "1"}, {"sub": "1"}, {"user_id": 1, "sub": "1"}):
        assert ask(jwt.encode(claims | {"exp": now() + 60}, secret)) == GOOD


def test_an_access_token_of_flask_jwt_extended(flask_app: Flask, ask: Ask) -> None:
    with flask_app.app_context():
        token = create_access_token(identity="1")
        staff = create_access_token(identity="2", additional_claims={"roles": ["admin"]})
    assert ask(token) == GOOD
    assert ask(staff) == GOOD


def test_a_refresh_token_of_flask_jwt_extended_is_no_access_token(
    flask_app: Flask, ask: Ask
) -> None:
    with flask_app.app_context():
        assert ask(create_refresh_token(identity="1")) == INVALID


def test_no_token(shared_shop: Shop, ask: Ask) -> None:
    assert ask(None) == MISSING
    token = shared_shop.server.token(1)
    for header in ("", "Basic YTpi", "Bearer", f"Token {token}", f"Bearer {token} {token}"):
        assert answer_to(shared_shop.server, header) in (MISSING, INVALID), header
    assert answer_to(shared_shop.server, token) == INVALID, "a token without its scheme"
    for scheme in ("bearer", "BEARER", "Bearer "):
        assert answer_to(shared_shop.server, f"{scheme} {token}") == GOOD


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "NONE", "", "HS384", "HS512", "RS256"])
def test_c1_c3_a_token_does_not_choose_the_algorithm(shared_shop: Shop, ask: Ask, alg: str) -> None:
    claims = {"user_id": 1, "exp": now() + 60}
    lying = signed(shared_shop.server.secret, {"alg": alg, "typ": "JWT"}, claims)
    assert ask(lying) == INVALID
    assert ask(lying.rpartition(".")[0] + ".") == INVALID, "without a signature"
    if alg in ("HS384", "HS512"):
        assert ask(jwt.encode(claims, shared_shop.server.secret * 2, algorithm=alg)) == INVALID
        assert ask(jwt.encode(claims, shared_shop.server.secret, algorithm=alg)) == INVALID


def test_a_signature_with_another_secret(shared_shop: Shop, ask: Ask) -> None:
    claims = {"user_id": 1, "exp": now() + 60}
    for secret in (shared_shop.server.secret[::-1], "x" * 32):
        assert ask(jwt.encode(claims, secret)) == INVALID
    assert ask(signed("", {"alg": "HS256"}, claims)) == INVALID


def test_claims_of_another_token_under_a_good_signature(shared_shop: Shop, ask: Ask) -> None:
    good, other = (shared_shop.server.token(user).split(".") for user in (1, 2))
    assert ask(".".join([good[0], other[1], good[2]])) == INVALID
    assert ask(".".join([*good[:2], good[2][:-2]])) == INVALID
    assert ask(".".join([*good, good[2]])) == INVALID


@pytest.mark.parametrize("name", ["exp", "nbf"])
@pytest.mark.parametrize("value", ["soon", "4102444800", -1, 1e300, [4102444800], {}, True, 10**30])
def test_c4_invalid_times_are_not_treated_as_absent(
    ask: Ask, mint: Mint, name: str, value: object
) -> None:
    assert ask(mint(**({"user_id": 1, "exp": now() + 60} | {name: value}))) == INVALID


def test_c4_null_is_not_treated_as_absent(ask: Ask, mint: Mint) -> None:
    assert ask(mint(user_id=1, exp=None)) == INVALID
    assert ask(mint(user_id=1, exp=now() + 60, nbf=None)) == INVALID


def test_c5_times_have_a_leeway_of_seconds(ask: Ask, mint: Mint) -> None:
    for seconds, expected in ((30, GOOD), (-2, GOOD), (-30, EXPIRED), (-61, EXPIRED)):
        assert ask(mint(user_id=1, exp=now() + seconds)) == expected, seconds
    for seconds, expected in ((-30, GOOD), (2, GOOD), (30, INVALID), (YEAR_S, INVALID)):
        assert ask(mint(user_id=1, exp=now() + 2 * YEAR_S, nbf=now() + seconds)) == expected


def test_c6_required_claims(ask: Ask, mint: Mint) -> None:
    assert ask(mint(user_id=1)) == INVALID
    assert ask(mint(exp=now() + 60)) == INVALID
    assert ask(mint(user_id=1, exp=now() + 60, aud="another-service")) == INVALID
    assert ask(mint(user_id=1, exp=now() + 60, iss="anybody")) == GOOD


def test_c6_issuer_and_audience_if_configured(
    make_server: Callable[..., EngineProcess],
) -> None:
    server = make_server(
        ORDER_ENGINE_JWT_ISSUER="users", ORDER_ENGINE_JWT_AUDIENCE="orders", RABBITMQ_URL=""
    )
    server.start()

    def ask(**claims: object) -> str:
        all_claims = {"user_id": 1, "exp": now() + 60} | claims
        return answer_to(server, f"Bearer {signed(server.secret, {'alg': 'HS256'}, all_claims)}")

    assert ask(iss="users", aud="orders") == GOOD
    assert ask(iss="users", aud=["shop", "orders"]) == GOOD
    for claims in (
        {"iss": "users"},
        {"aud": "orders"},
        {"iss": "others", "aud": "orders"},
        {"iss": ["users"], "aud": "orders"},
        {"iss": "users", "aud": "shop"},
        {"iss": "users", "aud": []},
        {"iss": "users", "aud": {"orders": True}},
    ):
        assert ask(**claims) == INVALID, claims


@pytest.mark.parametrize(
    "claims",
    [
        {"user_id": None},
        {"user_id": True},
        {"user_id": 1.5},
        {"user_id": [1]},
        {"user_id": ""},
        {"user_id": {"id": 1}},
        {"sub": "\0"},
        {"user_id": 1, "sub": "2"},
        {"user_id": "x" * 200},
    ],
)
def test_c7_a_user_is_text_or_a_whole_number(
    ask: Ask, mint: Mint, claims: dict[str, object]
) -> None:
    assert ask(mint(exp=now() + 60, **claims)) == INVALID


def test_c7_a_subject_may_be_a_number_as_old_services_write_it(ask: Ask, mint: Mint) -> None:
    assert ask(mint(exp=now() + 60, sub=1)) == GOOD


@pytest.mark.parametrize("kind", ["refresh", "", None, 1, ["access"]])
def test_c8_a_token_of_another_type(ask: Ask, mint: Mint, kind: object) -> None:
    assert ask(mint(user_id=1, exp=now() + 60, type=kind)) == INVALID


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "../../dev/null"},
        {"kid": "' or 1=1 --"},
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/keys"},
        {"jwk": {"kty": "oct", "k": ""}},
    ],
)
def test_c11_urls_in_a_header_are_not_fetched(
    shared_shop: Shop, ask: Ask, header: dict[str, object]
) -> None:
    claims = {"user_id": 1, "exp": now() + 60}
    honest = {"alg": "HS256"} | header
    assert ask(signed(shared_shop.server.secret, honest, claims)) == GOOD, "signed by us, after all"
    assert ask(signed("", honest, claims)) == INVALID
    assert ask(signed(shared_shop.server.secret, honest | {"crit": ["b64"]}, claims)) == INVALID


def test_c13_duplicate_and_oversized_names(shared_shop: Shop, ask: Ask, mint: Mint) -> None:
    secret, later = shared_shop.server.secret, now() + 60
    honest = '{"alg": "HS256"}'
    assert (
        ask(signed(secret, '{"alg": "none", "alg": "HS256"}', f'{{"user_id": 1, "exp": {later}}}'))
        == INVALID
    )
    for claims in (
        f'{{"user_id": 2, "user_id": 1, "exp": {later}}}',
        f'{{"user_id": 1, "exp": 1, "exp": {later}}}',
        f'[{{"user_id": 1, "exp": {later}}}]',
        "null",
        "",
    ):
        assert ask(signed(secret, honest, claims)) == INVALID, claims
    assert ask(mint(user_id=1, exp=later, ballast="x" * 20_000)) == INVALID
    for token in (".", "..", "a.b", "a.b.c.d", "=.=.=", "/.+./"):
        assert ask(token) == INVALID, token


def test_c13_a_token_of_a_megabyte_is_refused_unread(shared_shop: Shop) -> None:
    answer = shared_shop.server.client.post(
        "/graphql", json={"query": READ}, headers={"Authorization": "Bearer " + "x" * 1_000_000}
    )
    assert answer.status_code == 431


def test_c13_two_headers_or_a_token_in_the_url(shared_shop: Shop) -> None:
    token = shared_shop.server.token(1)
    other = shared_shop.server.token(2)
    answer = shared_shop.server.client.post(
        "/graphql",
        json={"query": READ},
        headers=[("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {other}")],
    )
    assert answer.json()["data"]["allOrders"]["message"] == INVALID
    answer = shared_shop.server.client.post(
        "/graphql", params={"token": token, "access_token": token}, json={"query": READ}
    )
    assert answer.json()["data"]["allOrders"]["message"] == MISSING


def test_everything_but_introspection_needs_a_token(shared_shop: Shop) -> None:
    names = shared_shop.server.graphql("{ __schema { queryType { name } } }").json()
    assert names == {"data": {"__schema": {"queryType": {"name": "Query"}}}}
    for query in (
        "{ getOrders { id } }",
        "{ getOrder(id: 1) { id } }",
        "{ orders { edges { cursor } } }",
    ):
        (error,) = shared_shop.server.graphql(query).json()["errors"]
        assert error["message"] == MISSING
        assert error["extensions"] == {"code": "TOKEN_MISSING"}
