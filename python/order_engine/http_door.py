"""What WSGI, ASGI and Flask share of the HTTP door: its paths, its bounds, a refusal."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from order_engine.exceptions import Unavailable

GRAPHQL = "/graphql"
"""Where GraphQL is spoken, below whatever prefix the door is at."""

BODY_BYTES_MAX = 1024 * 1024
"""As the door has it; no more than one byte beyond is read, which it then refuses."""

_PATH_SAFE = "/:@!$&'()*+,;=~-._"

log: logging.Logger = logging.getLogger("order_engine.http")


def target(path: str | bytes, query: str) -> str:
    """Write a request's target as it stands in a request line, of a decoded path."""
    encoded = quote(path, safe=_PATH_SAFE) or "/"
    return f"{encoded}?{query}" if query else encoded


def refusal(error: Unavailable) -> tuple[int, list[tuple[str, str]], bytes]:
    """Say that the engine cannot be opened: status, headers and body. The log says why."""
    log.error("the engine cannot be opened: %s", error)
    message = "The order engine is not available. Try again later."
    body = json.dumps({"errors": [{"message": message, "extensions": {"code": "UNAVAILABLE"}}]})
    headers = [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("retry-after", "1"),
    ]
    return 503, headers, body.encode()
