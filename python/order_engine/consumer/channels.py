"""One way to talk to the native consumers: what waits and what is awaited look the same.

The work is written once, as coroutines. Where nothing in them ever waits for an event loop they are
run by `at_once`, and are plain calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from order_engine import _native

T = TypeVar("T")


class Channel(Protocol):
    """A queue, one delivery after the other."""

    async def next(self) -> _native.Delivery | None:
        """Wait for the next delivery; the same one again until it is settled, None after a stop."""
        raise NotImplementedError

    async def acknowledge(self, delivery: _native.Delivery) -> None:
        """Settle a delivery for good."""
        raise NotImplementedError

    async def park(self, delivery: _native.Delivery, reason: str, attempts: int) -> None:
        """Set a delivery aside, and settle it."""
        raise NotImplementedError

    async def pause(self, seconds: float) -> None:
        """Wait, or less where the consumer is stopped."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the connection."""
        raise NotImplementedError


class Waiting:
    """A channel whose calls block their thread."""

    def __init__(self, native: _native.Consumer) -> None:
        self._native = native

    async def next(self) -> _native.Delivery | None:
        """See `Channel`."""
        return self._native.next()

    async def acknowledge(self, delivery: _native.Delivery) -> None:
        """See `Channel`."""
        self._native.acknowledge(delivery)

    async def park(self, delivery: _native.Delivery, reason: str, attempts: int) -> None:
        """See `Channel`."""
        self._native.park(delivery, reason, attempts)

    async def pause(self, seconds: float) -> None:
        """See `Channel`."""
        self._native.pause(seconds)

    async def close(self) -> None:
        """See `Channel`."""
        self._native.close()


class Awaiting:
    """A channel whose calls let the event loop go on."""

    def __init__(self, native: _native.AsyncConsumer) -> None:
        self._native = native

    async def next(self) -> _native.Delivery | None:
        """See `Channel`."""
        return await self._native.next()

    async def acknowledge(self, delivery: _native.Delivery) -> None:
        """See `Channel`."""
        await self._native.acknowledge(delivery)

    async def park(self, delivery: _native.Delivery, reason: str, attempts: int) -> None:
        """See `Channel`."""
        await self._native.park(delivery, reason, attempts)

    async def pause(self, seconds: float) -> None:
        """See `Channel`."""
        await self._native.pause(seconds)

    async def close(self) -> None:
        """See `Channel`."""
        await self._native.close()


def at_once(work: Coroutine[object, object, T]) -> T:
    """Run a coroutine that never waits for an event loop, and return its result."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("a blocking consumer was given something to await")
