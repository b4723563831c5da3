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
    LimitExceeded,
    Misconfigured,
    NotFound,
    OrderEngineError,
    OutOfStock,
    ProductNotFound,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    Unauthorized,
    Unavailable,
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
    "LimitExceeded",
    "Misconfigured",
    "NotFound",
    "Order",
    "OrderEngine",
    "OrderEngineError",
    "OrderLine",
    "OrderPage",
    "OrderStatus",
    "OutOfStock",
    "ParkedMessage",
    "Product",
    "ProductNotFound",
    "Replayed",
    "SinkMessage",
    "TokenExpired",
    "TokenInvalid",
    "TokenMissing",
    "Unauthorized",
    "Unavailable",
    "User",
    "__version__",
]
