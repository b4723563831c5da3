"""The native engine of this process: opened anew after a fork, and kind to gevent."""

from __future__ import annotations

import os
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from order_engine import _native
from order_engine.exceptions import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS_MAX = 256
"""Calls of one gevent process that wait for the engine at a time; more wait for those."""


class NativeEngine:
    """An engine that is there in every process that uses it.

    A fork has no part in the connections and threads of its parent. The first call in the child
    opens an engine of its own with the same settings; the parent's is left alone.
    """

    def __init__(self, flags: dict[str, str]) -> None:
        self._flags = flags
        self._is_closed = False
        self._engine = _opened(flags)
        self._process = os.getpid()

    def here(self) -> _native.Engine:
        """Give the engine of this process.

        Raises:
            Unavailable: It is closed, or the database cannot be reached from this fork.
        """
        if self._process != os.getpid():
            with opening_lock():
                if self._process != os.getpid():
                    self._open_again()
        return self._engine

    def _open_again(self) -> None:
        if self._is_closed:
            raise Unavailable("This engine is closed. Open a new one.", {})
        self._engine = _opened(self._flags)
        self._process = os.getpid()

    def close(self) -> None:
        """Close the engine of this process; again does nothing."""
        self._is_closed = True
        if self._process == os.getpid():
            self._engine.close()


_opening_locks: dict[int, threading.Lock] = {}


def opening_lock() -> threading.Lock:
    """Give this process's lock of those who open an engine, made when it is first asked for.

    One that was held during a fork would never be free in the child, and one that is older than
    gevent's patches would stop the greenlet that holds it together with those that wait.
    """
    return _opening_locks.setdefault(os.getpid(), threading.Lock())


def _opened(flags: dict[str, str]) -> _native.Engine:
    if not _is_gevent_in_charge():
        return _native.Engine(flags)
    threads = _threads()
    engine = _outside_the_hub(threads, _native.Engine, flags)
    return cast("_native.Engine", _GeventEngine(engine, threads))


def _is_gevent_in_charge() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _threads() -> Any:  # noqa: ANN401 - gevent is there only where it is used.
    return import_module("gevent.threadpool").ThreadPool(CALLS_MAX)


class _GeventEngine:
    """The engine for greenlets: while one waits in a real thread, the others go on."""

    def __init__(self, engine: _native.Engine, threads: Any) -> None:  # noqa: ANN401 - a ThreadPool.
        self._engine = engine
        self._threads = threads

    def __getattr__(self, verb: str) -> Callable[..., object]:
        call = getattr(self._engine, verb)
        return lambda *arguments: _outside_the_hub(self._threads, call, *arguments)


def _outside_the_hub(threads: Any, call: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
    """Call in a real thread. An exception is brought along: gevent would print those of threads."""

    def outcome() -> tuple[object, BaseException | None]:
        try:
            return call(*arguments), None
        except BaseException as error:  # noqa: BLE001 - it is raised where it belongs.
            return None, error

    result, error = threads.apply(outcome)
    if error is not None:
        raise error
    return result
