"""order-engine: an order service as a Python module, backed by PostgreSQL and a Rust core.

from order_engine import OrderEngine

with OrderEngine.from_env() as engine:
    order = engine.place_order(user_id="1", lines=[("1", 2)])
"""

from order_engine._native import (
    Check,
    DeadLetter,
    DeadLetterEvent,
    Event,
    HistoryEntry,
    Order,
    OrderLine,
    OrderPage,
    Product,
    ReplayProgress,
    SinkMessage,
    User,
    __version__,
)
from order_engine.async_engine import AsyncOrderEngine
from order_engine.consumer import Consumer, consume, consume_async
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
from order_engine.generated.settings import Settings
from order_engine.serialization import json_default
from order_engine.status import OrderStatus

__all__ = [
    "AsyncOrderEngine",
    "Check",
    "Conflict",
    "Consumer",
    "DeadLetter",
    "DeadLetterEvent",
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
    "Product",
    "ProductNotFound",
    "RateLimited",
    "ReplayProgress",
    "Settings",
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
    "consume",
    "consume_async",
    "json_default",
]
