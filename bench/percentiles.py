"""Percentiles by nearest rank: always an observed value."""

import math
from collections.abc import Sequence


def percentile(observations: Sequence[float], percent: float) -> float:
    """Returns the smallest observation that at least `percent` of all do not exceed (0 to 100)."""
    rank = math.ceil(len(observations) * percent / 100)
    return sorted(observations)[rank - 1]
