"""One engine that serves all contracts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from order_engine import OrderEngine
from tests.python.support.engine_process import EngineProcess
from tests.python.support.shop import database_of
from tests.services.ports import free_port

STOCK = 100_000
USER, MUG = "7", "1"
AVAILABLE = "select reported - reserved from products where product_id = %s"
OPEN = {f"ORDER_ENGINE_{name}_AUTH": "none" for name in ("JOBS", "GATEWAY", "STOCK")}


@dataclass
class AllContracts:
    """A running engine, and the base URL of each contract's API."""

    server: EngineProcess
    urls: dict[str, str]
    client: httpx.Client

    def close(self) -> None:
        """Ends the connections."""
        self.client.close()

    def flask(self) -> str:
        """Places an order; its id as this contract shows it."""
        query = f"mutation {{ placeOrder(userId: {USER}, productId: {MUG}, quantity: 1) "
        placed = self._asked("flask", query + "{ message order { id } } }")["placeOrder"]
        assert placed["order"], placed["message"]
        return str(placed["order"]["id"])

    def storefront(self) -> str:
        """As `flask`."""
        line = f'{{productId: "{MUG}", quantity: 1}}'
        query = f"mutation {{ placeOrder(input: {{products: [{line}]}}) {{ _id }} }}"
        return str(self._asked("storefront", query)["placeOrder"]["_id"])

    def jobs(self) -> str:
        """As `flask`."""
        line = {"productId": MUG, "quantity": 1}
        order = {"userId": USER, "products": [line], "totalAmount": 9.5}
        return str(self._posted("jobs", "/orders", order)["id"])

    def gateway(self) -> str:
        """As `flask`."""
        order = {"userId": USER, "products": [{"_id": MUG, "quantity": 1}]}
        return str(self._posted("gateway", "/", order)["_id"])

    def stock(self) -> str:
        """As `flask`."""
        order = {"userId": USER, "products": [{"productId": MUG, "quantity": 1}]}
        return str(self._posted("stock", "/order/create", order)["order"]["_id"])

    def shown(self, contract: str, order: str) -> Any:  # noqa: ANN401 - JSON.
        """An order as a contract shows it; `order` is any of its ids."""
        if contract == "flask":
            fields = "id status items { product_id quantity }"
            query = f'{{ getOrder(id: "{order}") {{ {fields} }} }}'
            return self._asked(contract, query)["getOrder"]
        if contract == "storefront":
            query = f'{{ getOrder(orderId: "{order}") {{ _id status }} }}'
            return self._asked(contract, query)["getOrder"]
        if contract == "stock":
            # Its API reads an order only by changing it: set the status that it has.
            return self.set_status(order, self.shown("jobs", order)["status"])
        path = f"/orders/{order}" if contract == "jobs" else f"/{order}"
        answer = self.client.get(self.urls[contract] + path)
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.json()

    def listed(self, contract: str) -> set[str]:
        """The ids in a contract's order list."""
        if contract == "flask":
            return {
                order["id"] for order in self._asked(contract, "{ getOrders { id } }")["getOrders"]
            }
        if contract == "storefront":
            orders = self._asked(contract, "{ getUserOrders { _id } }")["getUserOrders"]
            return {order["_id"] for order in orders}
        path = {"jobs": "/orders", "gateway": "/", "stock": "/order/all"}[contract]
        return {order["_id"] for order in self.client.get(self.urls[contract] + path).json()}

    def set_status(self, order: str, status: str) -> Any:  # noqa: ANN401 - JSON.
        """Sets an order's status through the contract `stock`; returns the order."""
        path = f"{self.urls['stock']}/order/{order}"
        answer = self.client.put(path, json={"status": status})
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.json()["order"]

    def available(self, product: str) -> int:
        """The available stock of a product, from the database."""
        return self._number(AVAILABLE, product)

    def waiting(self) -> int:
        """The number of messages in the outbox."""
        return self._number("select count(*) from outbox")

    def _number(self, statement: str, *parameters: object) -> int:
        with database_of(self.server) as database:
            (number,) = database.execute(statement.encode(), parameters).fetchone() or (0,)
        return int(number)

    def _asked(self, contract: str, query: str) -> Any:  # noqa: ANN401 - JSON.
        headers = {"Authorization": f"Bearer {self.server.token(USER)}"}
        answer = self.client.post(
            f"{self.urls[contract]}/graphql", json={"query": query}, headers=headers
        )
        assert answer.status_code == httpx.codes.OK, answer.text
        assert "errors" not in answer.json(), answer.text
        return answer.json()["data"]

    def _posted(self, contract: str, path: str, body: object) -> Any:  # noqa: ANN401 - JSON.
        answer = self.client.post(self.urls[contract] + path, json=body)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        return answer.json()


def start_all_contracts(
    make_server: Callable[..., EngineProcess], kafka_url: str, redis_url: str, **settings: str
) -> AllContracts:
    """Starts an engine with every contract and a product in stock."""
    ports = {name: free_port() for name in ("storefront", "jobs", "gateway", "stock")}
    env = OPEN | {"KAFKA_BROKER": kafka_url, "REDIS_URL": redis_url, "METRICS_PORT": "0"}
    env |= settings
    contracts = ["flask", *(f"{name}:{port}" for name, port in ports.items())]
    server = make_server(*(word for name in contracts for word in ("--contract", name)), **env)
    server.start()
    with OrderEngine(database_url=server.env["DATABASE_URL"]) as engine:
        engine.upsert_product(MUG, name="Mug", price="9.5")
        engine.set_stock(MUG, STOCK)
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    return AllContracts(server, {"flask": server.url} | urls, httpx.Client(trust_env=False))
