"""The GraphQL requests of a load, in a file for wrk."""

import datetime as dt
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jwt

from bench.plan import Plan

HOT_PRODUCT = 1
TOKEN_LIFE = dt.timedelta(hours=24)
PLACE = (
    "mutation ($user: Int!, $product: Int!, $quantity: Int!) {"
    " placeOrder(userId: $user, productId: $product, quantity: $quantity) {"
    " success message order { id userId productId quantity status } } }"
)
LIST = "query { getOrders { id userId productId quantity status } }"
READ = "query ($id: ID!) { getOrder(id: $id) { id userId productId quantity status } }"


@dataclass(frozen=True)
class Request:
    """A POST: the user's token and the body."""

    token: str
    body: str


class Client:
    """Creates the requests of all users and regular customers, each with the user's token."""

    def __init__(self, plan: Plan, secret: str, seed: int) -> None:
        """Mints the tokens; the same seed creates the same requests."""
        self._plan = plan
        self._random = random.Random(seed)  # noqa: S311 - chooses products, not secrets
        expires = dt.datetime.now(dt.timezone.utc) + TOKEN_LIFE
        self._tokens = {
            user: jwt.encode({"user_id": user, "exp": expires}, secret, algorithm="HS256")
            for user in range(1, plan.users + plan.regulars + 1)
        }

    def placements(self, *, is_hot: bool) -> list[Request]:
        """Returns orders of random users for random products, or all for the same product."""
        return [self.placement(is_hot=is_hot) for _ in range(self._plan.requests)]

    def placement(self, *, is_hot: bool = False) -> Request:
        """Returns an order of a random user for two units of a product."""
        user = self._random.randint(1, self._plan.users)
        product = HOT_PRODUCT if is_hot else self._random.randint(1, self._plan.products)
        return self._request(user, PLACE, {"user": user, "product": product, "quantity": 2})

    def reads(self, orders: Iterable[tuple[int, int]]) -> list[Request]:
        """Returns a request for each `(order, owner)`, made by the owner."""
        return [self._request(user, READ, {"id": str(order)}) for order, user in orders]

    def lists(self) -> list[Request]:
        """Returns a request for the orders of each regular customer."""
        behind = self._plan.users + 1
        users = range(behind, behind + self._plan.regulars)
        return [self._request(user, LIST, {}) for user in users]

    def _request(self, user: int, query: str, variables: dict[str, int | str]) -> Request:
        body = json.dumps({"query": query, "variables": variables}, separators=(",", ":"))
        return Request(self._tokens[user], body)


def write(path: Path, requests: Iterable[Request]) -> None:
    """Writes one request per line: token, tab, body."""
    path.touch(mode=0o600)
    path.write_text("".join(f"{request.token}\t{request.body}\n" for request in requests))
