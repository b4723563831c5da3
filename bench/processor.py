"""The processor time of processes, as the kernel counts it."""

import os
from contextlib import suppress
from pathlib import Path

from tests.services.processes import descendants

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Fields after the process name: its own time, and that of children it has waited for.
USER, SYSTEM, CHILDREN_USER, CHILDREN_SYSTEM = 11, 12, 13, 14


def used_s(pid: int) -> float:
    """Returns the seconds that a process and its descendants have used, including finished ones."""
    return sum(_ticks(each) for each in [pid, *descendants(pid)]) / TICKS_PER_S


def _ticks(pid: int) -> int:
    # A process may end between listing and reading; its parent then has its time.
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        counted = (USER, SYSTEM, CHILDREN_USER, CHILDREN_SYSTEM)
        return sum(int(fields[field]) for field in counted)
    return 0


class Clocks:
    """The processor time of some processes from now on."""

    def __init__(self, pids: dict[str, int]) -> None:
        """Records the current times of the named processes."""
        self._pids = pids
        self._begin = {name: used_s(pid) for name, pid in pids.items()}

    def per_request(self, requests: int) -> dict[str, float]:
        """Returns the microseconds that each process has used per request."""
        return {
            f"{name}_us": (used_s(pid) - self._begin[name]) / requests * 1e6
            for name, pid in self._pids.items()
        }
