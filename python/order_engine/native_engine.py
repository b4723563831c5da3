"""The native engine of this process: opened anew after a fork, and kind to gevent."""

from __future__ import annotations

import os
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from order_engine import _native, configuration, sinks
from order_engine.exceptions import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from order_engine.sinks import Sink

CALLS_MAX = 256
"""Calls of one gevent process that wait for the engine at a time; more wait for those."""


class NativeEngine:
    """An engine that is there in every process that uses it.

    A fork has no part in the connections and threads of its parent. The first call in the child
    opens an engine of its own with the same settings; the parent's is left alone.
    """

    def __init__(self, flags: dict[str, str], given: Mapping[str, Sink] | None = None) -> None:
        self._sinks = sinks.checked(given)
        sinks.named(
            flags, configuration.value(flags, "sinks") if self._sinks else None, self._sinks
        )
        self._flags = flags
        self._is_closed = False
        self._open()

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
        self._open()

    def _open(self) -> None:
        self._engine = _opened(self._flags, list(self._sinks))
        pairs = zip(self._sinks.items(), self._engine.sink_feeds(), strict=True)
        self._feeding = [sinks.SinkThread(name, sink, feed) for (name, sink), feed in pairs]
        self._process = os.getpid()

    def close(self) -> None:
        """Close the engine of this process; again does nothing."""
        self._is_closed = True
        if self._process == os.getpid():
            self._engine.close()
            for thread in self._feeding:
                thread.join()


_opening_locks: dict[int, threading.Lock] = {}


def opening_lock() -> threading.Lock:
    """Give this process's lock of those who open an engine, made when it is first asked for.

    One that was held during a fork would never be free in the child, and one that is older than
    gevent's patches would stop the greenlet that holds it together with those that wait.
    """
    return _opening_locks.setdefault(os.getpid(), threading.Lock())


def _opened(flags: dict[str, str], names: list[str]) -> _native.Engine:
    if not _is_gevent_in_charge():
        return _native.Engine(flags, names)
    threads = _threads()
    engine = _outside_the_hub(threads, _native.Engine, flags, names)
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

    def close(self) -> None:
        """Close it here: as Python ends there may be no more threads."""
        self._engine.close()

    def sink_feeds(self) -> list[_native.SinkFeed]:
        """Give what the sinks are told; waiting for it keeps no greenlet back."""
        feeds = self._engine.sink_feeds()
        return [cast("_native.SinkFeed", _GeventFeed(feed, self._threads)) for feed in feeds]

    def __getattr__(self, verb: str) -> Callable[..., object]:
        call = getattr(self._engine, verb)
        return lambda *arguments: _outside_the_hub(self._threads, call, *arguments)


class _GeventFeed:
    """What a sink is told, for a greenlet."""

    def __init__(self, feed: _native.SinkFeed, threads: Any) -> None:  # noqa: ANN401 - a ThreadPool.
        self._threads = threads
        self._feed = feed
        self.settle = feed.settle
        self.give_up = feed.give_up

    def next(self) -> list[_native.SinkMessage] | None:
        """Wait for the next batch in a real thread."""
        batch: list[_native.SinkMessage] | None = _outside_the_hub(self._threads, self._feed.next)
        return batch


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
