"""Placing and reading orders: each a transaction of the ORM."""

import json
import uuid

from sqlalchemy import func, select, update
from sqlalchemy.orm import selectinload

import relay
from models import Order, OrderHistory, OrderLine, Outbox, Product, Reservation, Session, User

MOST_LISTED = 1_000


class RefusedError(Exception):
    """The order cannot be placed; the message is for the customer."""


def place(user_id: int, product_id: int, quantity: int) -> Order:
    """Reserves the stock, and writes the order with its event, in one transaction.

    Raises:
        RefusedError: there is no such product, or too little of it.
    """
    if quantity < 1:
        raise RefusedError("The quantity must be 1 or more.")
    with Session(expire_on_commit=False) as session, session.begin():
        product = _reserve(session, str(product_id), quantity)
        order = Order(
            user_id=str(user_id),
            total=product.price * quantity,
            currency=product.currency,
            address=session.scalar(select(User.address).where(User.user_id == str(user_id))),
            lines=[
                OrderLine(
                    position=1,
                    product_id=product.product_id,
                    name=product.name,
                    quantity=quantity,
                    unit_price=product.price,
                )
            ],
        )
        session.add(order)
        # The event names the numbers that the database gives.
        session.flush()
        _add_records(session, order)
    relay.wake()
    return order


def get(user_id: int, order_id: int) -> Order | None:
    """Returns an order of this user's."""
    with Session() as session:
        return session.scalar(_orders_of(user_id).where(Order.id == order_id))


def list_all(user_id: int) -> list[Order]:
    """Returns this user's orders, oldest first; at most the newest 1,000."""
    with Session() as session:
        newest = _orders_of(user_id).order_by(Order.id.desc()).limit(MOST_LISTED)
        return list(session.scalars(newest))[::-1]


def _orders_of(user_id: int):  # noqa: ANN202 - SQLAlchemy's generic Select
    return (
        select(Order)
        .options(selectinload(Order.lines))
        .where(Order.user_id == str(user_id), Order.deleted_at.is_(None))
    )


def _reserve(session: Session, product_id: str, quantity: int) -> Product:
    reserved = session.scalar(
        update(Product)
        .where(
            Product.product_id == product_id,
            Product.price.is_not(None),
            Product.reported - Product.reserved >= quantity,
        )
        .values(reserved=Product.reserved + quantity, updated_at=func.now())
        .returning(Product)
        .execution_options(synchronize_session=False)
    )
    if reserved is not None:
        return reserved
    if session.get(Product, product_id) is None:
        raise RefusedError(f"Product with id {product_id} not found")
    raise RefusedError(f"Requested quantity of product ID {product_id} not available.")


def _add_records(session: Session, order: Order) -> None:
    """Adds the order's reservations, its history and its message."""
    event_id = uuid.uuid4()
    event = {
        "order_id": order.id,
        "user_id": int(order.user_id),
        "total_amount": float(order.total),
        "items": [
            {"id": line.id, "product_id": int(line.product_id), "quantity": line.quantity}
            for line in order.lines
        ],
        "event_id": str(event_id),
        "version": order.version,
    }
    session.add_all(
        Reservation(product_id=line.product_id, order_id=order.id, quantity=line.quantity)
        for line in order.lines
    )
    session.add(
        OrderHistory(
            order_id=order.id,
            version=order.version,
            event_id=event_id,
            actor=order.user_id,
            action="placed",
            status=order.status,
        )
    )
    session.add(
        Outbox(
            destination="flask",
            order_id=order.id,
            version=order.version,
            message_id=event_id,
            topic="order.placed",
            body=json.dumps(event),
        )
    )
