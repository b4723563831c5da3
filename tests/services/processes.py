"""Ends a process together with its descendants, and knows when all of them are gone."""

import contextlib
import os
import select
import signal
import time
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Returns the process ids of all children of `pid`, and of their children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            # A process may end between the listing and the reading.
            with contextlib.suppress(OSError):
                # The name in parentheses may itself hold spaces and parentheses.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    generation = children.get(pid, [])
    while generation:
        found += generation
        generation = [grandchild for child in generation for grandchild in children.get(child, [])]
    return found


def kill_tree(pid: int, timeout_s: float) -> None:
    """Sends SIGKILL to `pid` and its descendants; returns when the descendants are gone.

    `pid` itself stays a zombie until its parent waits for it.

    Raises:
        TimeoutError: some of them were still there after `timeout_s` seconds.
    """
    handles = [_open(each) for each in [pid, *descendants(pid)]]
    alive = {handle for handle in handles if handle is not None}
    try:
        for handle in alive:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        wait_gone(alive, timeout_s)
    finally:
        for handle in alive:
            os.close(handle)


def wait_gone(handles: set[int], timeout_s: float) -> None:
    """Waits until the processes behind these pidfds have ended.

    Raises:
        TimeoutError: some of them were still there after `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    waiting = set(handles)
    while waiting:
        # A pidfd becomes readable when its process ends.
        ended, _, _ = select.select(waiting, [], [], max(0.0, deadline - time.monotonic()))
        if not ended:
            raise TimeoutError(f"{len(waiting)} processes still run after {timeout_s:g} s")
        waiting.difference_update(ended)


def _open(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
