"""What the WSGI, ASGI and Flask integrations have in common."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from order_engine.exceptions import Unavailable

GRAPHQL = "/graphql"
"""Path of the GraphQL endpoint, below the prefix of the integration."""

BODY_BYTES_MAX = 1024 * 1024
"""Largest accepted request body. One more byte is read, so that the engine rejects the request."""

_PATH_SAFE = "/:@!$&'()*+,;=~-._"

log: logging.Logger = logging.getLogger("order_engine.http")


def target(path: str | bytes, query: str) -> str:
    """Return the request target for a decoded path and a raw query string."""
    encoded = quote(path, safe=_PATH_SAFE) or "/"
    return f"{encoded}?{query}" if query else encoded


def unavailable_response(error: Unavailable) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return status, headers and body for an engine that cannot be opened; logs the cause."""
    log.error("cannot open the engine: %s", error)
    message = "The order engine is not available. Try again later."
    body = json.dumps({"errors": [{"message": message, "extensions": {"code": "UNAVAILABLE"}}]})
    headers = [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("retry-after", "1"),
    ]
    return 503, headers, body.encode()
