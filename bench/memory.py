"""The memory of a process, as the kernel counts it."""

import re
from pathlib import Path

from tests.services.processes import descendants

KIB_PER_MB = 1_000_000 / 1024


def resident_mb(pid: int) -> float:
    """Returns the resident memory of the process (VmRSS), in megabytes of 10^6 bytes."""
    return _field(pid, "VmRSS")


def most_resident_mb(pid: int) -> float:
    """Returns the peak resident memory of the process (VmHWM), in megabytes of 10^6 bytes."""
    return _field(pid, "VmHWM")


def proportional_mb(pid: int) -> float:
    """Returns the memory of a process and its descendants, in megabytes of 10^6 bytes.

    Pages that several of them share count once (Pss).
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
