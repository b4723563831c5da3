"""WSGI, ASGI and Flask return the same responses as the engine's own server."""

import asyncio
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import httpx
import pytest
from flask import Flask, Response, jsonify, request

from order_engine import (
    Forbidden,
    IdempotencyMismatch,
    Internal,
    InvalidInput,
    Misconfigured,
    NotFound,
    OrderEngineError,
    OutcomeUnknown,
    OutOfStock,
    ProductNotFound,
    RateLimited,
    TokenExpired,
    Unavailable,
    asgi,
    wsgi,
)
from order_engine.flask import OrderEngineExtension, current_order_engine
from tests.python.support.engine_process import EngineProcess
from tests.python.support.product_service import Product
from tests.python.support.shop import Shop

LIST = {"query": "{ getOrders { id userId quantity } }"}
PLACE = {
    "query": "mutation { placeOrder(userId: 1, productId: 1, quantity: 2)"
    " { success message order { id quantity } } }"
}
WATCH = "subscription { orderUpdated { id status } }"
# Headers of the connection, and the date.
NOT_OF_THE_ANSWER = {"x-request-id", "connection", "date", "server", "transfer-encoding"}
Face = Callable[..., httpx.Response]


@dataclass(frozen=True)
class Case:
    """A request; `token` is the user of its token."""

    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | dict[str, str] | None = None
    token: bool = True


CASES = {
    "an order placed": Case("POST", "/graphql", {"Idempotency-Key": "the same"}, PLACE),
    "a list": Case("POST", "/graphql", {}, LIST),
    "a list in the new media type": Case(
        "POST", "/graphql", {"Accept": "application/graphql-response+json"}, LIST
    ),
    "a list by address": Case("GET", "/graphql?query=%7B%20getOrders%20%7B%20id%20%7D%20%7D"),
    "no token": Case("POST", "/graphql", {}, LIST, token=False),
    "a document that is none": Case("POST", "/graphql", {}, {"query": "{"}),
    "a body that is no JSON": Case(
        "POST", "/graphql", {"Content-Type": "application/json"}, b"\xff{"
    ),
    "another media type": Case("POST", "/graphql", {"Content-Type": "text/plain"}, b"x"),
    "an Accept that nothing fits": Case("POST", "/graphql", {"Accept": "image/png"}, LIST),
    "a change by address": Case("GET", "/graphql?query=mutation%20%7B%20a%20%7D"),
    "too long a body": Case(
        "POST", "/graphql", {"Content-Type": "application/json"}, b" " * (1024 * 1024 + 1)
    ),
    "the playground": Case("GET", "/graphql", {"Accept": "text/html"}, token=False),
    "the root": Case("GET", "/", token=False),
    "the root for a browser": Case("GET", "/", {"Accept": "text/html,*/*;q=0.8"}, token=False),
    "the root's head": Case("HEAD", "/", token=False),
    "health": Case("GET", "/healthz", token=False),
    "an asset that is not there": Case("GET", "/graphql/assets/%C3%A4%20b.js", token=False),
}


def flask_app(server: EngineProcess, **extension: Any) -> Flask:  # noqa: ANN401 - its arguments.
    """An application with the settings of the old service."""
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=server.env["DATABASE_URL"],
        JWT_SECRET_KEY=server.secret,
        ORDER_ENGINE_RELAY=False,
    )
    OrderEngineExtension(app, **extension)
    return app


@pytest.fixture(scope="module")
def settings(shared_server: EngineProcess) -> dict[str, str]:
    return {
        "database_url": shared_server.env["DATABASE_URL"],
        "jwt_secret_key": shared_server.secret,
    }


@pytest.fixture(scope="module")
def stocked(shared_shop: Shop) -> Shop:
    shared_shop.offer(Product(1, quantity=1000))
    return shared_shop


def through_wsgi(app: Any) -> Face:  # noqa: ANN401 - a WSGI application.
    client = httpx.Client(transport=httpx.WSGITransport(app), base_url="http://api")
    return client.request


