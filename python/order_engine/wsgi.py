"""The engine's HTTP API as a WSGI application.

`gunicorn order_engine.wsgi:app` or `gunicorn 'order_engine.wsgi:create_app()'` serves the settings
of the environment. The factory checks them when the server starts.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from order_engine import configuration, database, http_api
from order_engine.connection import close_at_exit
from order_engine.engine import OrderEngine
from order_engine.exceptions import InvalidInput, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import InputStream, StartResponse, WSGIEnvironment

    from order_engine import _native

DISCARDED_BYTES_MAX = 32 * 1024 * 1024
"""Limit up to which a body that is too long is read, so that the client receives the error."""

_CHUNK_BYTES = 64 * 1024


class OrderEngineApp:
    """A WSGI application whose engine opens with the first request of each process.

    Responses are those of `order-engine serve`, including streams of server-sent events. WSGI has
    no WebSockets; use the ASGI application for them.

    Args:
        engine: An open engine to serve. By default the application opens its own.
        **settings: Settings of its own engine; see `OrderEngine`.
    """

    def __init__(
        self, engine: OrderEngine | None = None, /, **settings: str | float | None
    ) -> None:
        self._is_own = engine is None
        self._engine = engine or OrderEngine(**settings)  # type: ignore[arg-type]
        if self._is_own:
            close_at_exit(self._engine)

    def engine(self) -> OrderEngine:
        """Return the engine, which connects with the first request."""
        return self._engine

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, as PEP 3333 defines it."""
        try:
            answer = self._engine.handle_http(
                environ["REQUEST_METHOD"],
                http_api.target(
                    environ.get("PATH_INFO", "").encode("latin-1"),
                    environ.get("QUERY_STRING", ""),
                ),
                _headers(environ),
                _body(environ),
                environ.get("REMOTE_ADDR"),
            )
        except Unavailable as error:
            status, headers, body = http_api.unavailable_response(error)
            start_response(_status_line(status), headers)
            return [body]
        except InvalidInput as error:
            start_response(_status_line(400), [("content-type", "text/plain; charset=utf-8")])
            return [str(error).encode()]
        start_response(_status_line(answer.status), decode_headers(answer.headers))
        if answer.stream is None:
            return [answer.body]
        return StreamedBody(self._engine, answer.stream)

    def close(self) -> None:
        """Close the engine, unless it was passed to the constructor."""
        if self._is_own:
            self._engine.close()


class StreamedBody:
    """A streamed response body."""

    def __init__(self, engine: OrderEngine, pieces: _native.ResponseStream) -> None:
        self._engine = engine
        self._pieces: _native.ResponseStream | None = pieces

    def __iter__(self) -> StreamedBody:
        return self

    def __next__(self) -> bytes:
        """Wait for the next chunk."""
        piece = None if self._pieces is None else self._engine.next_chunk(self._pieces)
        if piece is None:
            raise StopIteration
        return piece

    def close(self) -> None:
        """End the stream, even before its end; WSGI servers call it when the client disconnects."""
        self._pieces = None


def decode_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Return headers as the native strings that WSGI requires."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


def _status_line(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return f"{code} Unknown"


def _headers(environ: WSGIEnvironment) -> list[tuple[bytes, bytes]]:
    named = [
        (key.removeprefix("HTTP_"), value)
        for key, value in environ.items()
        if (key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH")) and value
    ]
    return [
        (name.replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in named
    ]


def _body(environ: WSGIEnvironment) -> bytes:
    """Read up to one byte more than is allowed, and discard the rest."""
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal():
        left = min(int(length), DISCARDED_BYTES_MAX)
    elif environ.get("wsgi.input_terminated"):
        left = DISCARDED_BYTES_MAX
    else:
        left = 0
    kept = _read(stream, min(left, http_api.BODY_BYTES_MAX + 1))
    left -= len(kept)
    while left > 0 and (dropped := stream.read(min(left, _CHUNK_BYTES))):
        left -= len(dropped)
    return kept


def _read(stream: InputStream, length: int) -> bytes:
    """Read `length` bytes, or fewer at the end of the stream."""
    chunks: list[bytes] = []
    while length > 0 and (chunk := stream.read(length)):
        chunks.append(chunk)
        length -= len(chunk)
    return b"".join(chunks)


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
