"""Ends what a workspace started, and removes its folder, once the owner of the workspace is gone.

Runs as a process of its own. Its standard input is a pipe that the owner holds open: it carries
one line per started process (`PID SIGNAL`), and it ends when the owner does, however that happens.
"""

import contextlib
import os
import select
import shutil
import signal
import sys
import time

GRACE_S = 10.0


def main() -> None:
    """Reads until the owner has ended, then stops the remaining processes."""
    stop_signals: dict[int, int] = {}
    for line in sys.stdin:
        pid, stop_signal = map(int, line.split())
        # The handle is opened while the owner still has the process: a process id that is reused
        # later cannot be hit.
        with contextlib.suppress(ProcessLookupError):
            stop_signals[os.pidfd_open(pid)] = stop_signal
    waiting = set(stop_signals)
    for handle, stop_signal in stop_signals.items():
        _send(handle, stop_signal)
    deadline = time.monotonic() + GRACE_S
    while waiting and time.monotonic() < deadline:
        ended, _, _ = select.select(waiting, [], [], max(0.0, deadline - time.monotonic()))
        waiting.difference_update(ended)
    for handle in waiting:
        _send(handle, signal.SIGKILL)
    shutil.rmtree(sys.argv[1], ignore_errors=True)


def _send(handle: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, number)


if __name__ == "__main__":
    main()
