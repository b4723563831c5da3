"""Orderly stop on SIGINT, SIGTERM and SIGHUP for a consumer that owns its process."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def is_hangup_ignored() -> bool:
    """Return whether SIGHUP is ignored, as in a program that was started with nohup."""
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on the first signal, and restore the previous handlers for later ones.

    Does nothing outside the main thread, where Python does not allow signal handlers. SIGHUP stays
    ignored if it is: the program was started with nohup.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop_once(_number: int, _frame: FrameType | None) -> None:
        restore()
        stop()

    numbers = [number for number in SIGNALS if number != signal.SIGHUP or not is_hangup_ignored()]
    before = {number: signal.signal(number, stop_once) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            # None: the handler was not installed by Python and cannot be restored.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    try:
        yield
    finally:
        restore()
