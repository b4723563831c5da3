"""The inbox in the user's own PostgreSQL: SQL in Python, as it must run in the user's transaction.

Every statement is written once, with `{name}` where each library has a placeholder of its own.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import time
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from order_engine.arguments import described
from order_engine.consumer.masking import reason_of
from order_engine.exceptions import InvalidInput, Unavailable

if TYPE_CHECKING:
    from order_engine.consumer.inbox import Identity

LOGGER = logging.getLogger("order_engine.consumer")

Connection: TypeAlias = Any
"""A connection or session of a library that is known here by its name only."""

CREATE_TABLE = """
    create table if not exists order_engine_inbox (
        consumer text not null,
        message_id text not null,
        received_at timestamptz not null default now(),
        primary key (consumer, message_id)
    )"""
CREATE_INDEX = """
    create index if not exists order_engine_inbox_received_at
    on order_engine_inbox (received_at)"""

INBOX_TABLE = f"{CREATE_TABLE};\n{CREATE_INDEX};\n"
"""What `Consumer(connection=…)` creates where it is missing, for a migration of your own."""

EXISTS = "select to_regclass('order_engine_inbox') is not null"
# Any number, as long as nobody else uses it: consumers that start together create one table.
LOCK = "select pg_advisory_xact_lock(5217340981277245)"
# A row comes back where the message is to be taken in.
NOTE = """
    insert into order_engine_inbox as known (consumer, message_id)
    values ({consumer}, {message_id})
    on conflict (consumer, message_id) do update set received_at = excluded.received_at
    where {is_news}
    returning true"""
FORGET = """
    delete from order_engine_inbox
    where (consumer, message_id) in (
        select consumer, message_id from order_engine_inbox
        where received_at < now() - interval '7 days'
        limit 10000
        for update skip locked
    )"""
FORGETTING_INTERVAL_S = 3600.0


class DatabaseError(Exception):
    """The user's database cannot be used now; nothing of the event was kept."""


class Session(Protocol):
    """A connection during one transaction of it."""

    handle: Connection
    """What the handler is given."""
    reconnects: bool
    """Whether the same object works again after it has lost its connection."""

    async def begin(self) -> None:
        """Begin the transaction, where the library does not by itself."""
        raise NotImplementedError

    async def value(self, statement: str, **values: object) -> object:
        """Execute a statement and give the first value of its first row, None without one."""
        raise NotImplementedError

    async def commit(self) -> None:
        """Keep what was done."""
        raise NotImplementedError

    async def rollback(self) -> None:
        """Undo what was done."""
        raise NotImplementedError

    async def close(self) -> None:
        """Give the connection back."""
        raise NotImplementedError

    def is_lost(self, error: BaseException, /) -> bool:
        """Tell whether an error ended the connection."""
        raise NotImplementedError


class DbApiSession:
    """psycopg and psycopg2."""

    reconnects = False

    def __init__(self, handle: Connection) -> None:
        self.handle = handle

    async def begin(self) -> None:
        """See `Session`."""
        if self.handle.autocommit:
            raise InvalidInput(
                "The connection commits every statement by itself; handler and inbox need one "
                "transaction. Set autocommit to False."
            )

    async def value(self, statement: str, **values: object) -> object:
        """See `Session`."""
        names = {name: f"%({name})s" for name in values}
        with self.handle.cursor() as cursor:
            cursor.execute(statement.format(**names), values)
            row = cursor.fetchone() if cursor.description else None
        return row and _first(row)

    async def commit(self) -> None:
        """See `Session`."""
        self.handle.commit()

    async def rollback(self) -> None:
        """See `Session`."""
        self.handle.rollback()

    async def close(self) -> None:
        """See `Session`."""
        self.handle.close()

    def is_lost(self, _error: BaseException) -> bool:
        """See `Session`."""
        return bool(self.handle.closed)


class AsyncPsycopgSession(DbApiSession):
    """psycopg's AsyncConnection."""

    async def value(self, statement: str, **values: object) -> object:
        """See `Session`."""
        names = {name: f"%({name})s" for name in values}
        async with self.handle.cursor() as cursor:
            await cursor.execute(statement.format(**names), values)
            row = await cursor.fetchone() if cursor.description else None
        return row and _first(row)

    async def commit(self) -> None:
        """See `Session`."""
        await self.handle.commit()

    async def rollback(self) -> None:
        """See `Session`."""
        await self.handle.rollback()

    async def close(self) -> None:
        """See `Session`."""
        await self.handle.close()


