"""A client of the contract `jobs`."""

from collections.abc import Mapping
from typing import Any

import httpx

from tests.python.support.http_process import HttpProcess

LINE = {"productId": "66f1c0de0000000000000001", "quantity": 2}
NEW_ORDER: dict[str, Any] = {"userId": "user-id", "products": [LINE], "totalAmount": 200.00}
NO_TOKEN = {"ORDER_ENGINE_CONTRACT": "jobs", "ORDER_ENGINE_JOBS_AUTH": "none"}


def place(
    server: HttpProcess, *, key: str | None = None, path: str = "/orders", **fields: object
) -> httpx.Response:
    """Posts the document's example order; `fields` override its fields."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return server.client.post(path, json=NEW_ORDER | fields, headers=headers)


def placed(server: HttpProcess, **fields: object) -> dict[str, Any]:
    """Places an order; returns it.

    Raises:
        AssertionError: it was refused.
    """
    answer = place(server, **fields)  # type: ignore[arg-type]
    assert answer.status_code == httpx.codes.CREATED, answer.text
    order: dict[str, Any] = answer.json()["order"]
    return order


def set_status(server: HttpProcess, order: Mapping[str, Any], status: str) -> httpx.Response:
    """Sets an order's status."""
    return server.client.put(f"/orders/{order['id']}", json={"status": status})
