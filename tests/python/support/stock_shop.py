"""An engine with the contract `stock`, its database, Kafka and Redis."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
from redis import Redis as RedisClient

from tests.python.support.engine_process import EngineProcess
from tests.python.support.kafka_shop import KafkaShop
from tests.python.support.waiting import eventually

LISTS = "select key from outbox where stream_kind = 'user_list' order by key"


class StockShop(KafkaShop):
    """The running engine as its clients, its neighbours and its operator see it."""

    def __init__(self, server: EngineProcess) -> None:
        """Connects to the database and the Redis of an engine that runs."""
        super().__init__(server)
        self.redis = RedisClient.from_url(server.env["REDIS_URL"], decode_responses=True)

    def close(self) -> None:
        """Disconnects."""
        self.redis.close()
        super().close()

    def offer(self, **stock: int) -> None:
        """Publishes a product's stock as the product service does; returns once Redis shows it."""
        reported = [
            {"type": "created", "productId": product, "stock": quantity}
            for product, quantity in stock.items()
        ]
        self.say_on("product_events", *map(json.dumps, reported))
        eventually(
            lambda: all(self.shown(product) == str(stock[product]) for product in stock),
            f"the stock is {stock}",
        )

    def shown(self, product: str) -> str | None:
        """The stock in Redis."""
        return self.redis.get(f"product:{product}:stock")  # type: ignore[return-value]

    def lists(self) -> list[str]:
        """The users whose lists wait for Kafka."""
        return [user for (user,) in self.database.execute(LISTS).fetchall()]

    def log_in(self, user: str, **fields: object) -> None:
        """Publishes a login as the user service does."""
        self.say_on("user_logged_in", json.dumps({"userId": user} | fields))

    def post(self, body: object, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Posts an order."""
        return self.post_to("/order/create", body, headers)

    def placed(self, product: str, quantity: int = 1, user: str = "u1") -> dict[str, Any]:
        """Places an order, which must succeed; returns it."""
        lines = [{"productId": product, "quantity": quantity}]
        answer = self.post({"userId": user, "products": lines})
        assert answer.status_code == httpx.codes.CREATED, answer.text
        order: dict[str, Any] = answer.json()["order"]
        return order
