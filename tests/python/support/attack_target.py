"""The APIs of all contracts behind one set of methods that return the raw HTTP responses."""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg

from order_engine import OrderEngine
from tests.python.support.engine_process import EngineProcess
from tests.python.support.shop import WRITTEN, database_of
from tests.services.ports import free_port

OWNER, STRANGER, STAFF = "1", "2", "3"
MUG, PRICE, STOCK = "1", 9.5, 100_000
CONTRACTS = ("flask", "storefront", "jobs", "gateway", "stock")
GRAPHQL = ("flask", "storefront")
REST = ("jobs", "gateway", "stock")
CHANGING = ("flask", "storefront", "jobs", "stock")
"""The contracts that can change an order's status."""
JSON = {"Content-Type": "application/json"}
MESSAGES = "select coalesce(max(id), 0) from outbox where destination not in ('flask', 'jobs')"
TOKEN_LIFE_S = 600


class Api(ABC):
    """The API of one contract."""

    def __init__(self, url: str, client: httpx.Client) -> None:
        """Sends nothing."""
        self.url = url
        self.client = client

    @abstractmethod
    def names(self, order: int, long: str) -> list[str]:
        """The ids of an order in this contract; the usual one first."""

    @abstractmethod
    def list(self, **request: Any) -> httpx.Response:  # noqa: ANN401 - as httpx's.
        """Requests the caller's orders."""

    @abstractmethod
    def read(self, order: str, **request: Any) -> httpx.Response:  # noqa: ANN401
        """Requests one order."""

    @abstractmethod
    def place(
        self,
        *,
        user: str = OWNER,
        lines: Any = None,  # noqa: ANN401 - also what is no list of lines.
        more: Mapping[str, object] | None = None,
        **request: Any,  # noqa: ANN401
    ) -> httpx.Response:
        """Places an order of `(product, quantity)` lines, with `more` fields in the body."""

    def change(self, order: str, status: str, **request: Any) -> httpx.Response | None:  # noqa: ANN401, ARG002
        """Requests another status; None if the contract has no such operation."""
        return None

    def delete(self, order: str, **request: Any) -> httpx.Response | None:  # noqa: ANN401, ARG002
        """Requests the deletion of an order; None if the contract has no such operation."""
        return None

    @abstractmethod
    def failure(self, answer: httpx.Response) -> str | None:
        """The error message of a response; None if it is a success."""

    @abstractmethod
    def order(self, answer: httpx.Response) -> Any:  # noqa: ANN401 - JSON.
        """The order in the response to `place`, which must be a success."""

    @abstractmethod
    def orders(self, answer: httpx.Response) -> Any:  # noqa: ANN401 - JSON.
        """The orders in the response to `list`, which must be a success."""


class GraphQlApi(Api):
    """The common part of the GraphQL APIs."""

    PLACE = ""

    def ask(
        self,
        query: str,
        variables: Mapping[str, object] | None = None,
        **request: Any,  # noqa: ANN401
    ) -> httpx.Response:
        """Posts a GraphQL request."""
        body = {"query": query, "variables": dict(variables or {})}
        return self.client.post(f"{self.url}/graphql", json=body, **request)

    def failure(self, answer: httpx.Response) -> str | None:
        body = answer.json()
        if "errors" in body:
            message: str = body["errors"][0]["message"]
            return message
        (reported,) = body["data"].values()
        if isinstance(reported, dict) and reported.get("success") is False:
            return str(reported["message"])
        return None

    def order(self, answer: httpx.Response) -> Any:  # noqa: ANN401
        assert self.failure(answer) is None, answer.text
        reported = answer.json()["data"]["placeOrder"]
        return reported.get("order", reported)

    def orders(self, answer: httpx.Response) -> Any:  # noqa: ANN401
        assert self.failure(answer) is None, answer.text
        (orders,) = answer.json()["data"].values()
        return orders