def through_asgi(app: asgi.OrderEngineApp) -> Face:
    async def ask(*arguments: Any, **named: Any) -> httpx.Response:  # noqa: ANN401 - httpx's.
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.request(*arguments, **named)

    return lambda *arguments, **named: asyncio.run(ask(*arguments, **named))


@pytest.fixture(scope="module", params=["wsgi", "asgi", "flask"])
def face(request: pytest.FixtureRequest, stocked: Shop, settings: dict[str, str]) -> Iterator[Face]:
    match request.param:
        case "wsgi":
            with closing(wsgi.OrderEngineApp(**settings)) as wsgi_app:
                yield through_wsgi(wsgi_app)
        case "asgi":
            app = asgi.OrderEngineApp(**settings)
            yield through_asgi(app)
            asyncio.run(app.close())
        case _:
            yield through_wsgi(flask_app(stocked.server, paths=("/graphql", "/", "/healthz")))


@pytest.mark.parametrize("name", CASES)
def test_a_response_equals_that_of_the_engines_own_server(
    name: str, stocked: Shop, face: Face
) -> None:
    case = CASES[name]
    headers = dict(case.headers)
    if case.token:
        headers["Authorization"] = f"Bearer {stocked.server.token(1, exp=4_000_000_000)}"
    given: dict[str, Any] = (
        {"json": case.body} if isinstance(case.body, dict) else {"content": case.body}
    )

    own = stocked.server.client.request(case.method, case.path, headers=headers, **given)
    other = face(case.method, case.path, headers=headers, **given)

    assert other.status_code == own.status_code
    assert other.content == own.content
    assert comparable(other) == comparable(own)
    if name == "an order placed":
        assert other.json()["data"]["placeOrder"]["success"]


def comparable(response: httpx.Response) -> set[tuple[str, str]]:
    headers = response.headers.multi_items()
    return {(name, value) for name, value in headers if name not in NOT_OF_THE_ANSWER}


@contextmanager
def changing_orders(shop: Shop) -> Iterator[None]:
    """Orders change continuously: a subscription shows the changes after its start."""
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            shop.ask(f"mutation {{ cancelOrder(id: {shop.placed((1, 1))}) {{ success }} }}")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_server_sent_events_are_streamed_through_wsgi(
    stocked: Shop, settings: dict[str, str]
) -> None:
    body = json.dumps({"query": WATCH}).encode()
    with closing(wsgi.OrderEngineApp(**settings)) as app:
        reported: list[str] = []
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/graphql",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_ACCEPT": "text/event-stream",
            "HTTP_AUTHORIZATION": f"Bearer {stocked.server.token(1)}",
            "wsgi.input": BytesIO(body),
        }
        pieces = app(environ, lambda status, headers: reported.extend([status, str(headers)]))  # type: ignore[arg-type]
        assert reported[0] == "200 OK"
        assert "text/event-stream" in reported[1]
        assert isinstance(pieces, wsgi.StreamedBody)
        with changing_orders(stocked):
            events = [piece.decode() for piece in itertools.islice(pieces, 2)]
        for event in events:
            assert event.startswith("event: next\n"), event
            assert '"orderUpdated":{"id":"' in event
        pieces.close()
        assert next(pieces, None) is None, "what was let go of has ended"


class SocketClient:
    """The client side of an ASGI WebSocket."""

    def __init__(self, app: asgi.OrderEngineApp, path: str, protocol: str, token: str) -> None:
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[Any] = asyncio.Queue()
        headers = [
            (b"sec-websocket-protocol", protocol.encode()),
            (b"authorization", f"Bearer {token}".encode()),
        ]
        scope = {"type": "websocket", "path": path, "headers": headers}
        self._serving = asyncio.create_task(app(scope, self._to_app.get, self._from_app.put))
        self._to_app.put_nowait({"type": "websocket.connect"})

    async def receive_message(self) -> dict[str, Any]:
        message: dict[str, Any] = await asyncio.wait_for(self._from_app.get(), 20)
        return message

    async def receive(self) -> Any:  # noqa: ANN401 - any JSON.
        return json.loads((await self.receive_message())["text"])

    def send(self, message: dict[str, object]) -> None:
        self._to_app.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    async def leave(self) -> None:
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self._serving, 20)


