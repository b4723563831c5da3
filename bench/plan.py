"""The size of a run: rounds, durations, connections."""

from dataclasses import dataclass

PARTS = ("events", "place", "read", "list", "python", "bulk", "relay", "open")
"""The parts of a run: order to event; the three loads; single and bulk calls from Python; the
relay; placing at a constant rate.
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The sizes of a run; the defaults take less than twenty minutes on two cores."""

    rounds: int = 5
    seconds: int = 3
    """Duration of each measurement under load."""
    connections: tuple[int, ...] = (1, 16, 64)
    """Numbers of connections at which the engine and pgbench are compared."""
    peers: tuple[str, ...] = ("flask_sqlalchemy", "fastapi_strawberry", "express_graphql")
    """The comparable programs that are measured."""
    peer_connections: tuple[int, ...] = (16, 64)
    """Numbers of connections at which they are compared."""
    parts: tuple[str, ...] = PARTS
    """The parts to measure."""
    open_loop_seconds: int = 6
    """Duration of placing at a constant rate, which is half of the rate measured before."""
    engine_connections: int = 256
    """Connections at which only the engine places; compared with pgbench's highest number."""
    users: int = 1_000
    products: int = 1_000
    regulars: int = 200
    """Additional users, who place nothing and list their orders."""
    orders_of_a_regular: int = 20
    requests: int = 4_096
    """Distinct requests, from which a load chooses at random."""
    single_orders: int = 200
    """Orders placed one at a time, for the time from order to event."""
    backlog: int = 50_000
    """Messages in the outbox when the relay starts."""
