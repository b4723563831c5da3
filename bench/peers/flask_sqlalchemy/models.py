"""The tables as SQLAlchemy sees them; which the engine's migrations create."""

import os
import uuid
from datetime import datetime
from decimal import Decimal

from sqlalchemy import ForeignKey, Sequence, create_engine, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, sessionmaker

engine = create_engine(
    os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1),
    # As many as threads, and one for the relay.
    pool_size=17,
    max_overflow=0,
)
Session = sessionmaker(engine)


class Base(DeclarativeBase):
    """The base class of the tables."""


class User(Base):
    """A customer."""

    __tablename__ = "users"

    user_id: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str | None]


class Product(Base):
    """A product; `reserved` units belong to orders."""

    __tablename__ = "products"

    product_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    price: Mapped[Decimal | None]
    currency: Mapped[str]
    reported: Mapped[int | None]
    reserved: Mapped[int]
    updated_at: Mapped[datetime]


class Order(Base):
    """One order."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(Sequence("order_ids"), primary_key=True)
    user_id: Mapped[str]
    status: Mapped[str] = mapped_column(default="pending")
    total: Mapped[Decimal]
    currency: Mapped[str]
    address: Mapped[str | None]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(default=func.now())
    updated_at: Mapped[datetime] = mapped_column(default=func.now())
    deleted_at: Mapped[datetime | None]
    lines: Mapped[list["OrderLine"]] = relationship(order_by="OrderLine.position")


class OrderLine(Base):
    """One product of an order."""

    __tablename__ = "order_lines"

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(Sequence("order_line_ids"))
    product_id: Mapped[str]
    name: Mapped[str]
    quantity: Mapped[int]
    unit_price: Mapped[Decimal]


class Reservation(Base):
    """The units of a product that an order reserves."""

    __tablename__ = "reservations"

    product_id: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    quantity: Mapped[int]


class OrderHistory(Base):
    """One change of an order."""

    __tablename__ = "order_history"

    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    event_id: Mapped[uuid.UUID]
    changed_at: Mapped[datetime] = mapped_column(default=func.now())
    actor: Mapped[str]
    action: Mapped[str]
    status: Mapped[str]


class Outbox(Base):
    """A message that waits for the broker."""

    __tablename__ = "outbox"

    destination: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column("stream_id", primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(Sequence("message_ids"), primary_key=True)
    message_id: Mapped[uuid.UUID]
    topic: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=func.now())
