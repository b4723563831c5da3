"""Percentiles of observations, by the nearest rank: always a value that was observed."""

import math
from collections.abc import Sequence


def percentile(observations: Sequence[float], percent: float) -> float:
    """Returns the smallest observation that `percent` of all do not exceed (0 < percent <= 100)."""
    rank = math.ceil(len(observations) * percent / 100)
    return sorted(observations)[rank - 1]
