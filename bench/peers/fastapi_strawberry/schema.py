"""The GraphQL schema, and the authenticated user."""

import os

import jwt
import strawberry
from fastapi import Request
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.fastapi import BaseContext

import orders

SECRET = os.environ["JWT_SECRET_KEY"]


class Caller(BaseContext):
    """The caller of a request, and the resources to serve it."""

    def __init__(self, request: Request) -> None:
        """Reads the token when it is needed."""
        super().__init__()
        self.pool = request.app.state.pool
        self.relay = request.app.state.relay
        self._authorization = request.headers.get("authorization", "")

    @property
    def user_id(self) -> int:
        """The user of the token.

        Raises:
            PermissionError: there is none, or it is not valid.
        """
        scheme, _, token = self._authorization.partition(" ")
        try:
            claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["exp"]})
            if scheme == "Bearer":
                return int(claims["user_id"])
        except (jwt.InvalidTokenError, KeyError, ValueError):
            pass
        raise PermissionError("Invalid token.")


Info = strawberry.Info[Caller, None]


@strawberry.type
class Order:
    """An order; the product is that of its first line."""

    id: strawberry.ID
    user_id: int
    product_id: int
    quantity: int
    status: str

    @classmethod
    def of(cls, row: orders.Row) -> "Order":
        """Converts a row."""
        return cls(
            id=strawberry.ID(str(row["id"])),
            user_id=int(row["user_id"]),
            product_id=int(row["product_id"]),
            quantity=row["quantity"],
            status=row["status"].capitalize(),
        )


@strawberry.type
class OrderResponse:
    """The result of a placement."""

    success: bool
    message: str
    order: Order | None = None


@strawberry.type
class Query:
    """The queries."""

    @strawberry.field
    async def get_order(self, info: Info, id: strawberry.ID) -> Order | None:  # noqa: A002
        """One order of the caller's."""
        row = await orders.get(info.context.pool, info.context.user_id, int(id))
        return None if row is None else Order.of(row)

    @strawberry.field
    async def get_orders(self, info: Info) -> list[Order]:
        """The caller's orders."""
        rows = await orders.list_all(info.context.pool, info.context.user_id)
        return [Order.of(row) for row in rows]


@strawberry.type
class Mutation:
    """The mutations."""

    @strawberry.mutation
    async def place_order(
        self, info: Info, user_id: int, product_id: int, quantity: int
    ) -> OrderResponse:
        """Places an order for the caller."""
        if info.context.user_id != user_id:
            return OrderResponse(success=False, message="Orders are placed for oneself.")
        try:
            row = await orders.place(info.context.pool, user_id, product_id, quantity)
        except orders.RefusedError as refusal:
            return OrderResponse(success=False, message=str(refusal))
        info.context.relay.wake()
        placed = Order.of(row)
        return OrderResponse(success=True, message="Order created successfully.", order=placed)


# The clients repeat a few documents: each is parsed and validated once.
schema = strawberry.Schema(Query, Mutation, extensions=[ParserCache, ValidationCache])
