"""An HTTP server that simulates the user and the product service, healthy or faulty.

Runs as a separate process: `python -m tests.python.support.upstream_server PORT STATE`. It rereads
STATE, a JSON file that `upstream_services.py` writes, on every request. It writes one JSON object
per line: first `{"ready": true}`, then every call, and every client that disconnects
before its response is complete.
"""

import json
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

# A storefront's query to its product service; the ids are literals or a variable.
QUESTION = re.compile(r"productByIds\s*\(\s*ids\s*:\s*(\$\w+|\[[^\]]*\])\s*\)\s*\{([^}]*)\}")
OTHER_ID = "f" * 24
HUGE_BYTES = 10 * 1024**3
CHUNK = b" " * 65_536
TRICKLE_PAUSE_S = 0.05
MOVED = "/moved"

Json = Any
"""What `json.loads` gives."""


class State:
    """The content of the state file, and how often each fault has occurred.

    The file holds `{"products": {ID: {"price", "stock"}}, "users": [ID], "tokens": [TOKEN],
    "bare": BOOL, "faults": [{"number", "kind", "path", "calls", "status", "delay_s"}]}`.
    """

    def __init__(self, path: Path) -> None:
        """Reads nothing yet."""
        self._path = path
        self._met: Counter[int] = Counter()
        self._lock = threading.Lock()

    def now(self) -> Json:
        """Reads the state file."""
        return json.loads(self._path.read_text())

    def fault(self, path: str) -> Json:
        """Returns the fault that this call meets, counted; of the kind "none" for a good answer."""
        faults = self.now()["faults"]
        with self._lock:
            for fault in faults:
                left = fault["calls"] is None or self._met[fault["number"]] < fault["calls"]
                if left and path.startswith(fault["path"]):
                    self._met[fault["number"]] += 1
                    return fault
        return {"kind": "none"}


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    # Head and body leave together, and at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        """Answers a REST call."""
        self._answer(b"")

    def do_POST(self) -> None:
        """Answers a GraphQL request."""
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Writes nothing: the calls are written as records."""

    def _answer(self, body: bytes) -> None:
        write(
            {
                "method": self.command,
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": body.decode(errors="replace"),
                "connection": self.client_address[1],
                "at_s": time.monotonic(),
            }
        )
        assert isinstance(self.server, Server)
        state = self.server.state
        fault = state.fault(self.path)
        kind = fault["kind"]
        if kind == "slow":
            time.sleep(fault["delay_s"])
        status, answer = respond(state.now(), self.path, self.headers, body)
        match kind:
            case "status":
                self._send(fault["status"], b'{"error": "the service is out of order"}')
            case "html":
                self._send(200, b"<!doctype html><title>Welcome</title>", "text/html")
            case "garbage":
                self._send(200, b'{"result": {"_id": "1", "pri')
            case "redirect":
                self._send(302, b"", Location=f"{MOVED}{self.path}")
            case "other id":
                self._send(status, json.dumps(with_other_id(answer)).encode())
            case "hang" | "huge" | "endless" | "trickle":
                self._send_until_the_client_leaves(kind)
            case "cut":
                self._send(200, b'{"result": ', **{"Content-Length": "1000"})
                self.close_connection = True
            case _:
                self._send(status, json.dumps(answer).encode())

    def _send(
        self, status: int, body: bytes, content_type: str = "application/json", **headers: str
    ) -> None:
        self.send_response(status)
        usual = {"Content-Type": content_type, "Content-Length": str(len(body))}
        for name, value in (usual | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _send_until_the_client_leaves(self, kind: str) -> None:
        self.close_connection = True
        sent_bytes = 0
        try:
            if kind == "hang":
                # Nothing more comes from a client that waits for its answer, but the end.
                self.rfile.read(1)
            else:
                length = ("Transfer-Encoding", "chunked")
                if kind != "endless":
                    length = ("Content-Length", str(HUGE_BYTES))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header(*length)
                self.end_headers()
                for part in parts(kind):
                    self.wfile.write(part)
                    self.wfile.flush()
                    sent_bytes += len(part)
        except ConnectionError:
            pass
        write({"left": self.path, "sent_bytes": sent_bytes})


class Server(ThreadingHTTPServer):
    """The server, with the state that it obeys."""

    request_queue_size = 128

    def __init__(self, port: int, state: State) -> None:
        """Listens."""
        super().__init__(("127.0.0.1", port), Handler)
        self.state = state

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's
        """Ignores clients that have disconnected."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def parts(kind: str) -> Iterator[bytes]:
    """Yields a body that is a valid beginning of JSON for as long as it lasts."""
    if kind == "huge":
        for _ in range(HUGE_BYTES // len(CHUNK)):
            yield CHUNK
    while kind == "endless":
        yield f"{len(CHUNK):x}\r\n".encode() + CHUNK + b"\r\n"
    while kind == "trickle":
        yield b" "
        time.sleep(TRICKLE_PAUSE_S)


def respond(state: Json, path: str, headers: Json, body: bytes) -> tuple[int, Json]:
    """Returns the status and the body of the answer of a service in order."""
    path = path.removeprefix(MOVED)
    service, _, encoded = path.removeprefix("/").partition("/")
    identifier = unquote(encoded)
    if service == "graphql":
        return graphql(state, headers.get("Authorization", ""), body)
    if service == "users" and identifier in state["users"]:
        return HTTPStatus.OK, {"result": {"_id": identifier}}
    if service == "products" and identifier in state["products"]:
        product = state["products"][identifier]
        found = {"_id": identifier, "price": product["price"], "quantity": product["stock"]}
        return HTTPStatus.OK, found if state["bare"] else {"result": found}
    return HTTPStatus.NOT_FOUND, {"error": f"no {path}"}


def graphql(state: Json, authorization: str, body: bytes) -> tuple[int, Json]:
    """Responds to `productByIds`: the known ones, in arbitrary order, as databases do."""
    scheme, _, token = authorization.partition(" ")
    if scheme != "Bearer" or token not in state["tokens"]:
        return HTTPStatus.OK, {"errors": [{"message": "Not authenticated"}], "data": None}
    try:
        request = json.loads(body)
        question = QUESTION.search(request["query"])
        assert question is not None
        asked = question[1]
        ids = request["variables"][asked[1:]] if asked.startswith("$") else json.loads(asked)
    except (AssertionError, KeyError, TypeError, ValueError):
        return HTTPStatus.BAD_REQUEST, {"errors": [{"message": "Not a question of this schema"}]}
    products = state["products"]
    found = [{"id": each, **products[each]} for each in sorted(map(str, ids)) if each in products]
    chosen = [{field: each[field] for field in question[2].split()} for each in found]
    return HTTPStatus.OK, {"data": {"productByIds": chosen}}


def with_other_id(answer: Json) -> Json:
    """A response about a different product or user."""
    if isinstance(answer, list):
        return [with_other_id(each) for each in answer]
    if isinstance(answer, dict):
        return {
            key: OTHER_ID if key in ("_id", "id") else with_other_id(value)
            for key, value in answer.items()
        }
    return answer


def write(record: dict[str, object]) -> None:
    """Writes a record in one call, because several threads do."""
    os.write(sys.stdout.fileno(), f"{json.dumps(record)}\n".encode())


if __name__ == "__main__":
    with Server(int(sys.argv[1]), State(Path(sys.argv[2]))) as serving:
        write({"ready": True})
        serving.serve_forever()
