"""The engine's HTTP door as a WSGI application, for any WSGI server.

`gunicorn order_engine.wsgi:app` serves what the environment configures.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from order_engine import http_door
from order_engine.exceptions import InvalidInput, Unavailable
from order_engine.lazy_engine import LazyEngine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import InputStream, StartResponse, WSGIEnvironment

    from order_engine import _native
    from order_engine.engine import OrderEngine

DRAINED_BYTES_MAX = 32 * 1024 * 1024
"""So much of a body that is too long is read and dropped, that its sender may hear why."""

_CHUNK_BYTES = 64 * 1024


class OrderEngineApp:
    """The door of an engine that is opened with the first request of each process.

    What comes back is what `order-engine serve` would answer, streams of server-sent events
    included. WSGI has no WebSockets; the ASGI application does.

    Args:
        engine: An open engine to serve; by default one of its own.
        **settings: What to open it with; see `OrderEngine`.
    """

    def __init__(
        self, engine: OrderEngine | None = None, /, **settings: str | float | None
    ) -> None:
        self._engine = engine
        self._own = LazyEngine(settings)

    def engine(self) -> OrderEngine:
        """Give the engine, opened if need be.

        Raises:
            Misconfigured: Settings are missing or wrong.
            Unavailable: The database cannot be reached.
        """
        return self._engine or self._own.get()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        try:
            answer = self.engine().answer_http(
                environ["REQUEST_METHOD"],
                http_door.target(
                    environ.get("PATH_INFO", "").encode("latin-1"),
                    environ.get("QUERY_STRING", ""),
                ),
                _headers(environ),
                _body(environ),
            )
        except Unavailable as error:
            status, headers, body = http_door.refusal(error)
            start_response(_status_line(status), headers)
            return [body]
        except InvalidInput as error:
            start_response(_status_line(400), [("content-type", "text/plain; charset=utf-8")])
            return [str(error).encode()]
        start_response(_status_line(answer.status), decoded(answer.headers))
        if answer.pieces is None:
            return [answer.body]
        return Pieces(self.engine(), answer.pieces)

    def close(self) -> None:
        """Close the engine, if it was opened here."""
        self._own.close()


class Pieces:
    """A body that is sent as it comes; `close` ends what makes it."""

    def __init__(self, engine: OrderEngine, pieces: _native.Pieces) -> None:
        self._engine = engine
        self._pieces: _native.Pieces | None = pieces

    def __iter__(self) -> Pieces:
        return self

    def __next__(self) -> bytes:
        """Wait for the next piece."""
        piece = None if self._pieces is None else self._engine.next_piece(self._pieces)
        if piece is None:
            raise StopIteration
        return piece

    def close(self) -> None:
        """Let go of the stream, also before its end."""
        self._pieces = None


def decoded(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Make native strings of headers, as WSGI wants them."""
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
    """Read the body up to one byte more than is allowed, and drop what is behind it."""
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal():
        left = min(int(length), DRAINED_BYTES_MAX)
    elif environ.get("wsgi.input_terminated"):
        left = DRAINED_BYTES_MAX
    else:
        left = 0
    kept = _read(stream, min(left, http_door.BODY_BYTES_MAX + 1))
    left -= len(kept)
    while left > 0 and (dropped := stream.read(min(left, _CHUNK_BYTES))):
        left -= len(dropped)
    return kept


def _read(stream: InputStream, length: int) -> bytes:
    """Read so many bytes, or all there are; one `read` may give fewer."""
    chunks: list[bytes] = []
    while length > 0 and (chunk := stream.read(length)):
        chunks.append(chunk)
        length -= len(chunk)
    return b"".join(chunks)


app: OrderEngineApp = OrderEngineApp()