class AsyncpgSession:
    """asyncpg's Connection."""

    reconnects = False

    def __init__(self, handle: Connection) -> None:
        self.handle = handle
        self._transaction: Connection = None

    async def begin(self) -> None:
        """See `Session`."""
        self._transaction = self.handle.transaction()
        await self._transaction.start()

    async def value(self, statement: str, **values: object) -> object:
        """See `Session`."""
        names = {name: f"${number}" for number, name in enumerate(values, 1)}
        found: object = await self.handle.fetchval(statement.format(**names), *values.values())
        return found

    async def commit(self) -> None:
        """See `Session`."""
        await self._transaction.commit()

    async def rollback(self) -> None:
        """See `Session`."""
        await self._transaction.rollback()

    async def close(self) -> None:
        """See `Session`."""
        await self.handle.close()

    def is_lost(self, _error: BaseException) -> bool:
        """See `Session`."""
        return bool(self.handle.is_closed())


class SqlAlchemySession:
    """SQLAlchemy's Connection, and its Session."""

    reconnects = True

    def __init__(self, handle: Connection) -> None:
        self.handle = handle
        self._text = importlib.import_module("sqlalchemy").text

    async def begin(self) -> None:
        """See `Session`."""

    async def value(self, statement: str, **values: object) -> object:
        """See `Session`."""
        names = {name: f":{name}" for name in values}
        result = self.handle.execute(self._text(statement.format(**names)), values)
        found: object = result.scalar() if result.returns_rows else None
        return found

    async def commit(self) -> None:
        """See `Session`."""
        self.handle.commit()

    async def rollback(self) -> None:
        """See `Session`."""
        self.handle.rollback()

    async def close(self) -> None:
        """See `Session`."""
        self.handle.close()

    def is_lost(self, error: BaseException) -> bool:
        """See `Session`."""
        cause: BaseException | None = error
        while cause is not None:
            if getattr(cause, "connection_invalidated", False):
                return True
            cause = cause.__cause__ or cause.__context__
        return False


def _first(row: Connection) -> object:
    """Give the only value of a row, also of one that a row factory made a dict."""
    found: object = next(iter(row.values())) if isinstance(row, dict) else row[0]
    return found


def _library(value: object) -> str:
    """Name the library that made something, also where the user has subclassed it."""
    known = ("psycopg", "psycopg2", "asyncpg", "sqlalchemy")
    for kind in type(value).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in known:
            return library
    return ""


def _is_engine(value: object) -> bool:
    return _library(value) == "sqlalchemy" and hasattr(value, "dialect") and hasattr(value, "pool")


def _session(connection: Connection, *, is_async: bool) -> Session | None:
    """Make a session of a connection; None of anything else, or of one for the other kind."""
    library = _library(connection)
    waits = not inspect.iscoroutinefunction(getattr(type(connection), "commit", None))
    if library == "asyncpg" and is_async and hasattr(connection, "transaction"):
        return AsyncpgSession(connection)
    if library == "psycopg" and is_async and not waits:
        return AsyncPsycopgSession(connection)
    if not is_async and waits and hasattr(connection, "commit"):
        if library in {"psycopg", "psycopg2"}:
            return DbApiSession(connection)
        if library == "sqlalchemy" and hasattr(connection, "execute"):
            return SqlAlchemySession(connection)
    return None


