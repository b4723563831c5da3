"""Many clients that place orders at the same time, each on a connection of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from tests.python.support.http_process import REQUEST_TIMEOUT_S, HttpProcess
from tests.python.support.shop import PLACE


@dataclass(frozen=True)
class Wish:
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
    """What a client was told; nothing when its connection broke or its time was up."""

    wish: Wish
    envelope: dict[str, Any] | None

    @property
    def order_id(self) -> int | None:
        """The number of the order, if one was acknowledged."""
        if self.envelope is None or not self.envelope["success"]:
            return None
        return int(self.envelope["order"]["id"])


def place_all(
    server: HttpProcess,
    wishes: Iterable[Wish],
    meanwhile: Callable[[], Awaitable[None]] | None = None,
) -> list[Outcome]:
    """Sends every wish at once, with `meanwhile` beside them; returns what each was told."""

    async def run() -> list[Outcome]:
        async with httpx.AsyncClient(
            base_url=server.url,
            timeout=REQUEST_TIMEOUT_S,
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        ) as client:
            tasks = [asyncio.create_task(_place(client, server, wish)) for wish in wishes]
            if meanwhile is not None:
                await meanwhile()
            return list(await asyncio.gather(*tasks))

    return asyncio.run(run())


async def _place(client: httpx.AsyncClient, server: HttpProcess, wish: Wish) -> Outcome:
    headers = {"Authorization": f"Bearer {server.token(wish.user_id)}"}
    try:
        answer = await client.post("/graphql", json=wish.body(), headers=headers)
    except httpx.TransportError:
        return Outcome(wish, None)
    if answer.status_code != httpx.codes.OK:
        return Outcome(wish, None)
    return Outcome(wish, answer.json()["data"]["placeOrder"])
