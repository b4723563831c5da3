"""The old service with the engine beside it, and a wrong price that shadow mode must find."""

from typing import Any

from flask import Flask
from graphql import GraphQLResolveInfo

from order_engine.flask import OrderEngineExtension
from tests.legacy_app import create_app as create_legacy_app
from tests.legacy_app.resolvers import Envelope, create_order, schema

LINES_OF_THE_MISTAKE = 3
"""Orders with this many lines are shown with a price that is a cent too high."""


def mistaken(
    root: object, info: GraphQLResolveInfo[Any], user_id: int, order_items: list[dict[str, int]]
) -> Envelope:
    """Creates an order, and shows some with a price that is a cent too high."""
    answer: Envelope = create_order(root, info, user_id, order_items)
    orders = answer["orders"]
    if orders and len(order_items) == LINES_OF_THE_MISTAKE:
        (order,) = orders
        reported = {
            "id": order.id,
            "user_id": order.user_id,
            "total_amount": order.total_amount + 0.01,
            "status": order.status,
            "items": order.items,
        }
        return {**answer, "orders": [reported]}
    return answer


def create_app() -> Flask:
    """The application factory for gunicorn; settings come from the environment."""
    assert schema.mutation_type is not None
    schema.mutation_type.fields["createOrder"].resolve = mistaken
    app = create_legacy_app()
    OrderEngineExtension(app)
    return app