class InboxTable:
    """The table, and the connection to it.

    Args:
        source: A connection, a SQLAlchemy Engine, or what gives a connection when called.
        consumer: Who takes in, in the table.
        is_async: Whether handlers are awaited, and so must what is done on the connection.

    Raises:
        InvalidInput: `source` is a connection that cannot be used for this.
    """

    def __init__(self, source: Connection, consumer: str, *, is_async: bool) -> None:
        self._source = source
        self._consumer = consumer
        self._is_async = is_async
        self._given = None if _is_engine(source) else _session(source, is_async=is_async)
        self._kept: Session | None = self._given
        self._is_ready = False
        self._forget_at = 0.0
        if self._given is None and not _is_engine(source) and not callable(source):
            raise self._refused(source)

    async def begin(self, message: Identity) -> Session | None:
        """Begin the transaction of a message; None where it has been taken in.

        Raises:
            DatabaseError: The database is away, or refuses the table.
        """
        session = await self._opened()
        try:
            if not self._is_ready:
                await self._create(session)
            if time.monotonic() >= self._forget_at:
                await self._forget(session)
            await session.begin()
            is_new = await session.value(
                NOTE, consumer=self._consumer, message_id=message.key, is_news=message.is_news
            )
            if is_new:
                return session
            await self.undo(session)
        except InvalidInput:
            raise
        except Exception as error:
            await self.undo(session, error)
            raise DatabaseError(reason_of(error)) from error
        return None

    async def keep(self, session: Session) -> None:
        """Commit."""
        await session.commit()
        await self._done(session)

    async def undo(self, session: Session, error: BaseException | None = None) -> None:
        """Roll back; `error` is why, where the connection itself may be the reason.

        Raises:
            DatabaseError: The connection was lost, and there can be another one.
            Unavailable: It was lost, and nothing says how to open another one.
        """
        is_lost = False
        try:
            await session.rollback()
        except Exception as second:  # noqa: BLE001 - whatever it is, the connection is of no use.
            is_lost = True
            error = error or second
        if error is None or not (is_lost or session.is_lost(error)):
            await self._done(session)
            return
        if session is not self._given:
            self._kept = None
            await _discard(session)
        elif not session.reconnects:
            raise Unavailable(
                "The PostgreSQL connection of the consumer was lost. Start again, or give "
                "`Consumer(connection=…)` a function that opens one.",
                {"component": "postgresql"},
            ) from error
        raise DatabaseError(reason_of(error)) from error

    async def close(self) -> None:
        """Close the connection, unless the user has opened it."""
        if self._kept is not None and self._kept is not self._given:
            await _discard(self._kept)
        self._kept = self._given

    async def _opened(self) -> Session:
        if self._kept is not None:
            return self._kept
        try:
            made = self._source.connect() if _is_engine(self._source) else self._source()
            if inspect.isawaitable(made):
                made = await made
        except Exception as error:
            raise DatabaseError(reason_of(error)) from error
        if _is_engine(made):
            made = made.connect()
        session = _session(made, is_async=self._is_async)
        if session is None:
            raise self._refused(made)
        if not isinstance(session, SqlAlchemySession):
            self._kept = session
        return session

    async def _done(self, session: Session) -> None:
        """SQLAlchemy has a pool that connections go back to; all else is kept."""
        if session is not self._kept:
            await _discard(session)

    async def _create(self, session: Session) -> None:
        await session.begin()
        if not await session.value(EXISTS):
            await session.value(LOCK)
            await session.value(CREATE_TABLE)
            await session.value(CREATE_INDEX)
        await session.commit()
        self._is_ready = True

    async def _forget(self, session: Session) -> None:
        self._forget_at = time.monotonic() + FORGETTING_INTERVAL_S
        await session.begin()
        try:
            await session.value(FORGET)
        except Exception as error:
            if session.is_lost(error):
                raise
            # Nothing depends on it; the table only grows.
            LOGGER.warning("old rows of order_engine_inbox stay: %s", reason_of(error))
            await session.rollback()
        else:
            await session.commit()

    def _refused(self, value: object) -> InvalidInput:
        if self._is_async:
            wanted = "psycopg's AsyncConnection or asyncpg's Connection"
        else:
            wanted = "a connection of psycopg, psycopg2 or SQLAlchemy, or a SQLAlchemy Session"
        return InvalidInput(
            f"connection must be or give {wanted}, not {described(value)}. `run` needs one that "
            "blocks, `run_async` one that is awaited."
        )


async def _discard(session: Session) -> None:
    try:
        await session.close()
    except Exception as error:  # noqa: BLE001 - it is of no use any more, closed or not.
        LOGGER.debug("a connection could not be closed: %s", reason_of(error))
