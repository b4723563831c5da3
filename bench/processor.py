"""The processor time of processes, as the kernel counts it."""

import os
from contextlib import suppress
from pathlib import Path

from tests.services.processes import descendants

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Behind the name of the process: its own time, and that of children it has waited for.
USER, SYSTEM, CHILDREN_USER, CHILDREN_SYSTEM = 11, 12, 13, 14


def used_s(pid: int) -> float:
    """Returns the seconds that a process and its descendants have used, the ended ones included."""
    return sum(_ticks(each) for each in [pid, *descendants(pid)]) / TICKS_PER_S


def _ticks(pid: int) -> int:
    # A process may end between the listing and the reading; its parent then has its time.
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        counted = (USER, SYSTEM, CHILDREN_USER, CHILDREN_SYSTEM)
        return sum(int(fields[field]) for field in counted)
    return 0


class Clocks:
    """What some processes use from now on."""

    def __init__(self, pids: dict[str, int]) -> None:
        """Takes the time of the processes of these names."""
        self._pids = pids
        self._begin = {name: used_s(pid) for name, pid in pids.items()}

    def per_request(self, requests: int) -> dict[str, float]:
        """Returns the microseconds that each has used since then for one of so many requests."""
        return {
            f"{name}_us": (used_s(pid) - self._begin[name]) / requests * 1e6
            for name, pid in self._pids.items()
        }
