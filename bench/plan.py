"""What one run measures: how often, how long, at which sizes."""

from dataclasses import dataclass

PARTS = ("events", "place", "read", "list", "python", "bulk", "relay", "open")
"""What a run may measure: order to event; the three loads; calls from Python, one by one and in
bulk; the relay; placing at a constant rate.
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The sizes of a run; the defaults take less than twenty minutes on two cores."""

    rounds: int = 5
    seconds: int = 3
    """Of each measurement under load."""
    connections: tuple[int, ...] = (1, 16, 64)
    """At which the engine and pgbench are compared."""
    peers: tuple[str, ...] = ("flask_sqlalchemy", "fastapi_strawberry", "express_graphql")
    """Who is compared with the engine, beside pgbench."""
    peer_connections: tuple[int, ...] = (16, 64)
    """At which they are."""
    parts: tuple[str, ...] = PARTS
    """What is measured."""
    open_loop_seconds: int = 6
    """Of placing at a constant rate, half of what the engine has placed before."""
    crowd: int = 256
    """Connections at which only the engine places; beside it is pgbench's highest number."""
    users: int = 1_000
    products: int = 1_000
    regulars: int = 200
    """More users, who place nothing and are asked for the list of their orders."""
    orders_of_a_regular: int = 20
    requests: int = 4_096
    """Different requests that a load goes through at random."""
    single_orders: int = 200
    """Placed one at a time, for the time from order to event."""
    backlog: int = 50_000
    """Messages that the relay finds when it is switched on."""
