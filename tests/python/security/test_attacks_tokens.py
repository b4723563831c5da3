"""Rows C1 to C13 of the attack table: forged and misused tokens, at every door."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable

import httpx
import jwt
import pytest

from tests.python.support.attack_target import CONTRACTS, OWNER, Attacked, Door, RestDoor, claims


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def signed(secret: str, header: str, body: str) -> str:
    """Signs with HS256 whatever is given, also what no library would write."""
    message = f"{encoded(header.encode())}.{encoded(body.encode())}"
    signature = hmac.digest(secret.encode(), message.encode(), hashlib.sha256)
    return f"{message}.{encoded(signature)}"


@pytest.fixture(params=CONTRACTS)
def door(attacked: Attacked, request: pytest.FixtureRequest) -> Door:
    return attacked.doors[request.param]


Refuse = Callable[..., None]


@pytest.fixture
def refuse(attacked: Attacked, door: Door) -> Refuse:
    """Reads and places with what must not be let in, and checks that nothing came of it."""

    def refuse(token: str | None = None, **headers: str) -> None:
        if token is not None:
            headers |= {"Authorization": f"Bearer {token}"}
        with attacked.nothing_written():
            for answer in (door.list(headers=headers), door.place(headers=headers)):
                looks_refused(door, answer)
                assert token is None or token not in answer.text

    return refuse


def looks_refused(door: Door, answer: httpx.Response) -> None:
    assert door.failure(answer), answer.text
    expected = httpx.codes.UNAUTHORIZED if isinstance(door, RestDoor) else httpx.codes.OK
    assert answer.status_code == expected, answer.text
    assert '"id"' not in answer.text
    assert '"_id"' not in answer.text


def sign(attacked: Attacked, body: str, header: str = '{"alg":"HS256"}') -> str:
    return signed(attacked.server.secret, header, body)


def test_the_doors_let_an_honest_token_in(attacked: Attacked, door: Door) -> None:
    headers = {"Authorization": f"Bearer {sign(attacked, claims())}"}
    assert door.order(door.place(headers=headers))
    assert door.orders(door.list(headers=headers))


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "", "HS384", "RS256", "ES256", "EdDSA"])
def test_c1_the_token_does_not_choose_its_algorithm(
    attacked: Attacked, refuse: Refuse, alg: str
) -> None:
    lying = sign(attacked, claims(), json.dumps({"alg": alg}))
    refuse(lying)
    refuse(lying.rpartition(".")[0] + ".")


def test_c4_times_of_the_wrong_type(attacked: Attacked, refuse: Refuse) -> None:
    for name in ("exp", "nbf"):
        for wrong in ("soon", "4102444800", -1, 4102444800.5, None, [4102444800], True, 10**30):
            refuse(sign(attacked, claims(**{name: wrong})))


def test_c5_tokens_before_and_after_their_time(attacked: Attacked, refuse: Refuse) -> None:
    now = int(time.time())
    for late in (30, 61):
        refuse(sign(attacked, claims(exp=now - late)))
    refuse(sign(attacked, claims(nbf=now + 30)))


def test_c6_tokens_without_what_they_need(attacked: Attacked, refuse: Refuse) -> None:
    later = int(time.time()) + 60
    for body in ({}, {"exp": later}, {"user_id": 1}, {"user_id": 1, "exp": later, "aud": "shop"}):
        refuse(sign(attacked, json.dumps(body)))


def test_c7_users_that_are_none(attacked: Attacked, refuse: Refuse) -> None:
    for user in (None, True, 1.5, [1], {"$ne": None}, "", "a\0b", "1\r\nX-Admin: 1", "u" * 129):
        refuse(sign(attacked, claims(user_id=user)))
    refuse(sign(attacked, claims(sub="2")))


def test_c8_tokens_for_something_else(attacked: Attacked, refuse: Refuse) -> None:
    for kind in ("refresh", "", None, ["access"]):
        refuse(sign(attacked, claims(type=kind)))
    refuse(jwt.encode({"user_id": 1, "exp": int(time.time()) + 60}, "x" * 32))


def test_c11_what_a_header_points_to_is_not_followed(attacked: Attacked, refuse: Refuse) -> None:
    for pointing in (
        {"kid": "../../dev/null"},
        {"kid": "' or 1=1 --"},
        {"kid": "k" * 5_000},
        {"jku": "http://127.0.0.1:1/keys"},
        {"x5u": "http://127.0.0.1:1/keys"},
        {"jwk": {"kty": "oct", "k": ""}},
    ):
        refuse(signed("", json.dumps({"alg": "HS256"} | pointing), claims()))
    refuse(sign(attacked, claims(), '{"alg":"HS256","crit":["b64"],"b64":false}'))


def test_c13_what_comes_twice_is_too_long_or_misplaced(
    attacked: Attacked, door: Door, refuse: Refuse
) -> None:
    good = sign(attacked, claims())
    refuse(sign(attacked, claims(), '{"alg":"none","alg":"HS256"}'))
    refuse(sign(attacked, claims()[:-1] + f', "user_id": {OWNER}}}'))
    refuse(sign(attacked, claims(ballast="x" * 20_000)))
    refuse(Authorization="Bearer")
    refuse(f"{good} {good}")
    refuse(Authorization=good)
    refuse(Cookie=f"token={good}; access_token={good}")
    with attacked.nothing_written():
        two = [("Authorization", f"Bearer {good}")] * 2
        looks_refused(door, door.list(headers=two))
        looks_refused(door, door.list(params={"token": good, "access_token": good}))
        huge = door.list(headers={"Authorization": "Bearer " + "x" * 1_000_000})
        assert huge.status_code == httpx.codes.REQUEST_HEADER_FIELDS_TOO_LARGE
    log = attacked.server.log()
    assert all(part not in log for part in good.split("."))
