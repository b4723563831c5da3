"""The engine's HTTP API as an ASGI application, standalone or mounted in FastAPI or Starlette.

`uvicorn order_engine.asgi:app` or `uvicorn --factory order_engine.asgi:create_app` serves the
settings of the environment. The factory checks them when the server starts.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from order_engine import configuration, database, http_api
from order_engine.async_engine import AsyncOrderEngine
from order_engine.exceptions import InvalidInput, OrderEngineError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from order_engine import _native

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

GOING_AWAY = 1001
"""WebSocket close code for a server that shuts down."""


class OrderEngineApp:
    """An ASGI application whose engine opens at startup, or with the first request.

    The engine opens at startup if the server supports the lifespan protocol. A mounted application
    receives no lifespan events and opens with its first request. Responses are those of
    `order-engine serve`, including streams of server-sent events and WebSockets.

    Args:
        engine: An engine to serve. By default the application opens its own.
        **settings: Settings of its own engine; see `OrderEngine`.
    """

    def __init__(
        self, engine: AsyncOrderEngine | None = None, /, **settings: str | float | None
    ) -> None:
        self._engine = engine or AsyncOrderEngine(**settings)  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection, as the ASGI specification defines it."""
        match scope["type"]:
            case "http":
                await self._answer(scope, receive, send)
            case "websocket":
                await self._serve_socket(scope, receive, send)
            case "lifespan":
                await self._serve_lifespan(receive, send)
            case other:
                raise RuntimeError(f"Unsupported ASGI scope type {other!r}")

    async def close(self) -> None:
        """Close the engine; the lifespan protocol does so by itself."""
        await self._engine.close()

    async def _serve_lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._engine.open()
                except OrderEngineError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._engine.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            return
        try:
            answer = await self._engine.handle_http(
                scope["method"], _target(scope), scope["headers"], body, _client(scope)
            )
        except Unavailable as error:
            status, headers, content = http_api.unavailable_response(error)
            encoded = [(name.encode(), value.encode()) for name, value in headers]
            await _send_response(send, status, encoded, content)
        except InvalidInput as error:
            plain = [(b"content-type", b"text/plain; charset=utf-8")]
            await _send_response(send, 400, plain, str(error).encode())
        else:
            if answer.stream is None:
                await _send_response(send, answer.status, answer.headers, answer.body)
            else:
                await self._stream(answer, answer.stream, receive, send)

    async def _stream(
        self,
        answer: _native.HttpResponse,
        pieces: _native.ResponseStream,
        receive: Receive,
        send: Send,
    ) -> None:
        """Send chunks as they are produced, until the end or the client disconnects."""

        async def send_all() -> None:
            await send(
                {
                    "type": "http.response.start",
                    "status": answer.status,
                    "headers": answer.headers,
                }
            )
            while (piece := await self._engine.next_chunk(pieces)) is not None:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body"})

        await _race(send_all(), _until(receive, "http.disconnect"))

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        socket = None
        if _path(scope) == http_api.GRAPHQL:
            with suppress(OrderEngineError):
                socket = await self._engine.open_websocket(scope["headers"], _client(scope))
        if socket is None:
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept", "subprotocol": socket.protocol})
        await _race(_forward_incoming(socket, receive), _forward_outgoing(socket, send))


async def _forward_incoming(socket: _native.WebSocket, receive: Receive) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        if text is None:
            text = (message.get("bytes") or b"").decode(errors="replace")
        if not await socket.receive(text):
            # The outgoing direction sends the close frame.
            await asyncio.Event().wait()


async def _forward_outgoing(socket: _native.WebSocket, send: Send) -> None:
    while True:
        match await socket.next():
            case str(text):
                await send({"type": "websocket.send", "text": text})
            case (code, reason):
                await send({"type": "websocket.close", "code": code, "reason": reason})
                return
            case None:
                await send({"type": "websocket.close", "code": GOING_AWAY})
                return


async def _body(receive: Receive) -> bytes | None:
    """Read up to one byte more than is allowed; None if the client has disconnected."""
    kept = bytearray()
    while (message := await receive())["type"] == "http.request":
        room = http_api.BODY_BYTES_MAX + 1 - len(kept)
        kept += message.get("body", b"")[:room]
        if not message.get("more_body", False):
            return bytes(kept)
    return None


async def _send_response(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _until(receive: Receive, kind: str) -> None:
    while (await receive())["type"] != kind:
        pass


async def _race(*works: Awaitable[None]) -> None:
    """Wait for the first to finish, cancel the others, and raise its exception, if any."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _path(scope: Scope) -> str:
    """Return the path relative to the mount point."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(root) else path


def _client(scope: Scope) -> str | None:
    """Return the address of the client; None if the server does not know it."""
    client: tuple[str, int] | None = scope.get("client")
    return None if client is None else client[0]


def _target(scope: Scope) -> str:
    return http_api.target(_path(scope), scope.get("query_string", b"").decode("latin-1"))


def create_app(**settings: str | float | None) -> OrderEngineApp:
    """Return an application, after checking its settings.

    Args:
        **settings: Settings by name; others are read from the usual sources.

    Raises:
        Misconfigured: A setting is missing or wrong; `problems` lists them all.
    """
    database.validate(configuration.given(settings))
    return OrderEngineApp(**settings)


app: OrderEngineApp = OrderEngineApp()
"""An application with the settings of the environment; they are checked with the first request."""
