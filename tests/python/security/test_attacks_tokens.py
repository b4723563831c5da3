"""Rows C1 to C13 of the attack table: forged and misused tokens, at every API."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable

import httpx
import jwt
import pytest

from tests.python.support.attack_target import CONTRACTS, OWNER, Api, AttackTarget, RestApi, claims


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def signed(secret: str, header: str, body: str) -> str:
    """Signs any text with HS256, also what no library would produce."""
    message = f"{encoded(header.encode())}.{encoded(body.encode())}"
    signature = hmac.digest(secret.encode(), message.encode(), hashlib.sha256)
    return f"{message}.{encoded(signature)}"


@pytest.fixture(params=CONTRACTS)
def api(attack_target: AttackTarget, request: pytest.FixtureRequest) -> Api:
    return attack_target.apis[request.param]


Refuse = Callable[..., None]


@pytest.fixture
def refuse(attack_target: AttackTarget, api: Api) -> Refuse:
    """Reads and places with an invalid token, and checks that nothing happened."""

    def refuse(token: str | None = None, **headers: str) -> None:
        if token is not None:
            headers |= {"Authorization": f"Bearer {token}"}
        with attack_target.nothing_written():
            for answer in (api.list(headers=headers), api.place(headers=headers)):
                looks_refused(api, answer)
                assert token is None or token not in answer.text

    return refuse


def looks_refused(api: Api, answer: httpx.Response) -> None:
    assert api.failure(answer), answer.text
    expected = httpx.codes.UNAUTHORIZED if isinstance(api, RestApi) else httpx.codes.OK
    assert answer.status_code == expected, answer.text
    assert '"id"' not in answer.text
    assert '"_id"' not in answer.text


def sign(attack_target: AttackTarget, body: str, header: str = '{"alg":"HS256"}') -> str:
    return signed(attack_target.server.secret, header, body)


def test_valid_tokens_are_accepted(attack_target: AttackTarget, api: Api) -> None:
    headers = {"Authorization": f"Bearer {sign(attack_target, claims())}"}
    assert api.order(api.place(headers=headers))
    assert api.orders(api.list(headers=headers))


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "", "HS384", "RS256", "ES256", "EdDSA"])
def test_c1_a_token_cannot_choose_its_algorithm(
    attack_target: AttackTarget, refuse: Refuse, alg: str
) -> None:
    lying = sign(attack_target, claims(), json.dumps({"alg": alg}))
    refuse(lying)
    refuse(lying.rpartition(".")[0] + ".")


def test_c4_times_of_the_wrong_type_are_invalid(
    attack_target: AttackTarget, refuse: Refuse
) -> None:
    for name in ("exp", "nbf"):
        for wrong in ("soon", "4102444800", -1, 1e300, None, [4102444800], True, 10**30):
            refuse(sign(attack_target, claims(**{name: wrong})))


def test_c5_expired_and_future_tokens(attack_target: AttackTarget, refuse: Refuse) -> None:
    now = int(time.time())
    for late in (30, 61):
        refuse(sign(attack_target, claims(exp=now - late)))
    refuse(sign(attack_target, claims(nbf=now + 30)))


def test_c6_tokens_without_required_claims(attack_target: AttackTarget, refuse: Refuse) -> None:
    later = int(time.time()) + 60
    for body in ({}, {"exp": later}, {"user_id": 1}, {"user_id": 1, "exp": later, "aud": "shop"}):
        refuse(sign(attack_target, json.dumps(body)))


def test_c7_invalid_users(attack_target: AttackTarget, refuse: Refuse) -> None:
    for user in (None, True, 1.5, [1], {"$ne": None}, "", "a\0b", "1\r\nX-Admin: 1", "u" * 129):
        refuse(sign(attack_target, claims(user_id=user)))
    refuse(sign(attack_target, claims(sub="2")))


def test_c8_tokens_for_other_purposes(attack_target: AttackTarget, refuse: Refuse) -> None:
    for kind in ("refresh", "", None, ["access"]):
        refuse(sign(attack_target, claims(type=kind)))
    refuse(jwt.encode({"user_id": 1, "exp": int(time.time()) + 60}, "x" * 32))


def test_c11_urls_in_token_headers_are_not_fetched(
    attack_target: AttackTarget, refuse: Refuse
) -> None:
    for pointing in (
        {"kid": "../../dev/null"},
        {"kid": "' or 1=1 --"},
        {"kid": "k" * 5_000},
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/keys"},
        {"jwk": {"kty": "oct", "k": ""}},
    ):
        refuse(signed("", json.dumps({"alg": "HS256"} | pointing), claims()))
    refuse(sign(attack_target, claims(), '{"alg":"HS256","crit":["b64"],"b64":false}'))


def test_c13_duplicate_oversized_and_misplaced_tokens(
    attack_target: AttackTarget, api: Api, refuse: Refuse
) -> None:
    good = sign(attack_target, claims())
    refuse(sign(attack_target, claims(), '{"alg":"none","alg":"HS256"}'))
    refuse(sign(attack_target, claims()[:-1] + f', "user_id": {OWNER}}}'))
    refuse(sign(attack_target, claims(ballast="x" * 20_000)))
    refuse(Authorization="Bearer")
    refuse(f"{good} {good}")
    refuse(Authorization=good)
    refuse(Cookie=f"token={good}; access_token={good}")
    with attack_target.nothing_written():
        two = [("Authorization", f"Bearer {good}")] * 2
        looks_refused(api, api.list(headers=two))
        looks_refused(api, api.list(params={"token": good, "access_token": good}))
        huge = api.list(headers={"Authorization": "Bearer " + "x" * 1_000_000})
        assert huge.status_code == httpx.codes.REQUEST_HEADER_FIELDS_TOO_LARGE
    log = attack_target.server.log()
    assert all(part not in log for part in good.split("."))
