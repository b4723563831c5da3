"""The tables of the old service."""

from datetime import datetime

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Float, ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

# The old service wrote `default=datetime.now()`: evaluated once, and without a time zone.
STARTED_AT = datetime.now()  # noqa: DTZ005


class Base(DeclarativeBase):
    """The columns of all tables."""


db = SQLAlchemy(model_class=Base)


class Order(Base):
    """An order."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int]
    total_amount: Mapped[float] = mapped_column(Float)
    status: Mapped[str | None] = mapped_column(String(50), default="Pending")
    created_at: Mapped[datetime | None] = mapped_column(default=STARTED_AT)
    updated_at: Mapped[datetime | None] = mapped_column(default=STARTED_AT, onupdate=STARTED_AT)
    address: Mapped[str | None] = mapped_column(String(255))
    items: Mapped[list["OrderItem"]] = relationship(
        back_populates="order", lazy="selectin", order_by="OrderItem.id"
    )


class OrderItem(Base):
    """One line of an order; its price is not stored."""

    __tablename__ = "order_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int]
    quantity: Mapped[int]
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"))
    order: Mapped[Order] = relationship(back_populates="items")


class OrderUser(Base):
    """A copy of a user of the user service."""

    __tablename__ = "order_user"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int]
    email: Mapped[str] = mapped_column(String(150))
    contact: Mapped[str] = mapped_column(String(15))
    address: Mapped[str] = mapped_column(String(255))


class ProductCatalog(Base):
    """A copy of a product of the product service."""

    __tablename__ = "product_catalog"

    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int]
    name: Mapped[str]
    price: Mapped[float] = mapped_column(Float)
    quantity: Mapped[int | None]
