"""Validation of the arguments that `consume` and `Consumer` have in common."""

from __future__ import annotations

from order_engine import arguments
from order_engine.exceptions import InvalidInput


def settings(
    rabbitmq_url: str | None, exchange: str | None, prefetch: int | None
) -> dict[str, str]:
    """Return the arguments as settings; None leaves a setting to its usual sources."""
    return arguments.settings(
        {
            "rabbitmq_url": rabbitmq_url,
            "rabbitmq_exchange": exchange,
            "rabbitmq_prefetch": prefetch,
        }
    )


def queue_name(queue: object) -> str:
    """Return the queue's name.

    Raises:
        InvalidInput: It is not text.
    """
    return arguments.text(queue, "queue")


def subscribed_keys(routing_keys: tuple[object, ...]) -> tuple[str, ...]:
    """Return the routing keys.

    Raises:
        InvalidInput: There is none, or one is not text.
    """
    if not routing_keys:
        raise InvalidInput("Give at least one routing key, such as 'order.placed'.")
    return tuple(arguments.text(key, "a routing key") for key in routing_keys)