class Flask(GraphQlApi):
    """The contract `flask`."""

    PLACE = (
        "mutation($user: Int!, $lines: [OrderLineInput!]) { placeOrder(userId: $user, items: $lines"
        ") { success message order { id userId status total items { productId quantity } } } }"
    )

    def names(self, order: int, long: str) -> list[str]:
        return [str(order), long]

    def list(self, **request: Any) -> httpx.Response:  # noqa: ANN401
        return self.ask("{ getOrders { id userId } }", **request)

    def read(self, order: str, **request: Any) -> httpx.Response:  # noqa: ANN401
        query = "query($id: ID!) { getOrder(id: $id) { id userId status total } }"
        return self.ask(query, {"id": order}, **request)

    def place(
        self,
        *,
        user: str = OWNER,
        lines: Any = None,  # noqa: ANN401
        more: Mapping[str, object] | None = None,
        **request: Any,  # noqa: ANN401
    ) -> httpx.Response:
        lines = [(MUG, 1)] if lines is None else lines
        items = [{"productId": int(product), "quantity": number} for product, number in lines]
        return self.ask(self.PLACE, {"user": int(user), "lines": items, **(more or {})}, **request)

    def change(self, order: str, status: str, **request: Any) -> httpx.Response | None:  # noqa: ANN401
        query = "mutation($id: ID!, $to: String!) { updateOrder(id: $id, status: $to) "
        return self.ask(query + "{ success message } }", {"id": order, "to": status}, **request)

    def delete(self, order: str, **request: Any) -> httpx.Response | None:  # noqa: ANN401
        query = "mutation($id: ID!) { deleteOrder(id: $id) { success message } }"
        return self.ask(query, {"id": order}, **request)


class Storefront(GraphQlApi):
    """The contract `storefront`."""

    PLACE = (
        "mutation($input: OrderInput!) { placeOrder(input: $input)"
        " { _id userId status totalAmount products { productId quantity priceAtPurchase } } }"
    )

    def names(self, order: int, long: str) -> list[str]:
        return [long, str(order)]

    def list(self, **request: Any) -> httpx.Response:  # noqa: ANN401
        return self.ask("{ getAllOrders { _id userId } }", **request)

    def read(self, order: str, **request: Any) -> httpx.Response:  # noqa: ANN401
        query = "query($id: ID!) { getOrder(orderId: $id) { _id userId status totalAmount } }"
        return self.ask(query, {"id": order}, **request)

    def place(
        self,
        *,
        user: str = OWNER,  # noqa: ARG002 - the user is the token's.
        lines: Any = None,  # noqa: ANN401
        more: Mapping[str, object] | None = None,
        **request: Any,  # noqa: ANN401
    ) -> httpx.Response:
        lines = [(MUG, 1)] if lines is None else lines
        products = [{"productId": product, "quantity": number} for product, number in lines]
        return self.ask(self.PLACE, {"input": {"products": products, **(more or {})}}, **request)

    def change(self, order: str, status: str, **request: Any) -> httpx.Response | None:  # noqa: ANN401
        query = "mutation($to: UpdateOrderStatusInput!) { updateOrderStatus(input: $to) "
        return self.ask(
            query + "{ _id status } }", {"to": {"orderId": order, "status": status}}, **request
        )


class RestApi(Api):
    """The common part of the REST APIs."""

    WORD = "message"
    """The field of the error message."""
    PLACING = "/orders"
    LISTING = "/orders"
    PRODUCT = "productId"
    TOTAL: Mapping[str, object] = {}

    def names(self, order: int, long: str) -> list[str]:
        return [long, str(order)]

    def list(self, **request: Any) -> httpx.Response:  # noqa: ANN401
        return self.client.get(self.url + self.LISTING, **request)

    def read(self, order: str, **request: Any) -> httpx.Response:  # noqa: ANN401
        return self.client.get(f"{self.url}{self.PLACING.rstrip('/')}/{order}", **request)

    def place(
        self,
        *,
        user: str = OWNER,
        lines: Any = None,  # noqa: ANN401
        more: Mapping[str, object] | None = None,
        **request: Any,  # noqa: ANN401
    ) -> httpx.Response:
        lines = [(MUG, 1)] if lines is None else lines
        products = [{self.PRODUCT: product, "quantity": number} for product, number in lines]
        body = {"userId": user, "products": products, **self.TOTAL, **(more or {})}
        return self.client.post(self.url + self.PLACING, json=body, **request)

    def failure(self, answer: httpx.Response) -> str | None:
        if answer.status_code < httpx.codes.BAD_REQUEST:
            return None
        message: str = answer.json()[self.WORD]
        assert message, answer.text
        return message

    def order(self, answer: httpx.Response) -> Any:  # noqa: ANN401
        assert answer.status_code == httpx.codes.CREATED, answer.text
        body = answer.json()
        return body.get("order", body)

    def orders(self, answer: httpx.Response) -> Any:  # noqa: ANN401
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.json()


