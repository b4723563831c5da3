"""A running engine with its database and its broker."""

from collections.abc import Mapping
from typing import Any

import psycopg

from tests.python.support.engine_process import EngineProcess
from tests.python.support.event_spy import EventSpy
from tests.python.support.product_service import Product, ProductService
from tests.python.support.waiting import eventually

PLACE = """
    mutation Place($user: Int!, $lines: [OrderLineInput!], $key: String) {
        placeOrder(userId: $user, items: $lines, idempotencyKey: $key) {
            success
            message
            order { id userId status total version items { id productId quantity unitPrice } }
        }
    }
"""
PRODUCTS_KNOWN = """
    select count(*) = %s from products
    where product_id = any(%s) and price is not null and reported is not null
"""
WRITTEN = """
    select
        (select count(*) from orders) as orders,
        (select count(*) from order_lines) as order_lines,
        (select coalesce(sum(version), 0) from orders) as versions,
        (select count(*) from order_history) as order_history,
        (select count(*) from reservations) as reservations,
        (select count(*) from idempotency) as idempotency,
        (select coalesce(sum(reserved), 0) from products) as reserved
"""


def database_of(server: EngineProcess) -> psycopg.Connection[tuple[Any, ...]]:
    """Connects to an engine's tables, past the engine."""
    return psycopg.connect(
        server.env["DATABASE_URL"], autocommit=True, options="-c search_path=order_engine"
    )


class Shop:
    """An engine, its database as psycopg sees it, and its broker as pika sees it."""

    def __init__(self, server: EngineProcess, broker_url: str) -> None:
        """Connects to the database of a server that may or may not run already."""
        self.server = server
        self.product_service = ProductService(broker_url)
        self.spy = EventSpy(broker_url)
        self.database = database_of(server)

    def close(self) -> None:
        """Disconnects."""
        self.database.close()

    def offer(self, *products: Product) -> None:
        """Publishes products as the product service does; returns once they can be ordered."""
        for product in products:
            self.product_service.create(product)
        ids = [str(product.id) for product in products]
        eventually(
            lambda: self.rows(PRODUCTS_KNOWN, len(ids), ids) == [(True,)],
            f"the products {', '.join(ids)} are known",
        )

    def ask(
        self,
        query: str,
        variables: Mapping[str, object] | None = None,
        *,
        user_id: int | str = 1,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 - the data of any operation.
        """Returns the data of a request that is executed without errors."""
        answer = self.server.graphql(
            query, variables, token=token or self.server.token(user_id), headers=headers
        )
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert "errors" not in body, body
        return body["data"]

    def place(
        self,
        *lines: tuple[int, int],
        user_id: int = 1,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Places an order of `(product_id, quantity)` lines; returns the envelope."""
        variables = {
            "user": user_id,
            "lines": [{"productId": product, "quantity": quantity} for product, quantity in lines],
            "key": key,
        }
        envelope: dict[str, Any] = self.ask(PLACE, variables, user_id=user_id, headers=headers)[
            "placeOrder"
        ]
        return envelope

    def placed(
        self,
        *lines: tuple[int, int],
        user_id: int = 1,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> int:
        """Places an order, which must succeed; returns its number."""
        envelope = self.place(*lines, user_id=user_id, key=key, headers=headers)
        assert envelope["success"], envelope
        return int(envelope["order"]["id"])

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Queries the database directly."""
        return self.database.execute(statement.encode(), parameters).fetchall()

    def row(self, statement: str, *parameters: object) -> tuple[Any, ...]:
        """Queries the database directly for exactly one row."""
        (row,) = self.rows(statement, *parameters)
        return row

    def written(self) -> tuple[Any, ...]:
        """A digest of everything that a request about orders could have written."""
        return self.row(WRITTEN)
