"""A token issuer: its private keys, and a server for its public keys."""

import json
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

TOKEN_LIFE_S = 600
HUGE_BYTES = 3 * 1024 * 1024
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class SigningKey:
    """A private key, with the name and the algorithm that tokens carry."""

    kid: str
    algorithm: str
    private: PrivateKey

    @classmethod
    def make(cls, kid: str, algorithm: str) -> "SigningKey":
        """Generates a key for RS256, ES256 or EdDSA."""
        private: PrivateKey
        if algorithm == "ES256":
            private = ec.generate_private_key(ec.SECP256R1())
        elif algorithm == "EdDSA":
            private = ed25519.Ed25519PrivateKey.generate()
        else:
            private = rsa.generate_private_key(65537, 2048)
        return cls(kid, algorithm, private)

    def sign(self, headers: Mapping[str, object] | None = None, **claims: object) -> str:
        """Mints a token of user 1; `claims` override the usual ones."""
        usual = {"user_id": 1, "exp": int(time.time()) + TOKEN_LIFE_S}
        named: dict[str, Any] = {"kid": self.kid, **(headers or {})}
        return jwt.encode(usual | claims, self.private, algorithm=self.algorithm, headers=named)

    def jwk(self, **others: object) -> dict[str, object]:
        """The public key as a JWK; `others` override its fields."""
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            shown = RSAAlgorithm.to_jwk(public, as_dict=True)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            shown = ECAlgorithm.to_jwk(public, as_dict=True)
        else:
            shown = OKPAlgorithm.to_jwk(public, as_dict=True)
        shown.pop("key_ops", None)
        named = {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        return {key: value for key, value in (shown | named | others).items() if value is not None}

    def pem(self, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
        """The public key as PEM text."""
        return self.private.public_key().public_bytes(Encoding.PEM, form)


def key_set(*keys: SigningKey | Mapping[str, object]) -> str:
    """A set of public keys as text."""
    shown = [key.jwk() if isinstance(key, SigningKey) else key for key in keys]
    return json.dumps({"keys": shown})


class KeyServer:
    """Serves a set of keys, and counts how often it is asked."""

    def __init__(self, keys: Iterable[SigningKey] = ()) -> None:
        """Listens already."""
        self.body = key_set(*keys).encode()
        self.status = 200
        self.asked: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked.append(self.path)
                self.send_response(owner.status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(owner.body)))
                self.end_headers()
                self.wfile.write(owner.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Logs nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def serve(self, *keys: SigningKey | Mapping[str, object]) -> None:
        """Serves these from now on."""
        self.status, self.body = 200, key_set(*keys).encode()

    def fail(self, status: int = 500, body: bytes = b"") -> None:
        """Answers with this from now on."""
        self.body, self.status = body, status

    def close(self) -> None:
        """Listens no more."""
        self._server.shutdown()
        self._server.server_close()
