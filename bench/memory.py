"""The memory of a process, as the kernel counts it."""

import re
from pathlib import Path

from tests.services.processes import descendants

KIB_PER_MB = 1_000_000 / 1024


def resident_mb(pid: int) -> float:
    """Returns how much memory the process holds now (VmRSS), in megabytes of 10^6 bytes."""
    return _field(pid, "VmRSS")


def most_resident_mb(pid: int) -> float:
    """Returns the most that the process has held so far (VmHWM), in megabytes of 10^6 bytes."""
    return _field(pid, "VmHWM")


def proportional_mb(pid: int) -> float:
    """Returns what a process and its descendants hold now, in megabytes of 10^6 bytes.

    A page that several of them share is counted once (Pss).
    """
    return sum(_pss_kib(each) for each in [pid, *descendants(pid)]) / KIB_PER_MB


def _pss_kib(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB$", rollup, re.MULTILINE)
    if found is None:
        raise ProcessLookupError(f"process {pid} has ended, its memory is not known any more")
    return int(found[1])


def _field(pid: int, name: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise ProcessLookupError(f"process {pid} has ended, its memory is not known any more")
    return int(found[1]) / KIB_PER_MB
