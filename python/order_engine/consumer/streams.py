"""`consume` and `consume_async`: iterate over the events of a queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from order_engine import _native
from order_engine.consumer.channels import awaiting, blocking, run_blocking
from order_engine.consumer.inbox import MemoryInbox, message_key
from order_engine.consumer.subscribing import queue_name, settings, subscribed_keys
from order_engine.consumer.work import accept

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
    """Iterate over the events of a queue until `stop` is called.

    An event is acknowledged when the loop requests the next one. After a `break` or an exception it
    is not acknowledged, and the broker delivers it to the next consumer of the queue. A message
    whose body is not JSON or whose routing key is not in `routing_keys` becomes a dead letter; see
    `Consumer.dead_letters`. An event that this process has already processed is skipped.

    Args:
        routing_keys: The routing keys to bind the queue to; at least one.
        queue: The queue. An existing one is used as it is; a missing one is declared as the
            existing services declare theirs: not durable, not exclusive, without arguments.
        rabbitmq_url: `amqp://user:password@host:port/vhost`. By default from `RABBITMQ_URL` or
            `RABBITMQ_URI` in the environment or `.env`.
        exchange: The exchange; by default `event_exchange`, direct and not durable.
        prefetch: Unacknowledged messages the broker may deliver, 1 to 2000. Default: 100.

    Raises:
        InvalidInput: No routing key, or one that is not text.
        Misconfigured: No URL is set, or a setting is invalid.
    """
    return EventStream(routing_keys, queue, settings(rabbitmq_url, exchange, prefetch))


def consume_async(
    *routing_keys: str,
    queue: str,
    rabbitmq_url: str | None = None,
    exchange: str | None = None,
    prefetch: int | None = None,
) -> AsyncEventStream:
    """Return the events of a queue for `async for`; otherwise like `consume`.

    All of it must run in one event loop.
    """
    return AsyncEventStream(routing_keys, queue, settings(rabbitmq_url, exchange, prefetch))


class _EventReader:
    """What both kinds of stream have in common."""

    def __init__(self, channel: Channel, routing_keys: tuple[str, ...]) -> None:
        self._channel = channel
        self._routing_keys = dict.fromkeys(routing_keys)
        self._inbox = MemoryInbox()
        self._current: _native.Delivery | None = None

    async def next(self) -> Event | None:
        """Acknowledge the last event and wait for the next one; None once stopped."""
        if self._current is not None:
            self._inbox.add(message_key(self._current))
            # If this is cancelled, the next call acknowledges the event again.
            await self._channel.acknowledge(self._current)
            self._current = None
        while (delivery := await self._channel.next()) is not None:
            event = await accept(self._channel, delivery, self._routing_keys, self._inbox)
            if event is not None:
                self._current = delivery
                return event
        await self._channel.close()
        return None


class EventStream(Iterator["Event"]):
    """The events of a queue, returned by `consume`; a context manager that closes itself."""

    def __init__(self, routing_keys: tuple[str, ...], queue: str, settings: dict[str, str]) -> None:
        keys = subscribed_keys(routing_keys)
        self._stop = _native.Stop()
        self._native = _native.Consumer(settings, queue_name(queue), list(keys), self._stop)
        self._reader = _EventReader(blocking(self._native), keys)
        self._is_stopped = False

    def __next__(self) -> Event:
        if self._is_stopped:
            raise StopIteration
        event = run_blocking(self._reader.next())
        if event is None:
            self._is_stopped = True
            raise StopIteration
        return event

    def stop(self) -> None:
        """End the loop when it requests the next event. Safe in any thread and signal handler."""
        self._stop.set()

    def close(self) -> None:
        """Close the connection. An event in progress is not acknowledged and is delivered again."""
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
    """The events of a queue for asyncio, returned by `consume_async`."""

    def __init__(self, routing_keys: tuple[str, ...], queue: str, settings: dict[str, str]) -> None:
        keys = subscribed_keys(routing_keys)
        self._stop = _native.Stop()
        self._native = _native.AsyncConsumer(settings, queue_name(queue), list(keys), self._stop)
        self._reader = _EventReader(awaiting(self._native), keys)
        self._is_stopped = False

    async def __anext__(self) -> Event:
        if self._is_stopped:
            raise StopAsyncIteration
        event = await self._reader.next()
        if event is None:
            self._is_stopped = True
            raise StopAsyncIteration
        return event

    def stop(self) -> None:
        """End the loop when it requests the next event. Safe in any thread and signal handler."""
        self._stop.set()

    async def close(self) -> None:
        """Close the connection. An event in progress is not acknowledged and is delivered again."""
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
