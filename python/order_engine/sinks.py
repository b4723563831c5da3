"""Sinks: objects of the user's that are told of every event, batch by batch, with retries."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar, cast

from order_engine.exceptions import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from order_engine import _native

    Outcome: TypeAlias = Sequence[BaseException | str | None] | None

_logger = logging.getLogger(__name__)

JOIN_TIMEOUT_S = 5.0
"""How long `close` waits for a sink that is in the middle of a batch."""


class Sink(Protocol):
    """What an object must have to be a sink of `OrderEngine`."""

    def publish(self, batch: list[_native.SinkMessage]) -> Outcome:
        """Take messages: at most one of each order, in the order of each order's versions.

        Args:
            batch: One or more. A message may come again, with the same `message_id`.

        Returns:
            None when all of them are taken. Else for each message None, or why it is refused, as
            text or exception: it comes again after a pause, and is parked when it was refused
            `attempts_max` times.

        Raises:
            Exception: Nothing is known about the batch; all of it comes again after a pause.
        """


class AsyncSink(Protocol):
    """What an object must have to be a sink of `AsyncOrderEngine`, unless it is a `Sink`."""

    def publish(self, batch: list[_native.SinkMessage]) -> Awaitable[Outcome]:
        """As `Sink.publish`."""
        ...


AnySink = TypeVar("AnySink", bound="Sink | AsyncSink")


def checked(sinks: Mapping[str, AnySink] | None) -> dict[str, AnySink]:
    """Give the sinks by name.

    Raises:
        InvalidInput: One of them cannot publish.
    """
    for name, sink in (sinks or {}).items():
        if not callable(getattr(sink, "publish", None)):
            text = f"The sink {name} has no method publish(batch)."
            raise InvalidInput(text, {})
    return dict(sinks or {})


def named(flags: dict[str, str], set_already: str | None, sinks: Mapping[str, object]) -> None:
    """Add the names of sinks to the settings, beside those that are set already."""
    if sinks:
        flags["sinks"] = ",".join([*sinks, *([set_already] if set_already else [])])


class SinkThread:
    """Gives a sink its batches, one after the other, until the engine is closed."""

    def __init__(self, name: str, sink: Sink, feed: _native.SinkFeed) -> None:
        self._name = name
        self._sink = sink
        self._feed = feed
        self._thread = threading.Thread(target=self._run, name=f"order-engine-{name}", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait until the sink is told no more, for a while; its own thread does not wait."""
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_TIMEOUT_S)

    def _run(self) -> None:
        while (batch := self._feed.next()) is not None:
            self._publish(batch)

    def _publish(self, batch: list[_native.SinkMessage]) -> None:
        try:
            refusals = _refusals(self._sink.publish(batch), len(batch))
        except Exception as error:  # noqa: BLE001 - whatever it is, the batch comes again.
            _tell(self._name, error)
            self._feed.give_up(_text(error))
        else:
            self._feed.settle(refusals)


async def feed(name: str, sink: Sink | AsyncSink, source: _native.AsyncSinkFeed) -> None:
    """Give a sink its batches on the loop that runs; a plain function is called in a thread."""
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
        refusals = _refusals(outcome, len(batch))
    except Exception as error:  # noqa: BLE001 - whatever it is, the batch comes again.
        _tell(name, error)
        source.give_up(_text(error))
    else:
        source.settle(refusals)


def _refusals(outcome: Outcome, count: int) -> list[str | None]:
    if outcome is None:
        return [None] * count
    if isinstance(outcome, str) or len(outcome) != count:
        text = f"publish must return None, or a list of {count} outcomes, one for each message"
        raise TypeError(text)
    return [each if each is None or isinstance(each, str) else _text(each) for each in outcome]


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _tell(name: str, error: Exception) -> None:
    _logger.warning("The sink %s has failed; the batch comes again.", name, exc_info=error)
