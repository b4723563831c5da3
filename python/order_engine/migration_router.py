"""Opens the native migration router in each process, without delaying requests for long."""

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

OPEN_TIMEOUT_S = 2.0
"""How long requests of a new process wait for the router. After that the app answers."""

RETRY_INTERVAL_S = 1.0
"""Minimum time between two attempts to open the router."""

log: logging.Logger = logging.getLogger("order_engine.migration_router")


class MigrationRouter:
    """The migration router of one app, opened in each process separately.

    An engine that cannot be opened does not fail requests: the app answers them, and a background
    thread retries as long as requests arrive.

    Args:
        open_native: Opens the engine of this process if necessary, and returns its router.
    """

    def __init__(self, open_native: Callable[[], _native.MigrationRouter]) -> None:
        self._open_native = open_native
        self._opener = _Opener(open_native)

    def receive(
        self, method: str, target: str, headers: Headers, body: bytes
    ) -> _native.RoutingDecision | None:
        """Return the decision for a request; None if the router is not available."""
        try:
            if self._opener.process != os.getpid():
                # After a fork, the parent's locks and threads cannot be used.
                self._opener = _Opener(self._open_native)
            native = self._opener.get()
            return None if native is None else native.route(method, target, headers, body)
        except Exception:
            log.exception("the migration router failed, the app answers")
            return None


class _Opener:
    """Opens the router of one process in a background thread."""

    def __init__(self, open_native: Callable[[], _native.MigrationRouter]) -> None:
        self.process = os.getpid()
        self._open_native = open_native
        self._native: _native.MigrationRouter | None = None
        self._lock = threading.Lock()
        self._finished = threading.Event()
        self._started_at: float | None = None
        self._wait_until = time.monotonic() + OPEN_TIMEOUT_S

    def get(self) -> _native.MigrationRouter | None:
        if self._native is None:
            self._start()
            self._finished.wait(max(0.0, self._wait_until - time.monotonic()))
        return self._native

    def _start(self) -> None:
        with self._lock:
            if self._started_at is not None and not self._finished.is_set():
                return
            now = time.monotonic()
            is_too_early = (
                self._started_at is not None and now < self._started_at + RETRY_INTERVAL_S
            )
            if self._native is not None or is_too_early:
                return
            self._started_at = now
            self._finished.clear()
            threading.Thread(target=self._open, name="order-engine-router", daemon=True).start()

    def _open(self) -> None:
        try:
            self._native = self._open_native()
        except OrderEngineError as error:
            log.warning("cannot open the engine, the app answers: %s", error)
        finally:
            self._finished.set()