class Jobs(RestApi):
    """The contract `jobs`."""

    TOTAL: Mapping[str, object] = {"totalAmount": PRICE}

    def change(self, order: str, status: str, **request: Any) -> httpx.Response | None:  # noqa: ANN401
        return self.client.put(f"{self.url}/orders/{order}", json={"status": status}, **request)

    def delete(self, order: str, **request: Any) -> httpx.Response | None:  # noqa: ANN401
        return self.client.delete(f"{self.url}/orders/{order}", **request)


class Gateway(RestApi):
    """The contract `gateway`."""

    WORD = "error"
    PLACING = LISTING = "/"
    PRODUCT = "_id"


class Stock(RestApi):
    """The contract `stock`."""

    PLACING, LISTING = "/order/create", "/order/all"

    def read(self, order: str, **request: Any) -> httpx.Response:  # noqa: ANN401
        """The contract has no read of one order: sets the status that it has."""
        return self.client.put(f"{self.url}/order/{order}", json={"status": "pending"}, **request)

    def change(self, order: str, status: str, **request: Any) -> httpx.Response | None:  # noqa: ANN401
        return self.client.put(f"{self.url}/order/{order}", json={"status": status}, **request)

    def delete(self, order: str, **request: Any) -> httpx.Response | None:  # noqa: ANN401
        return self.client.delete(f"{self.url}/order/{order}", **request)


KINDS: dict[str, Callable[[str, httpx.Client], Api]] = {
    "flask": Flask,
    "storefront": Storefront,
    "jobs": Jobs,
    "gateway": Gateway,
    "stock": Stock,
}


@dataclass
class AttackTarget:
    """A running engine with all APIs, each with tokens required, and its database."""

    server: EngineProcess
    apis: dict[str, Api]
    client: httpx.Client
    database: psycopg.Connection[tuple[Any, ...]]

    def bearer(self, user: str | int, **claims: object) -> dict[str, str]:
        """The header with a user's valid token."""
        return {"Authorization": f"Bearer {self.server.token(user, **claims)}"}

    def placed(self, user: str = OWNER) -> tuple[int, str]:
        """Places an order for `user`; returns its number and its long id."""
        api = self.apis["gateway"]
        order = api.order(api.place(user=user, headers=self.bearer(user)))
        return int(order["_id"][8:], 16), order["_id"]

    def written(self) -> tuple[Any, ...]:
        """A digest of all rows that a request could write, including messages."""
        counts = self.database.execute(WRITTEN.encode()).fetchall()
        return (*counts, *self.database.execute(MESSAGES.encode()).fetchall())

    @contextmanager
    def nothing_written(self) -> Iterator[None]:
        """Checks that the block changes no row and writes no message."""
        before = self.written()
        yield
        assert self.written() == before


def target_settings(redis_url: str) -> dict[str, str]:
    """Settings that require a token at every API. No broker is set: messages stay in the outbox."""
    auths = {f"ORDER_ENGINE_{name.upper()}_AUTH": "jwt" for name in REST}
    return auths | {"REDIS_URL": redis_url, "METRICS_PORT": "0", "RABBITMQ_URL": ""}


def contract_arguments() -> tuple[list[str], dict[str, int]]:
    """The arguments that serve every contract, and the ports of all but the first."""
    ports = {name: free_port() for name in CONTRACTS[1:]}
    contracts = [CONTRACTS[0], *(f"{name}:{port}" for name, port in ports.items())]
    return [word for name in contracts for word in ("--contract", name)], ports


def start_target(
    server: EngineProcess, ports: Mapping[str, int], client: httpx.Client
) -> AttackTarget:
    """Starts `server` with a product in stock."""
    server.start()
    with OrderEngine(database_url=server.env["DATABASE_URL"]) as engine:
        engine.upsert_product(MUG, name="Mug", price=str(PRICE))
        engine.set_stock(MUG, STOCK)
    scheme = server.url.partition("://")[0]
    urls = {"flask": server.url} | {
        name: f"{scheme}://127.0.0.1:{port}" for name, port in ports.items()
    }
    apis = {name: KINDS[name](url, client) for name, url in urls.items()}
    return AttackTarget(server, apis, client, database_of(server))


def claims(**others: object) -> str:
    """The claims of a valid token of the owner, updated with `others`."""
    usual = {"user_id": int(OWNER), "exp": int(time.time()) + TOKEN_LIFE_S}
    return json.dumps(usual | others)
