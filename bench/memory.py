"""The memory of a process, as the kernel counts it."""

import re
from pathlib import Path

KIB_PER_MB = 1_000_000 / 1024


def resident_mb(pid: int) -> float:
    """Returns how much memory the process holds now (VmRSS), in megabytes of 10^6 bytes."""
    return _field(pid, "VmRSS")


def most_resident_mb(pid: int) -> float:
    """Returns the most that the process has held so far (VmHWM), in megabytes of 10^6 bytes."""
    return _field(pid, "VmHWM")


def _field(pid: int, name: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise ProcessLookupError(f"process {pid} has ended, its memory is not known any more")
    return int(found[1]) / KIB_PER_MB
