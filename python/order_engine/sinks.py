"""Sinks: objects of a program that receive every event, in batches, with retries."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, cast

from order_engine import configuration
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
            Exception: The outcome is unknown; the whole batch is sent again after a pause.
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
            self._publish(batch)

    def _publish(self, batch: list[_native.SinkMessage]) -> None:
        try:
            rejections = _rejections(self._sink.publish(batch), len(batch))
        except Exception as error:  # noqa: BLE001 - the batch is sent again.
            _log(self._name, error)
            self._feed.fail(_text(error))
        else:
            self._feed.settle(rejections)


async def feed(name: str, sink: Sink | AsyncSink, source: _native.AsyncSinkFeed) -> None:
    """Pass a sink its batches on the running loop; a plain function is called in a thread."""
    while (batch := await source.next()) is not None:
        await _publish(name, sink, source, batch)


async def _publish(
    name: str,
    sink: Sink | AsyncSink,
    source: _native.AsyncSinkFeed,
    batch: list[_native.SinkMessage],
) -> None:
    try:
        if inspect.iscoroutinefunction(sink.publish):
            outcome = await sink.publish(batch)
        else:
            outcome = cast("Outcome", await asyncio.to_thread(sink.publish, batch))
        rejections = _rejections(outcome, len(batch))
    except Exception as error:  # noqa: BLE001 - the batch is sent again.
        _log(name, error)
        source.fail(_text(error))
    else:
        source.settle(rejections)


def _rejections(outcome: Outcome, count: int) -> list[str | None]:
    if outcome is None:
        return [None] * count
    if isinstance(outcome, str) or len(outcome) != count:
        raise TypeError(f"publish must return None or a list of {count} outcomes, one per message")
    return [each if each is None or isinstance(each, str) else _text(each) for each in outcome]


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _log(name: str, error: Exception) -> None:
    _logger.warning("The sink %s failed; the batch is sent again", name, exc_info=error)
