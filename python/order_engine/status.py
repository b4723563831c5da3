"""The statuses of an order."""

from __future__ import annotations

from enum import Enum


class OrderStatus(str, Enum):
    """The status of an order. A member equals its text: `OrderStatus.SHIPPED == "shipped"`.

    Transitions: pending to confirmed, shipped or cancelled; confirmed to shipped or cancelled;
    shipped to delivered; delivered to returned.
    """

    PENDING = "pending"
    CONFIRMED = "confirmed"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    RETURNED = "returned"

    def __str__(self) -> str:
        return self.value
