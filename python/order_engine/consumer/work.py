"""Processing of deliveries: parse, deduplicate, call the handler, retry, dead-letter."""

from __future__ import annotations

import inspect
import logging
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from order_engine import isolation
from order_engine.consumer.event import Event, UnreadableError, parse
from order_engine.consumer.inbox import MemoryInbox, message_key
from order_engine.consumer.inbox_table import DatabaseError
from order_engine.error_text import reason_of, traceback_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from order_engine import _native
    from order_engine.consumer.channels import Channel
    from order_engine.consumer.inbox_table import InboxTable

LOGGER = logging.getLogger("order_engine.consumer")
DATABASE_PAUSE_SECONDS = 0.1
DATABASE_PAUSE_SECONDS_MAX = 5.0


class Handler(NamedTuple):
    """A registered function.

    Args:
        function: The function to call with the event.
        takes_connection: Whether to pass the connection as second argument.
    """

    function: Callable[..., Any]
    takes_connection: bool


class RetryPolicy(NamedTuple):
    """Retry policy of failed events.

    Args:
        attempts: Calls before an event becomes a dead letter, including the first.
        pause_seconds: Longest pause before the second call; doubles with each further call.
        pause_seconds_max: Upper bound of the pause.
    """

    attempts: int
    pause_seconds: float
    pause_seconds_max: float

    def pause(self, failed: int) -> float:
        """Return a random pause up to the longest allowed one.

        The jitter keeps consumers that failed together from retrying together.
        """
        return _random_pause(self.pause_seconds, self.pause_seconds_max, failed)


async def accept(
    channel: Channel,
    delivery: _native.Delivery,
    routing_keys: Mapping[str, object],
    inbox: MemoryInbox,
) -> Event | None:
    """Parse a delivery; None if it was settled here, as a duplicate or as a dead letter."""
    if inbox.is_duplicate(message_key(delivery)):
        await channel.acknowledge(delivery)
        return None
    try:
        event = parse(delivery)
    except UnreadableError as error:
        reason = str(error)
    else:
        if event.routing_key in routing_keys:
            return event
        # The queue is still bound to a key of another script or version, which may need the event.
        reason = f"This consumer has no function for {event.routing_key}"
    LOGGER.error("%s is dead-lettered: %s", _label(delivery), reason)
    await channel.dead_letter(delivery, reason, 0)
    return None


class Worker:
    """Processes the deliveries of one channel in order.

    Args:
        channel: The source of deliveries.
        handlers: Functions by routing key.
        retries: The retry policy.
        inbox: Deduplicates if there is no table.
        table: Deduplicates, and provides the connection for handlers.
        is_stopped: Returns whether to stop before the next attempt.
        is_async: Whether an event loop runs the worker.
    """

    def __init__(  # noqa: PLR0913 - the collaborators of one worker.
        self,
        channel: Channel,
        *,
        handlers: Mapping[str, Handler],
        retries: RetryPolicy,
        inbox: MemoryInbox,
        table: InboxTable | None,
        is_stopped: Callable[[], bool],
        is_async: bool,
    ) -> None:
        self._channel = channel
        self._handlers = handlers
        self._retries = retries
        self._inbox = inbox
        self._table = table
        self._is_stopped = is_stopped
        self._is_async = is_async

    async def run(self) -> None:
        """Process deliveries until the consumer is stopped; finishes the one in progress."""
        try:
            while (delivery := await self._channel.next()) is not None:
                await self._settle(delivery)
        finally:
            await self._channel.close()
            if self._table is not None:
                await self._table.close()

    async def _settle(self, delivery: _native.Delivery) -> None:
        failed = 0
        database_failed = 0
        while (
            event := await accept(self._channel, delivery, self._handlers, self._inbox)
        ) is not None:
            try:
                error = await self._handle(delivery, event)
            except DatabaseError as outage:
                database_failed += 1
                pause = self._pause_for_outage(outage, database_failed)
            else:
                if database_failed:
                    LOGGER.info("the database is available again")
                    database_failed = 0
                if error is None:
                    await self._channel.acknowledge(delivery)
                    return
                failed += 1
                if failed >= self._retries.attempts:
                    await self._dead_letter(delivery, error, failed)
                    return
                pause = self._retries.pause(failed)
                LOGGER.warning(
                    "%s failed, attempt %d of %d: %s",
                    _label(delivery),
                    failed,
                    self._retries.attempts,
                    reason_of(error),
                )
            await self._channel.pause(pause)
            if self._is_stopped():
                # Unacknowledged, so the broker delivers it again.
                return

    async def _handle(self, delivery: _native.Delivery, event: Event) -> BaseException | None:
        """Call the event's function unless it is a duplicate; returns the exception it raised."""
        handler = self._handlers[event.routing_key]
        message = message_key(delivery)
        if self._table is None:
            error = await self._call(handler.function, event)
            if error is None:
                self._inbox.add(message)
            return error
        session = await self._table.begin(message)
        if session is None:
            return None
        try:
            if handler.takes_connection:
                error = await self._call(handler.function, event, session.handle)
            else:
                error = await self._call(handler.function, event)
            if error is None:
                await self._table.commit(session)
                return None
        except Exception as failed:  # noqa: BLE001 - a commit that fails counts as a failed call.
            error = failed
        except BaseException:
            await self._table.rollback(session)
            raise
        await self._table.rollback(session, error)
        return error

    async def _call(self, function: Callable[..., Any], *arguments: object) -> BaseException | None:
        """Call a function, and await an awaitable result; returns the exception it raised.

        An exception that ends the process, such as KeyboardInterrupt, is raised if the consumer is
        being stopped: then it may come from a second signal. Otherwise it is a failure of the
        function, since a message that ends the process would end it after every restart.
        """
        result = isolation.call(function, *arguments)
        if inspect.isawaitable(result):
            waiting = isolation.wait_in_task if self._is_async else isolation.wait_for
            result = await waiting(result)
        if not isinstance(result, isolation.Failure):
            return None
        if not isinstance(result.error, Exception) and self._is_stopped():
            raise result.error
        return result.error

    async def _dead_letter(
        self, delivery: _native.Delivery, error: BaseException, attempts: int
    ) -> None:
        LOGGER.error(
            "%s is dead-lettered after %d attempts:\n%s",
            _label(delivery),
            attempts,
            traceback_of(error),
        )
        await self._channel.dead_letter(delivery, reason_of(error), attempts)

    def _pause_for_outage(self, error: DatabaseError, failed: int) -> float:
        if failed == 1:
            LOGGER.warning("the database is not available, retrying: %s", error)
        return _random_pause(DATABASE_PAUSE_SECONDS, DATABASE_PAUSE_SECONDS_MAX, failed)


def _random_pause(first: float, most: float, failed: int) -> float:
    longest = min(most, first * 2 ** min(failed - 1, 62))
    return random.SystemRandom().uniform(0, longest)


def _label(delivery: _native.Delivery) -> str:
    if delivery.message_id is None:
        return delivery.routing_key
    return f"{delivery.routing_key} {delivery.message_id}"
