"""What is done with each delivery: read it, know it, handle it, try again, set it aside."""

from __future__ import annotations

import inspect
import logging
import random
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

from order_engine.consumer.event import Event, UnreadableError, read
from order_engine.consumer.inbox import Memory, identity
from order_engine.consumer.inbox_table import DatabaseError
from order_engine.consumer.masking import masked, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from order_engine import _native
    from order_engine.consumer.channels import Channel
    from order_engine.consumer.inbox_table import InboxTable

LOGGER = logging.getLogger("order_engine.consumer")
DATABASE_PAUSE_SECONDS = 0.1
DATABASE_PAUSE_SECONDS_MAX = 5.0


class Handler(NamedTuple):
    """A function of the user's.

    Args:
        function: What to call.
        takes_connection: Whether it wants the connection behind the event.
    """

    function: Callable[..., Any]
    takes_connection: bool


class Retries(NamedTuple):
    """How often a failed event is tried, and how long is waited in between.

    Args:
        attempts: Tries before it is set aside, the first one included.
        pause_seconds: The longest pause before the second try; it doubles with each further one.
        pause_seconds_max: What it doubles up to.
    """

    attempts: int
    pause_seconds: float
    pause_seconds_max: float

    def pause(self, failed: int) -> float:
        """Choose the pause after so many failed tries, anything up to the longest.

        Those who failed together must not return together.
        """
        return _up_to(self.pause_seconds, self.pause_seconds_max, failed)


async def sift(
    channel: Channel, delivery: _native.Delivery, routing_keys: Mapping[str, object], memory: Memory
) -> Event | None:
    """Read a delivery; None where it has been settled here: set aside, or taken in before."""
    if memory.knows(identity(delivery)):
        await channel.acknowledge(delivery)
        return None
    try:
        event = read(delivery)
    except UnreadableError as error:
        reason = str(error)
    else:
        if event.routing_key in routing_keys:
            return event
        # Left bound by another script, or by another version of this one: somebody may miss it.
        reason = f"This consumer has nothing for {event.routing_key}"
    LOGGER.error("%s is set aside: %s", _named(delivery), reason)
    await channel.park(delivery, reason, 0)
    return None


class Worker:
    """Takes the deliveries of one channel, one after the other.

    Args:
        channel: Where they come from.
        handlers: What to do, by routing key.
        retries: What to do when that fails.
        memory: What has been taken in, where there is no table.
        table: What has been taken in, and the connection for handlers.
        is_stopped: Whether no further one is to be taken.
    """

    def __init__(  # noqa: PLR0913 - each is a part of its own.
        self,
        channel: Channel,
        *,
        handlers: Mapping[str, Handler],
        retries: Retries,
        memory: Memory,
        table: InboxTable | None,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._channel = channel
        self._handlers = handlers
        self._retries = retries
        self._memory = memory
        self._table = table
        self._is_stopped = is_stopped

    async def run(self) -> None:
        """Take deliveries until the consumer is stopped; what is under way is finished."""
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
            event := await sift(self._channel, delivery, self._handlers, self._memory)
        ) is not None:
            try:
                error = await self._handle(delivery, event)
            except DatabaseError as away:
                database_failed += 1
                pause = self._note_outage(away, database_failed)
            else:
                if database_failed:
                    LOGGER.info("the database can be used again")
                    database_failed = 0
                if error is None:
                    await self._channel.acknowledge(delivery)
                    return
                failed += 1
                if failed >= self._retries.attempts:
                    await self._park(delivery, error, failed)
                    return
                pause = self._retries.pause(failed)
                LOGGER.warning(
                    "%s failed, try %d of %d: %s",
                    _named(delivery),
                    failed,
                    self._retries.attempts,
                    reason_of(error),
                )
            await self._channel.pause(pause)
            if self._is_stopped():
                # Unacknowledged, it comes again.
                return

    async def _handle(self, delivery: _native.Delivery, event: Event) -> Exception | None:
        """Call the function of an event that is not known; give what it raised."""
        handler = self._handlers[event.routing_key]
        message = identity(delivery)
        if self._table is None:
            try:
                await _call(handler.function, event)
            except Exception as error:  # noqa: BLE001 - a handler may raise what it likes.
                return error
            self._memory.note(message)
            return None
        session = await self._table.begin(message)
        if session is None:
            return None
        try:
            if handler.takes_connection:
                await _call(handler.function, event, session.handle)
            else:
                await _call(handler.function, event)
            await self._table.keep(session)
        except Exception as error:  # noqa: BLE001 - as above.
            await self._table.undo(session, error)
            return error
        except BaseException:
            await self._table.undo(session)
            raise
        return None

    async def _park(self, delivery: _native.Delivery, error: Exception, attempts: int) -> None:
        LOGGER.error(
            "%s is set aside after %d tries:\n%s",
            _named(delivery),
            attempts,
            masked("".join(traceback.format_exception(error))).rstrip(),
        )
        await self._channel.park(delivery, reason_of(error), attempts)

    def _note_outage(self, error: DatabaseError, failed: int) -> float:
        if failed == 1:
            LOGGER.warning("the database cannot be used; it is tried until it can: %s", error)
        return _up_to(DATABASE_PAUSE_SECONDS, DATABASE_PAUSE_SECONDS_MAX, failed)


async def _call(function: Callable[..., Any], *arguments: object) -> None:
    result = function(*arguments)
    if inspect.isawaitable(result):
        await result


def _up_to(first: float, most: float, failed: int) -> float:
    longest = min(most, first * 2 ** min(failed - 1, 62))
    return random.SystemRandom().uniform(0, longest)


def _named(delivery: _native.Delivery) -> str:
    if delivery.message_id is None:
        return delivery.routing_key
    return f"{delivery.routing_key} {delivery.message_id}"
