"""`consume` and `consume_async`: the events of a queue as a loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from order_engine import _native
from order_engine.consumer.channels import Awaiting, Waiting, at_once
from order_engine.consumer.inbox import Memory, identity
from order_engine.consumer.subscribing import queue_name, settings, subscribed_keys
from order_engine.consumer.work import sift

if TYPE_CHECKING:
    from types import TracebackType

    from order_engine.consumer.channels import Channel
    from order_engine.consumer.event import Event


def consume(
    *routing_keys: str,
    queue: str,
    rabbitmq_url: str | None = None,
    exchange: str | None = None,
    prefetch: int | None = None,
) -> EventStream:
    """Go through the events of a queue, until `stop` is called.

    An event is acknowledged when the loop asks for the next one. After a `break` or an exception it
    is not, and comes again, to whoever consumes the queue next. A body that is not JSON, and an
    event with another routing key, are set aside: see `Consumer.parked`. An event that comes again
    although its turn of the loop was finished in this process is left out.

    Args:
        routing_keys: What to bind the queue to; at least one.
        queue: The queue. One that is there is used as it is; an absent one is declared as the
            existing services declare theirs: not durable, not exclusive, without arguments.
        rabbitmq_url: `amqp://user:password@host:port/vhost`. By default from `RABBITMQ_URL` or
            `RABBITMQ_URI` in the environment or `.env`.
        exchange: The exchange; by default `event_exchange`, direct and not durable.
        prefetch: Messages that the broker hands over ahead, 1 to 2000; 100 by default.

    Raises:
        InvalidInput: No routing key, or one that is no text.
        Misconfigured: No URL is set, or something about the settings is wrong.
    """
    return EventStream(routing_keys, queue, settings(rabbitmq_url, exchange, prefetch))


def consume_async(
    *routing_keys: str,
    queue: str,
    rabbitmq_url: str | None = None,
    exchange: str | None = None,
    prefetch: int | None = None,
) -> AsyncEventStream:
    """See `consume`; for `async for`. The loop that goes through it must be the same throughout."""
    return AsyncEventStream(routing_keys, queue, settings(rabbitmq_url, exchange, prefetch))


class _Feed:
    """What both loops do."""

    def __init__(self, channel: Channel, routing_keys: tuple[str, ...]) -> None:
        self._channel = channel
        self._routing_keys = dict.fromkeys(routing_keys)
        self._memory = Memory()
        self._current: _native.Delivery | None = None

    async def next(self) -> Event | None:
        """Settle the last event and wait for the next one; None after a stop."""
        if self._current is not None:
            self._memory.note(identity(self._current))
            # Where this is given up, the next call asks for it again before it goes on.
            await self._channel.acknowledge(self._current)
            self._current = None
        while (delivery := await self._channel.next()) is not None:
            event = await sift(self._channel, delivery, self._routing_keys, self._memory)
            if event is not None:
                self._current = delivery
                return event
        await self._channel.close()
        return None


class EventStream(Iterator["Event"]):
    """The events of a queue; `consume` makes it. As a context manager it closes itself."""

    def __init__(self, routing_keys: tuple[str, ...], queue: str, settings: dict[str, str]) -> None:
        keys = subscribed_keys(routing_keys)
        self._stop = _native.Stop()
        self._native = _native.Consumer(settings, queue_name(queue), list(keys), self._stop)
        self._feed = _Feed(Waiting(self._native), keys)
        self._is_over = False

    def __next__(self) -> Event:
        if self._is_over:
            raise StopIteration
        event = at_once(self._feed.next())
        if event is None:
            self._is_over = True
            raise StopIteration
        return event

    def stop(self) -> None:
        """End the loop when it asks for the next event; from any thread, or a signal's handler."""
        self._stop.set()

    def close(self) -> None:
        """End the connection. An event that the loop has not finished comes again."""
        self._native.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncEventStream(AsyncIterator["Event"]):
    """The events of a queue, to be awaited; `consume_async` makes it."""

    def __init__(self, routing_keys: tuple[str, ...], queue: str, settings: dict[str, str]) -> None:
        keys = subscribed_keys(routing_keys)
        self._stop = _native.Stop()
        self._native = _native.AsyncConsumer(settings, queue_name(queue), list(keys), self._stop)
        self._feed = _Feed(Awaiting(self._native), keys)
        self._is_over = False

    async def __anext__(self) -> Event:
        if self._is_over:
            raise StopAsyncIteration
        event = await self._feed.next()
        if event is None:
            self._is_over = True
            raise StopAsyncIteration
        return event

    def stop(self) -> None:
        """See `EventStream.stop`."""
        self._stop.set()

    async def close(self) -> None:
        """See `EventStream.close`."""
        await self._native.close()

    async def __aenter__(self) -> AsyncEventStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
