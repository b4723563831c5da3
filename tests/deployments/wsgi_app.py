"""The plain WSGI app, for gunicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from order_engine.wsgi import app as engine_app
from tests.deployments.worker import HEADER, worker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Adds the header to the engine's responses."""

    def start(status: str, headers: list[tuple[str, str]], exc_info: None = None) -> object:
        return start_response(status, [*headers, (HEADER, worker())], exc_info)

    return engine_app(environ, start)  # type: ignore[arg-type]
