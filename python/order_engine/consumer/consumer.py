"""`Consumer`: calls functions with the events of a queue."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from order_engine import _native, arguments
from order_engine.consumer.channels import awaiting, blocking, run_blocking
from order_engine.consumer.inbox import MemoryInbox
from order_engine.consumer.inbox_table import InboxTable
from order_engine.consumer.signals import stopped_by_signals
from order_engine.consumer.subscribing import queue_name, settings, subscribed_keys
from order_engine.consumer.work import Handler, RetryPolicy, Worker
from order_engine.exceptions import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from order_engine.consumer.channels import Channel

F = TypeVar("F", bound="Callable[..., Any]")

ATTEMPTS_MAX = 1000
PAUSE_SECONDS_MAX = 3600.0


class Consumer:
    """Calls a function for each event of a queue, in order.

    An event is acknowledged after its function returns. If the function raises, it is called again
    with a fresh copy of the event, after a random pause of up to `backoff_seconds`, which doubles
    with each attempt up to `backoff_seconds_max`. SystemExit and CancelledError are errors like any
    other; call `stop` to end the consumer. After `attempts` calls the event becomes a dead
    letter: it is moved to the durable queue `<queue>.dead-letters` with the reason, and the next
    event is processed. A body that is not JSON and an event without a function become dead letters
    at once. `dead_letters` lists them, `retry` moves them back, `skip` deletes them.

    The consumer waits for an unavailable broker or database; `order_engine.consumer` logs each
    outage once. Unacknowledged events are delivered again. Duplicates are acknowledged without a
    call. An event with a message id is a duplicate if the id was processed before; one without an
    id, if the broker marks it as redelivered and its body was processed before. Without
    `connection`, the last 10,000 events are remembered in memory.

    Example:
        >>> consumer = Consumer(queue="product_service_queue", connection=database)
        >>> @consumer.on("order.placed")
        ... def placed(event, connection):
        ...     for item in event["items"]:
        ...         connection.execute(SUBTRACT, (item["quantity"], item["product_id"]))
        >>> consumer.run()

    Args:
        queue: The queue. An existing one is used as it is; a missing one is declared as the
            existing services declare theirs: not durable, not exclusive, without arguments.
        rabbitmq_url: `amqp://user:password@host:port/vhost`. By default from `RABBITMQ_URL` or
            `RABBITMQ_URI` in the environment or `.env`.
        exchange: The exchange; by default `event_exchange`, direct and not durable. An existing one
            is used as it is.
        prefetch: Unacknowledged messages the broker may deliver, 1 to 2000. Default: 100. Events
            are processed one at a time in any case.
        attempts: Calls before an event becomes a dead letter, 1 to 1000.
        backoff_seconds: Longest pause after the first failed call, 0 to 3600 seconds.
        backoff_seconds_max: Upper bound of the pause, 0 to 3600 seconds.
        connection: Your PostgreSQL database. The function's writes and the record of the event are
            one transaction; the function must not commit. Either an open connection, a SQLAlchemy
            Engine, or a function that returns a connection or Session and is called again after a
            lost connection. For `run`: psycopg, psycopg2 or SQLAlchemy. For `run_async`: psycopg's
            AsyncConnection or asyncpg's Connection. The table `order_engine_inbox` is created if
            missing; `INBOX_TABLE` contains the statements for a migration. Records are deleted
            after a week.
        inbox: Name that processed events are recorded under; the queue's by default. Use one name
            for two queues with the same events and purpose, such as a queue and its replacement.

    Raises:
        InvalidInput: An argument of the wrong type or out of range.
    """

    def __init__(  # noqa: PLR0913 - keyword arguments with defaults.
        self,
        *,
        queue: str,
        rabbitmq_url: str | None = None,
        exchange: str | None = None,
        prefetch: int | None = None,
        attempts: int = 5,
        backoff_seconds: float = 0.5,
        backoff_seconds_max: float = 30.0,
        connection: object = None,
        inbox: str | None = None,
    ) -> None:
        self._queue = queue_name(queue)
        self._settings = settings(rabbitmq_url, exchange, prefetch)
        self._retries = RetryPolicy(
            _attempts(attempts),
            _seconds(backoff_seconds, "backoff_seconds"),
            _seconds(backoff_seconds_max, "backoff_seconds_max"),
        )
        self._connection = connection
        self._inbox = arguments.optional_text(inbox, "inbox") or self._queue
        self._handlers: dict[str, Handler] = {}
        self._memory = MemoryInbox()
        self._stop = _native.Stop()

    def on(self, *routing_keys: str) -> Callable[[F], F]:
        """Register the decorated function for routing keys.

        The function takes the event, or the event and the connection. `run_async` awaits an
        awaitable result.

        Args:
            routing_keys: The routing keys to bind the queue to; at least one.

        Raises:
            InvalidInput: No routing key, or one that is already registered; the function has other
                parameters, or takes a connection although the consumer has none.
        """
        keys = subscribed_keys(routing_keys)

        def register(function: F) -> F:
            handler = Handler(function, self._wants_connection(function))
            for key in keys:
                if key in self._handlers:
                    raise InvalidInput(f"{key} already has a function")
                self._handlers[key] = handler
            return function

        return register

    def run(self) -> None:
        """Process events until SIGINT, SIGTERM, SIGHUP or `stop`; finishes the event in progress.

        A second signal has its usual effect. Signals are handled in the main thread only.

        Raises:
            InvalidInput: No function is registered, or a function or `connection` is for asyncio.
            Misconfigured: No URL is set, or a setting is invalid.
        """
        for handler in self._handlers.values():
            if inspect.iscoroutinefunction(handler.function):
                name = handler.function.__name__
                raise InvalidInput(
                    f"{name} is a coroutine function; use `await consumer.run_async()`"
                )
        native = _native.Consumer(*self._subscription())
        worker = self._worker(blocking(native), is_async=False)
        with stopped_by_signals(self.stop):
            run_blocking(worker.run())

    async def run_async(self) -> None:
        """Process events until `stop`; finishes the event in progress.

        Cancellation ends it immediately; the event in progress is delivered again. Signals are left
        to the program: `loop.add_signal_handler(signal.SIGTERM, consumer.stop)`.

        Raises:
            InvalidInput: No function is registered, or `connection` is not for asyncio.
            Misconfigured: No URL is set, or a setting is invalid.
        """
        native = _native.AsyncConsumer(*self._subscription())
        await self._worker(awaiting(native), is_async=True).run()

    def stop(self) -> None:
        """End `run` after the event in progress. Safe in any thread and signal handler.

        A stopped consumer cannot be run again.
        """
        self._stop.set()

    def dead_letters(self, limit: int = 100) -> list[_native.DeadLetterEvent]:
        """List dead letters, oldest first, without removing them.

        Args:
            limit: Maximum number, 1 to 1000.

        Raises:
            InvalidInput: The limit is out of range.
            NotFound: Neither the queue nor its dead-letter queue exists.
            Unavailable: The broker cannot be reached.
        """
        return _native.consumer_dead_letters(
            self._settings, self._queue, arguments.integer(limit, "limit")
        )

    def retry(self, ids: Iterable[str] | None = None) -> int:
        """Move dead letters back to the end of the queue.

        Args:
            ids: Their ids, as returned by `dead_letters`; all dead letters by default.

        Returns:
            The number of moved events.

        Raises:
            NotFound: The queue does not exist.
            Unavailable: The broker cannot be reached. If the connection was lost in between, one
                event may be in both queues.
        """
        return _native.consumer_retry(
            self._settings, self._queue, None if ids is None else _ids(ids)
        )

    def skip(self, ids: Iterable[str]) -> int:
        """Delete dead letters permanently.

        Args:
            ids: Their ids, as returned by `dead_letters`.

        Returns:
            The number of deleted events.

        Raises:
            NotFound: Neither the queue nor its dead-letter queue exists.
            Unavailable: The broker cannot be reached.
        """
        return _native.consumer_skip(self._settings, self._queue, _ids(ids))

    def _subscription(self) -> tuple[dict[str, str], str, list[str], _native.Stop]:
        if not self._handlers:
            raise InvalidInput("No function is registered. Decorate one with `@consumer.on(…)`.")
        return self._settings, self._queue, list(self._handlers), self._stop

    def _worker(self, channel: Channel, *, is_async: bool) -> Worker:
        table = None
        if self._connection is not None:
            table = InboxTable(self._connection, self._inbox, is_async=is_async)
        return Worker(
            channel,
            handlers=self._handlers,
            retries=self._retries,
            inbox=self._memory,
            table=table,
            is_stopped=self._stop.is_set,
            is_async=is_async,
        )

    def _wants_connection(self, function: Callable[..., Any]) -> bool:
        if not callable(function):
            raise InvalidInput(f"`on` decorates a function, not {arguments.described(function)}")
        needed = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
        ]
        name = getattr(function, "__name__", repr(function))
        if len(needed) > 2:  # noqa: PLR2004 - the event and the connection.
            raise InvalidInput(f"{name} has more parameters than an event and a connection")
        if len(needed) < 2:  # noqa: PLR2004 - as above.
            return False
        if self._connection is None:
            raise InvalidInput(f"{name} takes a connection; pass `Consumer(connection=…)`")
        return True


def _attempts(value: object) -> int:
    attempts = arguments.integer(value, "attempts")
    if not 1 <= attempts <= ATTEMPTS_MAX:
        raise InvalidInput(f"attempts must be 1 to {ATTEMPTS_MAX}, not {attempts}")
    return attempts


def _seconds(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(f"{name} must be a number, not {arguments.described(value)}")
    if not 0 <= value <= PAUSE_SECONDS_MAX:
        raise InvalidInput(f"{name} must be 0 to {PAUSE_SECONDS_MAX:g} seconds, not {value}")
    return float(value)


def _ids(values: Iterable[str]) -> list[str]:
    if isinstance(values, str):
        raise InvalidInput("ids must be a list of ids, not text")
    return [arguments.text(value, "an id") for value in values]
