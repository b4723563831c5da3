"""The states of an order, as Python names."""

from __future__ import annotations

from enum import Enum


class OrderStatus(str, Enum):
    """Where an order stands; a member equals its text, `OrderStatus.SHIPPED == "shipped"`.

    pending → confirmed → shipped → delivered, and pending → shipped at once; cancelled from
    pending or confirmed; returned from delivered.
    """

    PENDING = "pending"
    CONFIRMED = "confirmed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    RETURNED = "returned"

    def __str__(self) -> str:
        return self.value
