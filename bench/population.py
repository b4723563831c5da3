"""A database with many past orders, an engine on it, and the requests that are compared."""

from __future__ import annotations

import datetime as dt
import json
import random
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import jwt
import psycopg

from bench import catalogue, past_orders
from bench.engine import Engine
from bench.http_client import HttpClient
from bench.measurement import ENGINE
from bench.orders import SCHEMA, Orders
from bench.plan import Plan
from bench.requests import READ, TOKEN_LIFE, Client, Request
from bench.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services import Workspace

    from bench.servers import Servers

# The number of orders of a user, whatever the total.
ORDERS_OF_A_USER = 100
PRODUCTS = 1_000
# A load chooses from these at random.
READS = 4_096
LISTS = 64
PAGE = 20
# The position of a deep page in a user's list, and in the list of all orders.
DEEP = 60
LIST = (
    "query ($first: Int!, $after: String) { orders(first: $first, after: $after) {"
    " edges { node { id userId productId quantity status } } pageInfo { endCursor } } }"
)


class Population:
    """A number of past orders, and an engine that serves them."""

    def __init__(
        self,
        orders: int,
        services: tuple[Engine, Engine],
        connection: psycopg.Connection,
        database_url: str,
        secret: str,
    ) -> None:
        """`services` are an engine with a relay, and one without, for later."""
        self.orders = orders
        self.database_url = database_url
        self.target = Target(ENGINE, services[0], Orders(connection))
        self.engine, self.paused = services
        self._users = orders // ORDERS_OF_A_USER
        self._secret = secret
        # Users who place and read; tokens for all would be too many.
        sizes = Plan(users=min(self._users, PRODUCTS), products=PRODUCTS, regulars=0)
        self._client = Client(sizes, secret, seed=orders)
        self._choices = random.Random(orders)  # noqa: S311 - not for secrets.

    def placements(self) -> list[Request]:
        """Orders for many products."""
        return self._client.placements(is_hot=False)

    def reads(self) -> list[Request]:
        """Single orders from the whole table, each read by its owner."""
        chosen = self._choices.choices(range(1, self.orders + 1), k=READS)
        # As past_orders assigns them.
        owners = {order: 1 + order % self._users for order in chosen}
        tokens = {user: self._token(user) for user in set(owners.values())}
        return [
            Request(tokens[user], _body(READ, {"id": str(order)})) for order, user in owners.items()
        ]

    def lists(self) -> dict[str, list[Request]]:
        """First and deep pages of users' own lists, and of the list of all orders for staff."""
        staff = self._token(0, role="admin")
        first = _body(LIST, {"first": PAGE})
        found: dict[str, list[Request]] = {"own": [], "own, deep": [], "all": [], "all, deep": []}
        with closing(HttpClient(self.target.port)) as client:
            for _ in range(LISTS):
                token = self._token(self._choices.randint(1, self._users))
                page = client.post(Request(token, _body(LIST, {"first": DEEP})))
                # The cursor is valid for both lists: it contains an order number, but no user.
                behind = {"first": PAGE, "after": page["pageInfo"]["endCursor"]}
                deep = _body(LIST, behind)
                found["own"].append(Request(token, first))
                found["own, deep"].append(Request(token, deep))
                found["all"].append(Request(staff, first))
                found["all, deep"].append(Request(staff, deep))
        return {f"list {name}": requests for name, requests in found.items()}

    def _token(self, user: int, **claims: str) -> str:
        expires = dt.datetime.now(dt.timezone.utc) + TOKEN_LIFE
        return jwt.encode({"user_id": user, "exp": expires} | claims, self._secret, "HS256")


@contextmanager
def populated(
    workspace: Workspace, servers: Servers, rabbitmq_url: str, orders: int, secret: str
) -> Iterator[Population]:
    """Creates a database with a number of past orders, and serves it."""
    with servers.database() as url, closing(psycopg.connect(url, autocommit=True)) as connection:
        engine, paused = (
            Engine(
                workspace,
                database_url=url,
                rabbitmq_url=rabbitmq_url,
                secret=secret,
                has_relay=has_relay,
            )
            for has_relay in (True, False)
        )
        engine.migrate()
        users = orders // ORDERS_OF_A_USER
        catalogue.fill(connection, SCHEMA, Plan(users=users, products=PRODUCTS, regulars=0))
        past_orders.add(url, SCHEMA, orders=orders, users=users, products=PRODUCTS)
        connection.execute("checkpoint")
        engine.start()
        try:
            yield Population(orders, (engine, paused), connection, url, secret)
        finally:
            engine.stop()


def _body(query: str, variables: dict[str, int | str]) -> str:
    return json.dumps({"query": query, "variables": variables}, separators=(",", ":"))
