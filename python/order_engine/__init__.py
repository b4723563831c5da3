"""order-engine: orders that are never lost, never oversold and never announced in vain.

from order_engine import OrderEngine

with OrderEngine.from_env() as engine:
    order = engine.place_order(user_id=1, items=[("1", 2)])
"""

from order_engine._native import (
    Check,
    Event,
    HistoryEntry,
    Order,
    OrderLine,
    OrderPage,
    ParkedMessage,
    Product,
    Replayed,
    SinkMessage,
    User,
    __version__,
)
from order_engine.async_engine import AsyncOrderEngine
from order_engine.engine import OrderEngine
from order_engine.exceptions import (
    Conflict,
    Forbidden,
    IdempotencyMismatch,
    Internal,
    InvalidInput,
    InvalidTransition,
    Misconfigured,
    NotFound,
    OrderEngineError,
    OutcomeUnknown,
    OutOfStock,
    Overloaded,
    ProductNotFound,
    RateLimited,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnknownUser,
)
from order_engine.status import OrderStatus

__all__ = [
    "AsyncOrderEngine",
    "Check",
    "Conflict",
    "Event",
    "Forbidden",
    "HistoryEntry",
    "IdempotencyMismatch",
    "Internal",
    "InvalidInput",
    "InvalidTransition",
    "Misconfigured",
    "NotFound",
    "Order",
    "OrderEngine",
    "OrderEngineError",
    "OrderLine",
    "OrderPage",
    "OrderStatus",
    "OutOfStock",
    "OutcomeUnknown",
    "Overloaded",
    "ParkedMessage",
    "Product",
    "ProductNotFound",
    "RateLimited",
    "Replayed",
    "SinkMessage",
    "TokenExpired",
    "TokenInvalid",
    "TokenMissing",
    "TooLarge",
    "Unauthorized",
    "Unavailable",
    "UnknownUser",
    "User",
    "__version__",
]
