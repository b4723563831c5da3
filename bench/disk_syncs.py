"""Durable small writes per second of the disk, which limit unbatched commits."""

import os
import tempfile
import time
from pathlib import Path

BLOCK = bytes(8192)
DURATION_S = 0.5


def syncs_per_second(folder: Path) -> float:
    """Overwrites and syncs one block of a file in `folder`, repeatedly."""
    with tempfile.TemporaryFile(dir=folder) as file:
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < DURATION_S:
            os.pwrite(file.fileno(), BLOCK, 0)
            os.fdatasync(file.fileno())
            count += 1
    return count / elapsed
