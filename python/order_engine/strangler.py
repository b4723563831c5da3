"""The strangler switch inside a web process: opens it, and asks it who answers a request."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING

from order_engine.exceptions import OrderEngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from order_engine import _native

    Headers = list[tuple[bytes, bytes]]

PATIENCE_S = 2.0
"""How long requests wait for the switch of a new process. Later ones go to the old code at once."""

PAUSE_S = 1.0
"""The least time between two tries to open it."""

log: logging.Logger = logging.getLogger("order_engine.strangler")


class Strangler:
    """The switch of one app, opened in each process of its own.

    An engine that cannot be opened, or takes long, keeps no request from the old code: it is
    opened in a thread beside them, and tried again as long as there are requests.

    Args:
        open_native: Opens the engine of this process if need be, and gives its switch.
    """

    def __init__(self, open_native: Callable[[], _native.Strangler]) -> None:
        self._open_native = open_native
        self._here = _InProcess(open_native)

    def receive(
        self, method: str, target: str, headers: Headers, body: bytes
    ) -> _native.Passage | None:
        """Decide who answers a request; None while that is not known: then the old code does."""
        try:
            if self._here.process != os.getpid():
                # Whoever forked had locks and threads of its own.
                self._here = _InProcess(self._open_native)
            native = self._here.get()
            return None if native is None else native.receive(method, target, headers, body)
        except Exception:
            log.exception("the switch failed, the old code answers")
            return None


class _InProcess:
    """The switch as far as it is open in one process."""

    def __init__(self, open_native: Callable[[], _native.Strangler]) -> None:
        self.process = os.getpid()
        self._open_native = open_native
        self._native: _native.Strangler | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._began: float | None = None
        self._ends_waiting = time.monotonic() + PATIENCE_S

    def get(self) -> _native.Strangler | None:
        if self._native is None:
            self._begin()
            self._done.wait(max(0.0, self._ends_waiting - time.monotonic()))
        return self._native

    def _begin(self) -> None:
        with self._lock:
            if self._began is not None and not self._done.is_set():
                return
            now = time.monotonic()
            if self._native is not None or (self._began and now < self._began + PAUSE_S):
                return
            self._began = now
            self._done.clear()
            threading.Thread(target=self._open, name="order-engine-switch", daemon=True).start()

    def _open(self) -> None:
        try:
            self._native = self._open_native()
        except OrderEngineError as error:
            log.warning("the engine cannot be opened, the old code answers: %s", error)
        finally:
            self._done.set()
