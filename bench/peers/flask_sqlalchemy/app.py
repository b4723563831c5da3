"""The Flask application: GraphQL at /graphql for requests with a token."""

import os

import jwt
import strawberry
from flask import Flask, Request, Response
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.flask.views import GraphQLView

import orders
from models import Order

SECRET = os.environ["JWT_SECRET_KEY"]


@strawberry.type(name="Order")
class OrderView:
    """An order as clients see it: the product is that of its first line."""

    id: strawberry.ID
    user_id: int
    product_id: int
    quantity: int
    status: str

    @classmethod
    def of(cls, order: Order) -> "OrderView":
        """Converts an order."""
        line = order.lines[0]
        return cls(
            id=strawberry.ID(str(order.id)),
            user_id=int(order.user_id),
            product_id=int(line.product_id),
            quantity=line.quantity,
            status=order.status.capitalize(),
        )


@strawberry.type
class OrderResponse:
    """The result of a placement."""

    success: bool
    message: str
    order: OrderView | None = None


@strawberry.type
class Query:
    """The queries."""

    @strawberry.field
    def get_order(self, info: strawberry.Info, id: strawberry.ID) -> OrderView | None:  # noqa: A002
        """One order of the caller's."""
        order = orders.get(caller(info), int(id))
        return None if order is None else OrderView.of(order)

    @strawberry.field
    def get_orders(self, info: strawberry.Info) -> list[OrderView]:
        """The caller's orders."""
        return [OrderView.of(order) for order in orders.list_all(caller(info))]


@strawberry.type
class Mutation:
    """The mutations."""

    @strawberry.mutation
    def place_order(
        self, info: strawberry.Info, user_id: int, product_id: int, quantity: int
    ) -> OrderResponse:
        """Places an order for the caller."""
        if caller(info) != user_id:
            return OrderResponse(success=False, message="Orders are placed for oneself.")
        try:
            order = orders.place(user_id, product_id, quantity)
        except orders.RefusedError as refusal:
            return OrderResponse(success=False, message=str(refusal))
        placed = OrderView.of(order)
        return OrderResponse(success=True, message="Order created successfully.", order=placed)


def caller(info: strawberry.Info) -> int:
    """Returns the user of the request's token.

    Raises:
        PermissionError: there is none, or it is not valid.
    """
    request: Request = info.context["request"]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["exp"]})
        if scheme == "Bearer":
            return int(claims["user_id"])
    except (jwt.InvalidTokenError, KeyError, ValueError):
        pass
    raise PermissionError("Invalid token.")


# The clients repeat a few documents: each is parsed and validated once.
schema = strawberry.Schema(Query, Mutation, extensions=[ParserCache, ValidationCache])


def create_app() -> Flask:
    """Makes the application."""
    app = Flask(__name__)
    app.add_url_rule("/graphql", view_func=GraphQLView.as_view("graphql", schema=schema))
    app.add_url_rule("/healthz", view_func=lambda: Response("ok"))
    return app
