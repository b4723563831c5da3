"""What to consume, from where: the arguments that loops and handlers have in common."""

from __future__ import annotations

from order_engine import arguments
from order_engine.exceptions import InvalidInput


def settings(
    rabbitmq_url: str | None, exchange: str | None, prefetch: int | None
) -> dict[str, str]:
    """Make settings of the arguments; what is None comes from where settings come from."""
    return arguments.settings(
        {
            "rabbitmq_url": rabbitmq_url,
            "rabbitmq_exchange": exchange,
            "rabbitmq_prefetch": prefetch,
        }
    )


def queue_name(queue: object) -> str:
    """Pass the name of a queue on."""
    return arguments.text(queue, "queue")


def subscribed_keys(routing_keys: tuple[object, ...]) -> tuple[str, ...]:
    """Pass routing keys on, of which there must be one."""
    if not routing_keys:
        raise InvalidInput("name at least one routing key, such as 'order.placed'")
    return tuple(arguments.text(key, "a routing key") for key in routing_keys)