def test_the_asgi_server_keeps_a_websocket_open(stocked: Shop, settings: dict[str, str]) -> None:
    async def watch() -> None:
        app = asgi.OrderEngineApp(**settings)
        token = stocked.server.token(1)
        client = SocketClient(app, "/graphql", "graphql-transport-ws", token)
        accepted = {"type": "websocket.accept", "subprotocol": "graphql-transport-ws"}
        assert await client.receive_message() == accepted
        client.send({"type": "connection_init"})
        assert await client.receive() == {"type": "connection_ack"}
        client.send({"type": "subscribe", "id": "all", "payload": {"query": WATCH}})
        client.send({"type": "ping"})
        assert await client.receive() == {"type": "pong"}
        with changing_orders(stocked):
            shown = (await client.receive())["payload"]["data"]["orderUpdated"]
        assert shown["status"] in {"Pending", "Cancelled"}
        await client.leave()

        refused = {"type": "websocket.close"}
        other = SocketClient(app, "/graphql", "chat", token)
        assert await other.receive_message() == refused
        elsewhere = SocketClient(app, "/else", "graphql-transport-ws", token)
        assert await elsewhere.receive_message() == refused

        staying = SocketClient(app, "/graphql", "graphql-transport-ws", token)
        assert await staying.receive_message() == accepted
        await app.close()
        assert (await staying.receive_message())["code"] == asgi.GOING_AWAY

    asyncio.run(watch())


def test_an_apps_own_hooks_run_and_its_other_routes_remain(stocked: Shop) -> None:
    app = flask_app(stocked.server, paths=["/graphql"])
    seen: list[object] = []

    @app.before_request
    def note() -> None:
        seen.append(request.get_json(silent=True))

    @app.after_request
    def sign(response: Response) -> Response:
        response.headers["X-Shop"] = "own"
        return response

    @app.route("/graphql", methods=["GET", "POST"])
    def before() -> str:
        raise AssertionError("the endpoint has been taken over")

    @app.get("/")
    def root() -> str:
        return "the app's own"

    @app.get("/mine")
    def mine() -> Response:
        orders = current_order_engine.list_orders(user_id=1, limit=1).orders
        return jsonify([order.user_id for order in orders])

    stocked.placed((1, 1))
    client = app.test_client()
    headers = {"Authorization": f"Bearer {stocked.server.token(1)}"}
    answer = client.post("/graphql", json=LIST, headers=headers)
    assert answer.json is not None
    assert answer.json["data"]["getOrders"]
    assert answer.headers["X-Shop"] == "own"
    assert seen == [LIST]
    assert client.get("/").text == "the app's own"
    assert client.get("/mine").json == ["1"]
    assert client.put("/graphql").status_code == 405
    assert client.options("/graphql").headers["Allow"]
    assert client.get("/nowhere").status_code == 404


ERRORS: list[tuple[OrderEngineError, int, str]] = [
    (InvalidInput("The quantity is 0."), 400, "INVALID_INPUT"),
    (TokenExpired("The token has expired."), 401, "TOKEN_EXPIRED"),
    (Forbidden("Only staff may do this."), 403, "FORBIDDEN"),
    (ProductNotFound("No product 9.", {"product_id": "9"}), 404, "PRODUCT_NOT_FOUND"),
    (OutOfStock("Only 1 left.", {"product_id": "1", "available": "1"}), 409, "OUT_OF_STOCK"),
    (IdempotencyMismatch("Another body."), 422, "IDEMPOTENCY_MISMATCH"),
    (Unavailable("PostgreSQL at db.internal:5432 is down."), 503, "UNAVAILABLE"),
    (RateLimited("Too many requests.", {"retry_after_s": "7"}), 429, "RATE_LIMITED"),
    (OutcomeUnknown("db.internal:5432 was lost."), 503, "OUTCOME_UNKNOWN"),
    (Internal("A bug at db.internal:5432."), 500, "INTERNAL"),
]


