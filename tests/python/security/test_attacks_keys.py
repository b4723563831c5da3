"""Rows C2, C3 and C9 to C12: public keys, key rotation, and tokens that confuse key types."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.python.security.test_attacks_tokens import signed
from tests.python.security.test_tokens import GOOD, INVALID, answer_to
from tests.python.support.engine_process import EngineProcess
from tests.python.support.failed_commands import refusal
from tests.python.support.jwks_server import HUGE_BYTES, KeyServer, SigningKey, key_set
from tests.python.support.waiting import eventually

WEAK_BITS = 1024
ALGORITHMS = ("RS256", "ES256", "EdDSA")
UNKNOWN_KEYS = 1_000
FLOODERS = 16
QUICK = {
    "ORDER_ENGINE_JWT_JWKS_REFRESH_SECONDS": "1",
    "ORDER_ENGINE_JWT_JWKS_COOLDOWN_SECONDS": "1",
    "ORDER_ENGINE_JWT_JWKS_STALE_SECONDS": "2",
}
SLOW = {
    "ORDER_ENGINE_JWT_JWKS_REFRESH_SECONDS": "3600",
    "ORDER_ENGINE_JWT_JWKS_COOLDOWN_SECONDS": "3600",
}


@pytest.fixture(scope="module")
def keys() -> dict[str, SigningKey]:
    return {name: SigningKey.make(f"key-{name}", name) for name in ALGORITHMS}


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    with closing(KeyServer()) as opened:
        yield opened


Make = Callable[..., EngineProcess]


@pytest.fixture
def make_checker(make_server: Make) -> Make:
    """Starts engines without a secret and without a broker."""

    def make(**settings: str) -> EngineProcess:
        server = make_server(JWT_SECRET_KEY="", RABBITMQ_URL="", **settings)
        server.start()
        return server

    return make


def answer(server: EngineProcess, token: str) -> str:
    return answer_to(server, f"Bearer {token}")


def honest() -> str:
    return json.dumps({"user_id": 1, "exp": int(time.time()) + 60})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_c2_a_public_key_is_not_accepted_as_a_secret(
    make_checker: Make, keys: dict[str, SigningKey], tmp_path: Path, algorithm: str
) -> None:
    key = keys[algorithm]
    file = tmp_path / "issuer.pem"
    file.write_bytes(key.pem())
    server = make_checker(ORDER_ENGINE_JWT_PUBLIC_KEY_FILE=str(file))
    assert answer(server, key.sign()) == GOOD
    public = key.private.public_key()
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    texts = [key.pem().decode(), key.pem().decode().strip(), json.dumps(key.jwk())]
    texts += [der.decode("latin-1"), base64.b64encode(der).decode(), ""]
    if algorithm == "RS256":
        texts.append(key.pem(PublicFormat.PKCS1).decode())
    for secret in texts:
        for claimed in ("HS256", algorithm):
            assert answer(server, signed(secret, json.dumps({"alg": claimed}), honest())) == INVALID
    for other in ALGORITHMS:
        if other != algorithm:
            assert answer(server, keys[other].sign()) == INVALID
    assert answer(server, key.sign()[:-6] + "AAAAAA") == INVALID


def test_c2_a_secret_and_public_keys_can_be_combined(
    make_server: Make, keys: dict[str, SigningKey], tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    file.write_text(key_set(*keys.values()))
    server = make_server(RABBITMQ_URL="", ORDER_ENGINE_JWT_JWKS_FILE=str(file))
    server.start()
    assert answer(server, server.token(1)) == GOOD
    for key in keys.values():
        assert answer(server, key.sign()) == GOOD
        forged = signed(server.secret, json.dumps({"alg": key.algorithm, "kid": key.kid}), honest())
        assert answer(server, forged) == INVALID


def test_c3_c12_a_key_accepts_only_the_algorithm_of_its_type(
    make_checker: Make, key_server: KeyServer, keys: dict[str, SigningKey]
) -> None:
    rsa_key, ec_key, ed_key = (keys[name] for name in ALGORITHMS)
    silent = rsa_key.jwk(alg=None)
    key_server.serve(silent, ec_key.jwk(alg=None, use=None), ed_key)
    server = make_checker(ORDER_ENGINE_JWT_JWKS_URL=key_server.url, **SLOW)
    for key in keys.values():
        assert answer(server, key.sign()) == GOOD
    for secret in ("", str(silent["n"]), json.dumps(silent)):
        forged = signed(secret, json.dumps({"alg": "HS256", "kid": rsa_key.kid}), honest())
        assert answer(server, forged) == INVALID
    # Another algorithm of the same key, and the name of another key.
    claims = {"user_id": 1, "exp": int(time.time()) + 60}
    for algorithm in ("RS384", "RS512", "PS256"):
        other = jwt.encode(claims, rsa_key.private, algorithm, headers={"kid": rsa_key.kid})
        assert answer(server, other) == INVALID
    assert answer(server, rsa_key.sign({"kid": ec_key.kid})) == INVALID
    unnamed = jwt.encode(claims, rsa_key.private, "RS256")
    assert answer(server, unnamed) == GOOD, "a token need not name its key"


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_c12_keys_for_other_purposes_are_ignored(
    make_checker: Make, key_server: KeyServer, keys: dict[str, SigningKey]
) -> None:
    rsa_key, ec_key, ed_key = (keys[name] for name in ALGORITHMS)
    weak = SigningKey("weak", "RS256", rsa.generate_private_key(65537, WEAK_BITS))
    other_curve = ec.generate_private_key(ec.SECP384R1())
    wide = SigningKey("wide", "ES384", other_curve)
    secret = {"kty": "oct", "kid": "secret", "k": base64.urlsafe_b64encode(b"x" * 32).decode()}
    key_server.serve(
        ed_key,
        rsa_key.jwk(kid="enc", use="enc"),
        rsa_key.jwk(kid="ops", key_ops=["encrypt"]),
        rsa_key.jwk(kid="other", alg="RS512"),
        rsa_key.jwk(kid="pss", alg="PS256"),
        rsa_key.jwk(kid="lying", alg="HS256"),
        rsa_key.jwk(kid="broken", n="!!"),
        ec_key.jwk(kid="short", x="AAAA"),
        ec_key.jwk(kid="crossed", crv="P-384"),
        weak,
        wide,
        secret,
        {"kty": "RSA"},
    )
    server = make_checker(ORDER_ENGINE_JWT_JWKS_URL=key_server.url, **SLOW)
    assert answer(server, ed_key.sign()) == GOOD
    for kid in ("enc", "ops", "other", "pss", "lying", "broken"):
        assert answer(server, rsa_key.sign({"kid": kid})) == INVALID, kid
    for kid in ("short", "crossed"):
        assert answer(server, ec_key.sign({"kid": kid})) == INVALID, kid
    assert answer(server, weak.sign()) == INVALID
    assert answer(server, wide.sign()) == INVALID
    assert answer(server, signed("x" * 32, '{"alg":"HS256","kid":"secret"}', honest())) == INVALID


def test_c9_tokens_with_unknown_keys_cause_one_fetch(
    make_checker: Make, key_server: KeyServer, keys: dict[str, SigningKey]
) -> None:
    known = keys["ES256"]
    key_server.serve(known)
    server = make_checker(ORDER_ENGINE_JWT_JWKS_URL=key_server.url, **SLOW)
    good = known.sign()
    fetched = len(key_server.asked)

    def flood(number: int) -> set[str]:
        return {answer(server, known.sign({"kid": f"none-{number}"})), answer(server, good)}

    with ThreadPoolExecutor(FLOODERS) as flooders:
        reported = list(flooders.map(flood, range(UNKNOWN_KEYS)))
    assert reported == [{INVALID, GOOD}] * UNKNOWN_KEYS
    assert len(key_server.asked) == fetched, "the fetch at start was within the cooldown"


def test_c10_keys_rotate_and_outlive_failures_of_their_server(
    make_checker: Make, key_server: KeyServer, keys: dict[str, SigningKey]
) -> None:
    old, new = keys["RS256"], keys["EdDSA"]
    key_server.serve(old)
    server = make_checker(ORDER_ENGINE_JWT_JWKS_URL=key_server.url, **QUICK)
    # The same tokens throughout: a cached result must be removed with the key that signed it.
    first, second = old.sign(), new.sign()
    assert answer(server, first) == GOOD
    key_server.serve(old, new)
    eventually(lambda: answer(server, second) == GOOD, "the new key is known")
    assert answer(server, first) == GOOD, "both are good while both are served"
    key_server.serve(new)
    eventually(lambda: answer(server, first) == INVALID, "the old key is gone")
    assert answer(server, second) == GOOD

    fetched = len(key_server.asked)
    key_server.fail(503)
    eventually(lambda: len(key_server.asked) >= fetched + 2, "it is tried again")
    assert answer(server, second) == GOOD, "known keys are kept for a while"
    away = "the keys count no longer"
    eventually(lambda: answer(server, second) not in {GOOD, INVALID}, away)
    assert server.client.get("/readyz").json()["parts"]["token_keys"]["state"] == "down"
    assert server.client.get("/readyz").status_code == httpx.codes.SERVICE_UNAVAILABLE
    key_server.serve(new)
    eventually(lambda: answer(server, second) == GOOD, "they are back")


def test_c10_an_invalid_key_set_removes_no_key(
    make_checker: Make, key_server: KeyServer, keys: dict[str, SigningKey]
) -> None:
    known = keys["ES256"]
    key_server.serve(known)
    settings = QUICK | {"ORDER_ENGINE_JWT_JWKS_STALE_SECONDS": "3600"}
    server = make_checker(ORDER_ENGINE_JWT_JWKS_URL=key_server.url, **settings)
    unknown = known.sign({"kid": "unknown"})
    many = key_set(*(known.jwk(kid=f"k{n}") for n in range(65))).encode()
    for status, body in (
        (302, b""),
        (404, b""),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b'{"keys": []}'),
        (200, b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'),
        (200, many),
        (200, b" " * HUGE_BYTES),
    ):
        fetched = len(key_server.asked)
        key_server.fail(status, body)
        while len(key_server.asked) == fetched:
            # A token with an unknown key causes a fetch as soon as the cooldown has passed.
            assert answer(server, unknown) == INVALID
        assert answer(server, known.sign()) == GOOD
    assert "/elsewhere" not in key_server.asked, "no redirect is followed"


def test_c11_addresses_and_keys_in_a_token_are_not_used(
    make_checker: Make, key_server: KeyServer, keys: dict[str, SigningKey]
) -> None:
    known, attackers = keys["RS256"], SigningKey.make("attacker", "RS256")
    key_server.serve(known)
    server = make_checker(ORDER_ENGINE_JWT_JWKS_URL=key_server.url, **SLOW)
    with closing(KeyServer([attackers])) as theirs:
        for header in (
            {"jku": theirs.url},
            {"x5u": theirs.url},
            {"jwk": attackers.jwk()},
            {"x5c": ["AAAA"]},
            {"kid": theirs.url},
            {"kid": "../../dev/null"},
            {"kid": "' or 1=1 --"},
            {"kid": known.kid},
            {"kid": "k" * 6_000},
        ):
            assert answer(server, attackers.sign(header)) == INVALID, header
        assert theirs.asked == []


def test_a_key_file_is_reloaded(
    make_checker: Make, keys: dict[str, SigningKey], tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    file.write_text(key_set(keys["RS256"]))
    server = make_checker(ORDER_ENGINE_JWT_JWKS_FILE=str(file), **QUICK)
    assert answer(server, keys["RS256"].sign()) == GOOD
    file.write_text(key_set(keys["EdDSA"]))
    eventually(lambda: answer(server, keys["EdDSA"].sign()) == GOOD, "the new key is known")
    assert answer(server, keys["RS256"].sign()) == INVALID


def test_a_key_server_may_start_later(
    make_server: Make, key_server: KeyServer, keys: dict[str, SigningKey]
) -> None:
    key_server.fail(503)
    server = make_server(
        RABBITMQ_URL="", ORDER_ENGINE_JWT_JWKS_URL=key_server.url, JWT_SECRET_KEY="", **QUICK
    )
    server.launch()
    eventually(lambda: "fetching the key set" in server.log(), "the failure is logged")
    token = f"Bearer {keys['ES256'].sign()}"
    eventually(lambda: healthy(server), "it lives")
    reported = answer_to(server, token)
    assert reported not in {GOOD, INVALID}
    assert key_server.url not in reported
    key_server.serve(keys["ES256"])
    eventually(lambda: answer_to(server, token) == GOOD, "the keys are there")


def healthy(server: EngineProcess) -> bool:
    try:
        return server.client.get("/healthz").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("ORDER_ENGINE_JWT_JWKS_URL", "http://keys.example/jwks", "https://"),
        ("ORDER_ENGINE_JWT_JWKS_URL", "https://me:hunter2@keys.example/jwks", "no password"),
        ("ORDER_ENGINE_JWT_JWKS_URL", "ftp://keys.example/jwks", "https://"),
        ("ORDER_ENGINE_JWT_PUBLIC_KEY_FILE", "/nowhere/at/all.pem", "/nowhere/at/all.pem"),
        ("ORDER_ENGINE_JWT_PUBLIC_KEY_FILE", "PRIVATE", "no public key"),
        ("ORDER_ENGINE_JWT_PUBLIC_KEY_FILE", "WEAK", "no public key"),
        ("ORDER_ENGINE_JWT_PUBLIC_KEY_FILE", "TEXT", "no public key"),
    ],
)
def test_wrong_key_settings_fail_at_start(
    make_server: Make, tmp_path: Path, setting: str, value: str, said: str
) -> None:
    weak = rsa.generate_private_key(65537, WEAK_BITS)
    files = {
        "PRIVATE": rsa.generate_private_key(65537, 2048).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
        "WEAK": SigningKey("weak", "RS256", weak).pem(),
        "TEXT": b"-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----\n",
    }
    if value in files:
        (tmp_path / value).write_bytes(files[value])
        value = str(tmp_path / value)
    server = make_server(JWT_SECRET_KEY="", **{setting: value})
    for command in (["serve", "--port", "0"], ["doctor"]):
        reported = refusal(server.env, *command)
        assert said in reported, reported
        assert "hunter2" not in reported
