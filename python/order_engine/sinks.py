"""Sinks: objects of a program that receive every event, in batches, with retries."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, cast

from order_engine import configuration, isolation
from order_engine.error_text import encodable, reason_of, traceback_of
from order_engine.exceptions import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from order_engine import _native

    Outcome: TypeAlias = Sequence[BaseException | str | None] | None

_logger = logging.getLogger(__name__)

JOIN_TIMEOUT_S = 5.0
"""Longest time that `close` waits for a sink that is processing a batch."""


class Sink(Protocol):
    """A sink of `OrderEngine`."""

    def publish(self, batch: list[_native.SinkMessage]) -> Outcome:
        """Process a batch: at most one message of each order, in the order of its versions.

        Args:
            batch: One or more messages. A message may be sent again, with the same `message_id`.

        Returns:
            None if all messages were processed. Otherwise for each message None, or the reason of
            its rejection as text or exception. A rejected message is sent again after a pause, and
            becomes a dead letter after `publish_attempts_max` rejections.

        Raises:
            BaseException: The outcome is unknown; the whole batch is sent again after a pause. This
                includes SystemExit, KeyboardInterrupt and CancelledError.
        """


class AsyncSink(Protocol):
    """A sink of `AsyncOrderEngine`, besides `Sink`."""

    def publish(self, batch: list[_native.SinkMessage]) -> Awaitable[Outcome]:
        """Process a batch, see `Sink.publish`."""
        ...


AnySink = TypeVar("AnySink", bound="Sink | AsyncSink")


def checked(sinks: Mapping[str, AnySink] | None) -> dict[str, AnySink]:
    """Return the sinks by name.

    Raises:
        InvalidInput: A sink has no method `publish`.
    """
    for name, sink in (sinks or {}).items():
        if not callable(getattr(sink, "publish", None)):
            raise InvalidInput(f"The sink {name!r} has no method publish(batch).")
    return dict(sinks or {})


def named(settings: dict[str, str], sinks: Mapping[str, object]) -> dict[str, str]:
    """Add the names of sinks to the settings, beside those that are set already."""
    if not sinks:
        return settings
    already = configuration.value(settings, "sinks")
    return {**settings, "sinks": ",".join([*sinks, *([already] if already else [])])}


class SinkThread:
    """Passes a sink its batches, one after the other, until the engine is closed."""

    def __init__(self, name: str, sink: Sink, feed: _native.SinkFeed) -> None:
        self._name = name
        self._sink = sink
        self._feed = feed
        self._thread = threading.Thread(target=self._run, name=f"order-engine-{name}", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until the thread has ended, `JOIN_TIMEOUT_S` at most."""
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_TIMEOUT_S)

    def _run(self) -> None:
        while (batch := self._feed.next()) is not None:
            _report(self._name, self._feed, isolation.call(_publish, self._sink, batch))


async def feed(name: str, sink: Sink | AsyncSink, source: _native.AsyncSinkFeed) -> None:
    """Pass a sink its batches on the running loop; a plain function is called in a thread."""
    while (batch := await source.next()) is not None:
        if inspect.iscoroutinefunction(sink.publish):
            outcome = await isolation.wait_in_task(_publish_async(cast("AsyncSink", sink), batch))
        else:
            # Returned as a value: a future cannot hold every exception, such as StopIteration.
            plain = cast("Sink", sink)
            outcome = await asyncio.to_thread(isolation.call, _publish, plain, batch)
        _report(name, source, outcome)


def _publish(sink: Sink, batch: list[_native.SinkMessage]) -> list[str | None]:
    return _rejections(sink.publish(batch), len(batch))


async def _publish_async(sink: AsyncSink, batch: list[_native.SinkMessage]) -> list[str | None]:
    return _rejections(await sink.publish(batch), len(batch))


def _report(
    name: str,
    feed: _native.SinkFeed | _native.AsyncSinkFeed,
    outcome: list[str | None] | isolation.Failure,
) -> None:
    if isinstance(outcome, isolation.Failure):
        feed.fail(reason_of(outcome.error))
        _logger.warning(
            "The sink %s failed; the batch is sent again\n%s", name, traceback_of(outcome.error)
        )
    else:
        feed.settle(outcome)


def _rejections(outcome: Outcome, count: int) -> list[str | None]:
    if outcome is None:
        return [None] * count
    if isinstance(outcome, str) or len(outcome) != count:
        raise TypeError(f"publish must return None or a list of {count} outcomes, one per message")
    return [_rejection(each) for each in outcome]


def _rejection(outcome: BaseException | str | None) -> str | None:
    if outcome is None:
        return None
    return encodable(outcome) if isinstance(outcome, str) else reason_of(outcome)