@pytest.mark.parametrize(("error", "status", "code"), ERRORS)
def test_flask_answers_an_exception_with_json(
    stocked: Shop, error: OrderEngineError, status: int, code: str
) -> None:
    app = flask_app(stocked.server)

    @app.get("/fails")
    def fails() -> str:
        raise error

    answer = app.test_client().get("/fails")
    assert (answer.status_code, answer.json and answer.json["error"]["code"]) == (status, code)
    assert ("Retry-After" in answer.headers) == error.retryable
    assert "db.internal" not in answer.text
    if status < 500:
        assert answer.json is not None
        assert answer.json["error"] == {"code": code, "message": error.message, **error.context}


def test_an_apps_own_error_handler_takes_precedence(stocked: Shop) -> None:
    app = flask_app(stocked.server)

    @app.errorhandler(NotFound)
    def not_found(_error: NotFound) -> tuple[str, int]:
        return "own", 410

    @app.get("/fails")
    def fails() -> str:
        raise NotFound("No order 9.")

    answer = app.test_client().get("/fails")
    assert (answer.status_code, answer.text) == (410, "own")


def test_error_handlers_can_be_switched_off(stocked: Shop) -> None:
    app = flask_app(stocked.server, error_handlers=False)
    app.testing = True

    @app.get("/fails")
    def fails() -> str:
        raise NotFound("No order 9.")

    with pytest.raises(NotFound):
        app.test_client().get("/fails")


@pytest.mark.parametrize("module", [wsgi, asgi])
def test_a_factory_checks_the_settings(module: Any, settings: dict[str, str]) -> None:  # noqa: ANN401 - a module.
    assert isinstance(module.create_app(**settings), module.OrderEngineApp)
    with pytest.raises(Misconfigured, match="access"):
        module.create_app(**settings, access="nobody")


def test_apis_can_be_mounted_below_a_prefix(stocked: Shop) -> None:
    client = flask_app(stocked.server, prefix="/shop/").test_client()
    assert client.get("/shop/").text == "server running"
    page = client.get("/shop/graphql", headers={"Accept": "text/html"})
    assert "<html" in page.text
    headers = {"Authorization": f"Bearer {stocked.server.token(1)}"}
    assert client.post("/shop/graphql", json=LIST, headers=headers).status_code == 200
    assert client.get("/").status_code == 404
    assert client.post("/graphql", json=LIST).status_code == 404
    script = page.text.split('src="', 1)[1].split('"', 1)[0]
    assert not script.startswith("/"), "the page finds its files wherever it is"
    assert client.get(f"/shop/{script}").status_code == 200


def test_wrong_settings_fail_when_the_app_is_created() -> None:
    app = Flask(__name__)
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite:///orders.db", ORDER_ENGINE_ACCESS="all")
    with pytest.raises(Misconfigured) as raised:
        OrderEngineExtension(app)
    problems = " ".join(raised.value.problems)
    assert "database_url" in problems
    assert "access" in problems
    assert "jwt_secret_key" in problems
    with pytest.raises(RuntimeError, match="OrderEngineExtension"), Flask("bare").app_context():
        current_order_engine.health()


def test_an_unreachable_database_is_a_503(stocked: Shop, settings: dict[str, str]) -> None:
    away = {
        **settings,
        "database_url": "postgresql://nobody@127.0.0.1:1/nothing",
        "database_timeout_seconds": "1",
    }
    for face in (
        through_wsgi(wsgi.OrderEngineApp(**away)),
        through_asgi(asgi.OrderEngineApp(**away)),
        through_wsgi(flask_app(stocked.server, **away)),
    ):
        answer = face("POST", "/graphql", json=LIST)
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        assert answer.json()["errors"][0]["extensions"] == {"code": "UNAVAILABLE"}
        assert "127.0.0.1" not in answer.text
