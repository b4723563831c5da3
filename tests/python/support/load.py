"""Many clients that place orders concurrently, each over its own connection."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from tests.python.support.http_process import REQUEST_TIMEOUT_S, HttpProcess
from tests.python.support.shop import PLACE


@dataclass(frozen=True)
class OrderRequest:
    """What one client wants."""

    user_id: int
    lines: tuple[tuple[int, int], ...]
    key: str | None = None

    def body(self) -> dict[str, object]:
        """The request as JSON."""
        lines = [{"productId": product, "quantity": quantity} for product, quantity in self.lines]
        variables = {"user": self.user_id, "lines": lines, "key": self.key}
        return {"query": PLACE, "variables": variables}


@dataclass(frozen=True)
class Outcome:
    """A client's response; None if its connection broke or it timed out."""

    order_request: OrderRequest
    envelope: dict[str, Any] | None

    @property
    def order_id(self) -> int | None:
        """The number of the order, if one was acknowledged."""
        if self.envelope is None or not self.envelope["success"]:
            return None
        return int(self.envelope["order"]["id"])


def place_all(
    server: HttpProcess,
    order_requests: Iterable[OrderRequest],
    meanwhile: Callable[[], Awaitable[None]] | None = None,
) -> list[Outcome]:
    """Sends all requests concurrently and runs `meanwhile`; returns the outcome of each."""

    async def run() -> list[Outcome]:
        async with httpx.AsyncClient(
            base_url=server.url,
            timeout=REQUEST_TIMEOUT_S,
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        ) as client:
            tasks = [
                asyncio.create_task(_place(client, server, order_request))
                for order_request in order_requests
            ]
            if meanwhile is not None:
                await meanwhile()
            return list(await asyncio.gather(*tasks))

    return asyncio.run(run())


async def _place(
    client: httpx.AsyncClient, server: HttpProcess, order_request: OrderRequest
) -> Outcome:
    headers = {"Authorization": f"Bearer {server.token(order_request.user_id)}"}
    try:
        answer = await client.post("/graphql", json=order_request.body(), headers=headers)
    except httpx.TransportError:
        return Outcome(order_request, None)
    if answer.status_code != httpx.codes.OK:
        return Outcome(order_request, None)
    return Outcome(order_request, answer.json()["data"]["placeOrder"])
