"""The connection behind an engine: opened on first use, in each process of its own."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
import time
import weakref
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from order_engine import _native, configuration, database, sinks
from order_engine.exceptions import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from order_engine.sinks import AsyncSink, Sink

COOLDOWN_S = 1.0
"""Time after a failed attempt to connect during which the next calls fail at once."""

GEVENT_CALLS_MAX = 256
"""Calls of one gevent process that may wait for the engine at the same time."""


class _Opened(NamedTuple):
    """An open engine and the process that opened it."""

    process: int
    engine: _native.Engine
    threads: list[sinks.SinkThread]


class Connection:
    """The connection of a blocking engine.

    A fork does not share the connections and threads of its parent: the first call in the child
    opens a new engine with the same settings. The parent's engine is left alone.
    """

    def __init__(self, settings: dict[str, str], given: Mapping[str, Sink] | None) -> None:
        self._sinks = sinks.checked(given)
        self._settings = configuration.checked(sinks.named(settings, self._sinks))
        self._cooldown = Cooldown()
        self._opened: _Opened | None = None
        self._is_closed = False

    def engine(self) -> _native.Engine:
        """Return the open engine of this process, opening it if necessary.

        Raises:
            Misconfigured: Settings are missing.
            Unavailable: The engine is closed, or the database cannot be reached.
        """
        opened = self._opened
        if opened is None or opened.process != os.getpid():
            with opening_lock():
                opened = self._opened
                if opened is None or opened.process != os.getpid():
                    opened = self._open()
        return opened.engine

    def _open(self) -> _Opened:
        if self._is_closed:
            raise Unavailable("This engine is closed. Open a new one.")
        with self._cooldown:
            engine = _open_engine(database.with_database(self._settings), list(self._sinks))
        feeds = zip(self._sinks.items(), engine.sink_feeds(), strict=True)
        threads = [sinks.SinkThread(name, sink, feed) for (name, sink), feed in feeds]
        self._opened = _Opened(os.getpid(), engine, threads)
        return self._opened

    def close(self) -> None:
        """Close the engine of this process. Closing again does nothing."""
        self._is_closed = True
        opened = self._opened
        if opened is not None and opened.process == os.getpid():
            opened.engine.close()
            for thread in opened.threads:
                thread.join()


class AsyncConnection:
    """The connection of an asyncio engine."""

    def __init__(
        self, settings: dict[str, str], given: Mapping[str, Sink | AsyncSink] | None
    ) -> None:
        self._sinks = sinks.checked(given)
        self._settings = configuration.checked(sinks.named(settings, self._sinks))
        self._cooldown = Cooldown()
        self._engine: _native.AsyncEngine | None = None
        self._opening: asyncio.Task[_native.AsyncEngine] | None = None
        self._feeding: list[asyncio.Task[None]] = []
        self._is_closed = False

    async def engine(self) -> _native.AsyncEngine:
        """Return the open engine, opening it if necessary.

        Raises:
            Misconfigured: Settings are missing.
            Unavailable: The engine is closed, or the database cannot be reached.
        """
        if self._engine is not None:
            return self._engine
        opening = self._opening
        if opening is None or opening.done() or opening.get_loop() != asyncio.get_running_loop():
            opening = self._opening = asyncio.create_task(self._open())
        # A cancelled caller must not cancel the opening for the others.
        return await asyncio.shield(opening)

    async def _open(self) -> _native.AsyncEngine:
        if self._is_closed:
            raise Unavailable("This engine is closed. Open a new one.")
        with self._cooldown:
            settings = await asyncio.to_thread(database.with_database, self._settings)
            engine = await _native.AsyncEngine.open(settings, list(self._sinks))
        if self._engine is not None:
            # Another event loop was faster.
            await engine.close()
            return self._engine
        self._engine = engine
        feeds = zip(self._sinks.items(), engine.sink_feeds(), strict=True)
        self._feeding = [
            asyncio.create_task(sinks.feed(name, sink, feed)) for (name, sink), feed in feeds
        ]
        return engine

    async def close(self) -> None:
        """Close the engine. Closing again does nothing."""
        self._is_closed = True
        if self._engine is not None:
            await self._engine.close()
            await asyncio.gather(*self._feeding)


class Cooldown:
    """Remembers a failed attempt to connect, so that the next callers do not wait for the same.

    As a context manager it surrounds an attempt: it raises the last error again if that happened
    a moment ago, and records a new one.
    """

    def __init__(self) -> None:
        self._error: Unavailable | None = None
        self._until = 0.0

    def __enter__(self) -> None:
        if self._error is not None and time.monotonic() < self._until:
            raise type(self._error)(self._error.message, self._error.context)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Unavailable):
            self._error = error
            self._until = time.monotonic() + COOLDOWN_S


class Closable(Protocol):
    """An object with a method `close`."""

    def close(self) -> None:
        """Free what it holds."""


def close_at_exit(resource: Closable) -> None:
    """Close an engine when Python exits, if it still exists then.

    WSGI servers do not tell an app that its worker ends. Without this, other workers would take
    over the worker's outbox partitions only after its leases have expired.
    """
    atexit.register(_close, weakref.ref(resource))


def _close(reference: weakref.ref[Closable]) -> None:
    resource = reference()
    if resource is not None:
        resource.close()


_opening_locks: dict[int, threading.Lock] = {}


def opening_lock() -> threading.Lock:
    """Return this process's lock for opening engines, created on first use.

    A lock that is held during a fork is never released in the child, and a lock that is older than
    gevent's patches blocks the whole thread instead of one greenlet.
    """
    return _opening_locks.setdefault(os.getpid(), threading.Lock())


def _open_engine(settings: dict[str, str], names: list[str]) -> _native.Engine:
    if not _is_gevent_active():
        return _native.Engine.open(settings, names)
    pool = _thread_pool()
    engine = _call_outside_hub(pool, _native.Engine.open, settings, names)
    return cast("_native.Engine", _GeventEngine(engine, pool))


def _is_gevent_active() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def _thread_pool() -> Any:  # noqa: ANN401 - gevent is there only where it is used.
    return import_module("gevent.threadpool").ThreadPool(GEVENT_CALLS_MAX)


class _GeventEngine:
    """The engine for greenlets: one greenlet waits in a real thread, the others run."""

    def __init__(self, engine: _native.Engine, pool: Any) -> None:  # noqa: ANN401 - a ThreadPool.
        self._engine = engine
        self._pool = pool

    def close(self) -> None:
        """Close it in this thread: at the exit of Python there may be no others."""
        self._engine.close()

    def sink_feeds(self) -> list[_native.SinkFeed]:
        """Return the sinks' batches; waiting for them blocks no other greenlet."""
        feeds = self._engine.sink_feeds()
        return [cast("_native.SinkFeed", _GeventFeed(feed, self._pool)) for feed in feeds]

    def __getattr__(self, name: str) -> Callable[..., object]:
        call = getattr(self._engine, name)
        return lambda *arguments, **named: _call_outside_hub(self._pool, call, *arguments, **named)


class _GeventFeed:
    """The batches for one sink, for a greenlet."""

    def __init__(self, feed: _native.SinkFeed, pool: Any) -> None:  # noqa: ANN401 - a ThreadPool.
        self._pool = pool
        self._feed = feed
        self.settle = feed.settle
        self.fail = feed.fail

    def next(self) -> list[_native.SinkMessage] | None:
        """Wait for the next batch in a real thread."""
        batch: list[_native.SinkMessage] | None = _call_outside_hub(self._pool, self._feed.next)
        return batch


def _call_outside_hub(
    pool: Any,  # noqa: ANN401 - a ThreadPool.
    call: Callable[..., Any],
    *arguments: object,
    **named: object,
) -> Any:  # noqa: ANN401 - whatever the call returns.
    """Call in a real thread. Exceptions come back as values: gevent prints those of threads."""

    def outcome() -> tuple[object, BaseException | None]:
        try:
            return call(*arguments, **named), None
        except BaseException as error:  # noqa: BLE001 - it is raised below.
            return None, error

    result, error = pool.apply(outcome)
    if error is not None:
        raise error
    return result
