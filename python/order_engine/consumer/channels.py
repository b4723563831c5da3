"""A common interface to the blocking and the asyncio consumer of the native module.

Message handling is written once, as coroutines. With a blocking channel no coroutine ever suspends,
so that `run_blocking` can run it without an event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from order_engine import _native

T = TypeVar("T")


class Channel(Protocol):
    """A queue, consumed one delivery at a time."""

    async def next(self) -> _native.Delivery | None:
        """Wait for the next delivery; repeats an unsettled one, None once stopped."""
        raise NotImplementedError

    async def acknowledge(self, delivery: _native.Delivery) -> None:
        """Acknowledge a delivery."""
        raise NotImplementedError

    async def dead_letter(self, delivery: _native.Delivery, reason: str, attempts: int) -> None:
        """Publish a delivery to the dead-letter queue, then acknowledge it."""
        raise NotImplementedError

    async def pause(self, seconds: float) -> None:
        """Wait; returns early when the consumer is stopped."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connection."""
        raise NotImplementedError


def blocking(native: _native.Consumer) -> Channel:
    """Return a channel whose calls block the thread."""
    return _BlockingChannel(native)


def awaiting(native: _native.AsyncConsumer) -> Channel:
    """Return a channel whose calls suspend the coroutine."""
    return _AsyncChannel(native)


def run_blocking(work: Coroutine[object, object, T]) -> T:
    """Run a coroutine that never suspends, and return its result."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("A blocking consumer cannot await; use its asyncio counterpart.")


class _BlockingChannel:
    def __init__(self, native: _native.Consumer) -> None:
        self._native = native

    async def next(self) -> _native.Delivery | None:
        return self._native.next()

    async def acknowledge(self, delivery: _native.Delivery) -> None:
        self._native.acknowledge(delivery)

    async def dead_letter(self, delivery: _native.Delivery, reason: str, attempts: int) -> None:
        self._native.dead_letter(delivery, reason, attempts)

    async def pause(self, seconds: float) -> None:
        self._native.pause(seconds)

    async def close(self) -> None:
        self._native.close()


class _AsyncChannel:
    def __init__(self, native: _native.AsyncConsumer) -> None:
        self._native = native

    async def next(self) -> _native.Delivery | None:
        return await self._native.next()

    async def acknowledge(self, delivery: _native.Delivery) -> None:
        await self._native.acknowledge(delivery)

    async def dead_letter(self, delivery: _native.Delivery, reason: str, attempts: int) -> None:
        await self._native.dead_letter(delivery, reason, attempts)

    async def pause(self, seconds: float) -> None:
        await self._native.pause(seconds)

    async def close(self) -> None:
        await self._native.close()
