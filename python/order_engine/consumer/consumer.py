"""`Consumer`: functions that are called with the events of a queue."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from order_engine import _native, arguments
from order_engine.consumer.channels import Awaiting, Waiting, at_once
from order_engine.consumer.inbox import Memory
from order_engine.consumer.inbox_table import InboxTable
from order_engine.consumer.signals import stopped_by_signals
from order_engine.consumer.subscribing import queue_name, settings, subscribed_keys
from order_engine.consumer.work import Handler, Retries, Worker
from order_engine.exceptions import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from order_engine.consumer.channels import Channel

F = TypeVar("F", bound="Callable[..., Any]")

ATTEMPTS_MAX = 1000
PAUSE_SECONDS_MAX = 3600.0


class Consumer:
    """Calls a function for each event of a queue, one after the other, in their order.

    An event is acknowledged when its function has returned. When it raises, it is called again,
    with the event read anew, after a pause of up to `backoff_seconds`, which doubles each time up
    to `backoff_seconds_max`; after `attempts` calls the event is *parked*: set aside in the durable
    queue `<queue>.parked`, with the reason, and the next one has its turn. So is, at once, a body
    that is not JSON, and an event with a routing key that has no function. `parked` lists what
    waits there, `retry_parked` puts it back.

    A broker that is away is waited for, and so is the database of `connection`; the log says it
    once (`order_engine.consumer`). What was not acknowledged comes again. An event that was taken
    in is known again by its message id; one without an id, if the broker says that it was delivered
    before and its body has been taken in. It is then acknowledged and nothing else. Without
    `connection` this is remembered by this process, of the last 10 000 events.

    Example:
        >>> consumer = Consumer(queue="product_service_queue", connection=database)
        >>> @consumer.on("order.placed")
        ... def placed(event, connection):
        ...     for item in event["items"]:
        ...         connection.execute(SUBTRACT, (item["quantity"], item["product_id"]))
        >>> consumer.run()

    Args:
        queue: The queue. One that is there is used as it is; an absent one is declared as the
            existing services declare theirs: not durable, not exclusive, without arguments.
        rabbitmq_url: `amqp://user:password@host:port/vhost`. By default from `RABBITMQ_URL` or
            `RABBITMQ_URI` in the environment or `.env`.
        exchange: The exchange; by default `event_exchange`, direct and not durable. One that is
            there is used as it is.
        prefetch: Messages that the broker hands over ahead, 1 to 2000; 100 by default. They are
            still handled one by one.
        attempts: Calls before an event is parked, 1 to 1000.
        backoff_seconds: The longest pause after the first failed call, 0 to 3600 seconds.
        backoff_seconds_max: The longest pause at all, 0 to 3600 seconds.
        connection: A PostgreSQL of yours, for one transaction of what the function writes and the
            note that the event was taken in: an open connection, a SQLAlchemy Engine, or what gives
            a connection or Session when called, and again when that was lost. Of psycopg, psycopg2
            or SQLAlchemy for `run`; psycopg's AsyncConnection or asyncpg's Connection for
            `run_async`. The function must not commit. The table `order_engine_inbox` is created if
            it is missing; `INBOX_TABLE` has the statements for a migration. Notes older than a week
            are forgotten.
        inbox: Under which name the notes are kept; the queue's by default. Two queues that carry
            the same events for the same purpose, one of them new, take the same name.

    Raises:
        InvalidInput: An argument of the wrong type or out of range.
    """

    def __init__(  # noqa: PLR0913 - each is a choice with a default.
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
        self._retries = Retries(
            _attempts(attempts),
            _seconds(backoff_seconds, "backoff_seconds"),
            _seconds(backoff_seconds_max, "backoff_seconds_max"),
        )
        self._connection = connection
        self._inbox = arguments.optional_text(inbox, "inbox") or self._queue
        self._handlers: dict[str, Handler] = {}
        self._memory = Memory()
        self._stop = _native.Stop()

    def on(self, *routing_keys: str) -> Callable[[F], F]:
        """Have a function called with the events of these routing keys.

        It takes the event, or the event and the connection. `run` calls it; `run_async` awaits
        what it returns, if that can be awaited.

        Args:
            routing_keys: What the queue is bound to; at least one, each for one function.

        Raises:
            InvalidInput: No routing key, or one that has a function; the function takes something
                else, or a connection where none is given.
        """
        keys = subscribed_keys(routing_keys)

        def register(function: F) -> F:
            handler = Handler(function, self._wants_connection(function))
            for key in keys:
                if key in self._handlers:
                    raise InvalidInput(f"{key} has a function already")
                self._handlers[key] = handler
            return function

        return register

    def run(self) -> None:
        """Call the functions, until SIGINT, SIGTERM or `stop`; finish the event under way.

        A second signal ends the process as it would any other. In a thread that is not the main
        one signals are none of its business.

        Raises:
            InvalidInput: No function; one that must be awaited; a `connection` that must be.
            Misconfigured: No URL is set, or something about the settings is wrong.
        """
        for handler in self._handlers.values():
            if inspect.iscoroutinefunction(handler.function):
                name = handler.function.__name__
                raise InvalidInput(f"{name} must be awaited; use `await consumer.run_async()`")
        native = _native.Consumer(*self._subscription())
        worker = self._worker(Waiting(native), is_async=False)
        with stopped_by_signals(self.stop):
            at_once(worker.run())

    async def run_async(self) -> None:
        """Call the functions and await them, until `stop`; finish the event under way.

        Cancelling it ends it at once; the event under way comes again. Signals are the program's:
        `loop.add_signal_handler(signal.SIGTERM, consumer.stop)`.

        Raises:
            InvalidInput: No function; a `connection` that cannot be awaited.
            Misconfigured: No URL is set, or something about the settings is wrong.
        """
        native = _native.AsyncConsumer(*self._subscription())
        await self._worker(Awaiting(native), is_async=True).run()

    def stop(self) -> None:
        """End `run` after the event under way; from any thread, or a signal's handler.

        A consumer that was stopped stays so.
        """
        self._stop.set()

    def parked(self, limit: int = 100) -> list[_native.ParkedEvent]:
        """List events that were set aside, the longest waiting first. They stay there.

        Args:
            limit: At most this many, 1 to 1000.

        Raises:
            InvalidInput: A limit out of range.
            Unavailable: The broker cannot be reached.
        """
        return _native.consumer_parked(
            self._settings, self._queue, arguments.integer(limit, "limit")
        )

    def retry_parked(self, ids: Iterable[str] | None = None) -> int:
        """Put events that were set aside back into the queue, behind those that wait there.

        Args:
            ids: Theirs, as `parked` gives them; all of them by default.

        Returns:
            How many.

        Raises:
            NotFound: The queue is not there; nobody consumes it.
            Unavailable: The broker cannot be reached, or was lost: one event may be in both places.
        """
        return _native.consumer_retry(
            self._settings, self._queue, None if ids is None else _ids(ids)
        )

    def skip_parked(self, ids: Iterable[str]) -> int:
        """Give events that were set aside up for good.

        Args:
            ids: Theirs, as `parked` gives them.

        Returns:
            How many.

        Raises:
            Unavailable: The broker cannot be reached.
        """
        return _native.consumer_skip(self._settings, self._queue, _ids(ids))

    def _subscription(self) -> tuple[dict[str, str], str, list[str], _native.Stop]:
        if not self._handlers:
            raise InvalidInput("no function is registered; decorate one with `@consumer.on(…)`")
        return self._settings, self._queue, list(self._handlers), self._stop

    def _worker(self, channel: Channel, *, is_async: bool) -> Worker:
        table = None
        if self._connection is not None:
            table = InboxTable(self._connection, self._inbox, is_async=is_async)
        return Worker(
            channel,
            handlers=self._handlers,
            retries=self._retries,
            memory=self._memory,
            table=table,
            is_stopped=self._stop.is_set,
        )

    def _wants_connection(self, function: Callable[..., Any]) -> bool:
        if not callable(function):
            raise InvalidInput(f"a function is needed, not {arguments.described(function)}")
        needed = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
        ]
        name = getattr(function, "__name__", repr(function))
        if len(needed) > 2:  # noqa: PLR2004 - the event and the connection.
            raise InvalidInput(f"{name} takes more than an event and a connection")
        if len(needed) < 2:  # noqa: PLR2004 - as above.
            return False
        if self._connection is None:
            raise InvalidInput(f"{name} takes a connection; give `Consumer(connection=…)` one")
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
