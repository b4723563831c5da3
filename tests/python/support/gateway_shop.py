"""An engine with the contract `gateway`, its database and its Kafka."""

import json
from collections.abc import Mapping
from typing import Any

import httpx

from tests.python.support.kafka_shop import KafkaShop
from tests.python.support.waiting import eventually


class GatewayShop(KafkaShop):
    """The running engine as its clients, its neighbours and its operator see it."""

    def say(self, *values: str | None, key: str | None = None) -> None:
        """Has the product service send messages as they are."""
        self.say_on("inventory-events", *values, key=key)

    def offer(self, **stock: int) -> None:
        """Publishes a product's stock as the product service does; returns once it is applied."""
        self.say(*(updated(product, quantity) for product, quantity in stock.items()))
        eventually(
            lambda: all(self.reported(product) == stock[product] for product in stock),
            f"the stock is {stock}",
        )

    def post(self, body: object, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Posts an order."""
        return self.post_to("/", body, headers)

    def placed(self, product: str, quantity: int = 1, user: str = "u1") -> dict[str, Any]:
        """Places an order, which must succeed; returns it."""
        lines = [{"_id": product, "quantity": quantity}]
        answer = self.post({"userId": user, "products": lines})
        assert answer.status_code == httpx.codes.CREATED, answer.text
        order: dict[str, Any] = answer.json()
        return order


def updated(product: str, quantity: object) -> str:
    """The message with which the product service reports its stock."""
    payload = {"_id": product, "quantity": quantity}
    return json.dumps({"type": "product-updated", "payload": payload})
