"""Recorded requests, responses and events of a deployed order service, and how to repeat them."""

import json
from pathlib import Path
from typing import Any

import httpx

from tests.python.support.http_process import HttpProcess

RECORDING = json.loads(
    (Path(__file__).parents[2] / "golden" / "flask" / "recording.json").read_text()
)
EXCHANGES: dict[str, dict[str, Any]] = {each["name"]: each for each in RECORDING["exchanges"]}
CREATED = ("create one line", "create two lines of one product", "create with variables")
PLACED = [event for event in RECORDING["events"] if event["routing_key"] == "order.placed"]
STOCK_EVENTS = [
    event for event in RECORDING["events"] if event["routing_key"] == "inventory.updated"
]


def ask(server: HttpProcess, request: dict[str, Any], first_order: int = 1) -> httpx.Response:
    """Sends a recorded request; `first_order` is the order that the recorded service calls 1."""
    headers = {"Accept": request["accept"]} if "accept" in request else {}
    match request.get("authorization"):
        case None:
            pass
        case "Bearer <valid, user_id 1>":
            headers["Authorization"] = f"Bearer {server.token(1)}"
        case "Bearer <valid, user_id 2>":
            headers["Authorization"] = f"Bearer {server.token(2)}"
        case "Bearer <expired>":
            headers["Authorization"] = f"Bearer {server.token(1, exp=1_700_000_000)}"
        case as_recorded:
            headers["Authorization"] = as_recorded
    if request["method"] == "GET":
        return server.client.get(request["path"], headers=headers)
    body = request["body"]
    query = body["query"].replace("order(id: 1)", f"order(id: {first_order})")
    return server.client.post(request["path"], json=body | {"query": query}, headers=headers)


def is_refusal(body: Any) -> bool:  # noqa: ANN401 - any JSON.
    """Whether a body has the shape of a refused document; the words are the library's own."""
    return set(body) == {"errors"} and all(
        isinstance(error["message"], str)
        and error["message"]
        and all(set(place) == {"line", "column"} for place in error["locations"])
        for error in body["errors"]
    )


def announced(event: dict[str, Any], order: dict[str, Any]) -> str:
    """A recorded event's text, with the ids of `order` as an answer showed them."""
    body = json.loads(event["body"])
    assert json.dumps(body) == event["body"], "the recorded text is Python's own"
    body["order_id"] = int(order["id"])
    for item, answered in zip(body["items"], order["items"], strict=True):
        item["id"] = int(answered["id"])
    return json.dumps(body)
