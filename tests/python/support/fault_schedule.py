"""A seeded schedule of network faults: which connection, which fault, when, and for how long."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from tests.python.support.fault_proxy import FaultProxy, Traffic

FAULTS: dict[str, Callable[[FaultProxy], None]] = {
    "latency": lambda proxy: proxy.shape(Traffic(delay_s=0.3)),
    "down": FaultProxy.cut,
    "reset": FaultProxy.reset,
    "half-open": FaultProxy.half_open,
    "slicing": lambda proxy: proxy.shape(Traffic(slice_bytes=11, delay_s=0.0005)),
    "bandwidth": lambda proxy: proxy.shape(Traffic(slice_bytes=512, bytes_per_s=8_000)),
    "limit": lambda proxy: proxy.shape(Traffic(limit_bytes=3_000)),
}
SHORTEST_S, LONGEST_S = 0.3, 3.0


@dataclass(frozen=True)
class Step:
    """A fault of one connection."""

    part: str
    """What is at the other end."""
    fault: str
    """One of `FAULTS`."""
    lasts_s: float

    def begin(self, proxy: FaultProxy) -> None:
        """Injects the fault, until the proxy is mended."""
        FAULTS[self.fault](proxy)


def schedule(chance: Random, parts: list[str]) -> Iterator[Step]:
    """Every fault of every part, in an order of chance, and all over again.

    The first ones are as many as there are parts or faults, whichever are more, and have each of
    both.
    """
    while True:
        faults = list(FAULTS)
        chance.shuffle(faults)
        places = parts[:]
        chance.shuffle(places)
        # Diagonals of the table: each has every fault, and the parts in turn.
        for shift, (n, fault) in itertools.product(range(len(places)), enumerate(faults)):
            part = places[(n + shift) % len(places)]
            yield Step(part, fault, round(chance.uniform(SHORTEST_S, LONGEST_S), 2))
