"""SIGINT and SIGTERM for a consumer that owns its process: the first stops it, the second ends."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Have the first signal call `stop`, and any further one do what it did before.

    Only the main thread can be told of signals; in another one nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop_once(_number: int, _frame: FrameType | None) -> None:
        restore()
        stop()

    before = {number: signal.signal(number, stop_once) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            # None is a handler that was not installed from Python and cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    try:
        yield
    finally:
        restore()
