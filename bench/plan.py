"""What one run measures: how often, how long, at which sizes."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The sizes of a run; the defaults take less than ten minutes on two cores."""

    rounds: int = 5
    seconds: int = 4
    """Of each measurement under load."""
    connections: tuple[int, ...] = (1, 16, 64)
    """At which the engine and pgbench are compared."""
    crowd: int = 256
    """Connections at which only the engine places; beside it is pgbench's highest number."""
    users: int = 1_000
    products: int = 1_000
    requests: int = 4_096
    """Different requests that a load goes through at random."""
    single_orders: int = 200
    """Placed one at a time, for the time from order to event."""
    backlog: int = 50_000
    """Messages that the relay finds when it is switched on."""
