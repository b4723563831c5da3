"""The GraphQL schema of the old service, and what answers it."""

from typing import TYPE_CHECKING, Any

from ariadne import MutationType, QueryType, make_executable_schema
from graphql import GraphQLResolveInfo

from tests.legacy_app.events import publish_event
from tests.legacy_app.models import Order, OrderItem, OrderUser, ProductCatalog, db
from tests.legacy_app.tokens import AuthorizationError, check_token

if TYPE_CHECKING:
    from flask import Request

TYPES = """
    type OrderItem { id: ID!  product_id: Int!  quantity: Int! }
    type Order {
        id: ID!
        user_id: Int!
        total_amount: Float!
        status: String!
        items: [OrderItem!]!
    }
    type OrderResponse { success: Boolean!  message: String  orders: [Order] }
    input OrderItemInput { product_id: Int!  quantity: Int! }
    type Query { allOrders: OrderResponse!  order(id: ID!): OrderResponse! }
    type Mutation {
        createOrder(user_id: Int!, order_items: [OrderItemInput!]!): OrderResponse!
    }
"""

Envelope = dict[str, Any]

query = QueryType()
mutation = MutationType()


@query.field("allOrders")
def all_orders(_root: object, info: GraphQLResolveInfo[Any]) -> Envelope:
    """All users' orders, for any valid token."""
    try:
        authorize(info)
    except AuthorizationError as error:
        return failure(str(error))
    orders = db.session.scalars(db.select(Order).order_by(Order.id)).all()
    return success("Orders fetched successfully.", *orders)


@query.field("order")
def order_by_id(_root: object, info: GraphQLResolveInfo[Any], id: str) -> Envelope:  # noqa: A002
    """One order of any user."""
    try:
        authorize(info)
    except AuthorizationError as error:
        return failure(str(error))
    order = db.session.get(Order, int(id))
    if order is None:
        return failure(f"Product with id {id} not found")
    return success("Order fetched successfully.", order)


@mutation.field("createOrder")
def create_order(
    _root: object, info: GraphQLResolveInfo[Any], user_id: int, order_items: list[dict[str, int]]
) -> Envelope:
    """Checks the stock of each line separately, and reserves nothing."""
    try:
        authorize(info)
    except AuthorizationError as error:
        return failure(str(error))
    total_amount = 0.0
    for item in order_items:
        wanted = db.select(ProductCatalog).filter_by(product_id=item["product_id"])
        product = db.session.scalars(wanted).first()
        if product is None:
            return failure(f"Product with id {item['product_id']} not found")
        if (product.quantity or 0) < item["quantity"]:
            return failure(f"Requested quantity of product ID {item['product_id']} not available.")
        total_amount += product.price * item["quantity"]
    user = db.session.scalars(db.select(OrderUser).filter_by(user_id=user_id)).first()
    order = Order(
        user_id=user_id, total_amount=total_amount, address=user.address if user else None
    )
    order.items = [OrderItem(**item) for item in order_items]
    db.session.add(order)
    db.session.commit()
    publish_event(
        "order.placed",
        {
            "order_id": order.id,
            "user_id": order.user_id,
            "total_amount": order.total_amount,
            "items": [
                {"id": item.id, "product_id": item.product_id, "quantity": item.quantity}
                for item in order.items
            ],
        },
    )
    return success("Order created successfully.", order)


def authorize(info: GraphQLResolveInfo[Any]) -> None:
    """Checks that there is a token; its user is ignored."""
    request: Request = info.context
    check_token(request.headers.get("Authorization"))


def success(message: str, *orders: Order) -> Envelope:
    """The envelope of a success."""
    return {"success": True, "message": message, "orders": orders}


def failure(message: str) -> Envelope:
    """The envelope of a failure."""
    return {"success": False, "message": message, "orders": None}


schema = make_executable_schema(TYPES, query, mutation)
