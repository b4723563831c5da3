"""Which connection breaks when, how, and for how long: decided by a seed."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from tests.python.support.fault_proxy import BreakableLink, Traffic

FAULTS: dict[str, Callable[[BreakableLink], None]] = {
    "latency": lambda link: link.shape(Traffic(delay_s=0.3)),
    "down": BreakableLink.cut,
    "reset": BreakableLink.reset,
    "half-open": BreakableLink.half_open,
    "slicing": lambda link: link.shape(Traffic(slice_bytes=11, delay_s=0.0005)),
    "bandwidth": lambda link: link.shape(Traffic(slice_bytes=512, bytes_per_s=8_000)),
    "limit": lambda link: link.shape(Traffic(limit_bytes=3_000)),
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

    def begin(self, link: BreakableLink) -> None:
        """Has it happen, until the link is mended."""
        FAULTS[self.fault](link)


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
