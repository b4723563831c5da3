"""The inbox table in the consumer's own PostgreSQL, which makes event and effects one transaction.

A `{name}` in a statement stands for the library's own placeholder.
"""

from __future__ import annotations

import inspect
import logging
import time
from typing import TYPE_CHECKING

from order_engine.arguments import described
from order_engine.consumer.database_session import (
    Connection,
    Session,
    is_pooled,
    is_sqlalchemy_engine,
    session_of,
)
from order_engine.error_text import reason_of
from order_engine.exceptions import InvalidInput, Unavailable

if TYPE_CHECKING:
    from order_engine.consumer.inbox import MessageKey

LOGGER = logging.getLogger("order_engine.consumer")

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
"""The statements that `Consumer(connection=…)` runs if the table is missing, for migrations."""

EXISTS = "select to_regclass('order_engine_inbox') is not null"
# Consumers that start at the same time create one table. The number is arbitrary.
LOCK = "select pg_advisory_xact_lock(5217340981277245)"
# Returns a row if the message is to be processed.
INSERT = """
    insert into order_engine_inbox as known (consumer, message_id)
    values ({consumer}, {message_id})
    on conflict (consumer, message_id) do update set received_at = excluded.received_at
    where {accepts_repeats}
    returning true"""
DELETE_OLD = """
    delete from order_engine_inbox
    where (consumer, message_id) in (
        select consumer, message_id from order_engine_inbox
        where received_at < now() - interval '7 days'
        limit 10000
        for update skip locked
    )"""
RETENTION_INTERVAL_S = 3600.0


class DatabaseError(Exception):
    """The consumer's database is not available; nothing of the event was stored."""


class InboxTable:
    """The inbox table, and the connection that handlers use.

    Args:
        source: A connection, a SQLAlchemy Engine, or a function that returns a connection.
        consumer: The name that rows are stored under.
        is_async: Whether the connection's methods are awaited.

    Raises:
        InvalidInput: `source` is none of these, or a connection of the other kind.
    """

    def __init__(self, source: Connection, consumer: str, *, is_async: bool) -> None:
        self._source = source
        self._consumer = consumer
        self._is_async = is_async
        is_engine = is_sqlalchemy_engine(source)
        # A connection that the user has opened is never closed here.
        self._users_session = None if is_engine else session_of(source, is_async=is_async)
        self._session: Session | None = self._users_session
        self._exists = False
        self._delete_old_at = 0.0
        if self._users_session is None and not is_engine and not callable(source):
            raise self._unusable(source)

    async def begin(self, message: MessageKey) -> Session | None:
        """Begin a transaction and record the message; None if it was processed before.

        Raises:
            DatabaseError: The database is not available, or rejects a statement.
        """
        session = await self._connect()
        try:
            if not self._exists:
                await self._create(session)
            if time.monotonic() >= self._delete_old_at:
                await self._delete_old(session)
            await session.begin()
            is_new = await session.value(
                INSERT,
                consumer=self._consumer,
                message_id=message.key,
                accepts_repeats=message.accepts_repeats,
            )
            if is_new:
                return session
            await self.rollback(session)
        except InvalidInput:
            raise
        except Exception as error:
            await self.rollback(session, error)
            raise DatabaseError(reason_of(error)) from error
        return None

    async def commit(self, session: Session) -> None:
        """Commit the transaction."""
        await session.commit()
        await self._release(session)

    async def rollback(self, session: Session, error: BaseException | None = None) -> None:
        """Roll back; `error` is the cause, which may be the loss of the connection.

        Raises:
            DatabaseError: The connection was lost; the next transaction uses another one.
            Unavailable: The connection was lost, and it cannot be reopened.
        """
        is_lost = False
        try:
            await session.rollback()
        except Exception as second:  # noqa: BLE001 - after any error the connection is unusable.
            is_lost = True
            error = error or second
        if error is None or not (is_lost or session.is_lost(error)):
            await self._release(session)
            return
        if session is not self._users_session:
            self._session = None
            await _close(session)
        elif not session.reconnects:
            raise Unavailable(
                "The consumer's PostgreSQL connection was lost. Restart the consumer, or pass "
                "`Consumer(connection=…)` a function that opens a connection.",
                {"component": "postgresql"},
            ) from error
        raise DatabaseError(reason_of(error)) from error

    async def close(self) -> None:
        """Close the connection, unless the user has opened it."""
        if self._session is not None and self._session is not self._users_session:
            await _close(self._session)
        self._session = self._users_session

    async def _connect(self) -> Session:
        if self._session is not None:
            return self._session
        try:
            is_engine = is_sqlalchemy_engine(self._source)
            connection = self._source.connect() if is_engine else self._source()
            if inspect.isawaitable(connection):
                connection = await connection
        except Exception as error:
            raise DatabaseError(reason_of(error)) from error
        if is_sqlalchemy_engine(connection):
            connection = connection.connect()
        session = session_of(connection, is_async=self._is_async)
        if session is None:
            raise self._unusable(connection)
        if not is_pooled(session):
            self._session = session
        return session

    async def _release(self, session: Session) -> None:
        """Return a pooled connection to its pool; any other is kept open."""
        if session is not self._session:
            await _close(session)

    async def _create(self, session: Session) -> None:
        await session.begin()
        if not await session.value(EXISTS):
            await session.value(LOCK)
            await session.value(CREATE_TABLE)
            await session.value(CREATE_INDEX)
        await session.commit()
        self._exists = True

    async def _delete_old(self, session: Session) -> None:
        self._delete_old_at = time.monotonic() + RETENTION_INTERVAL_S
        await session.begin()
        try:
            await session.value(DELETE_OLD)
        except Exception as error:
            if session.is_lost(error):
                raise
            # Not critical: the table only grows.
            LOGGER.warning("cannot delete old rows of order_engine_inbox: %s", reason_of(error))
            await session.rollback()
        else:
            await session.commit()

    def _unusable(self, value: object) -> InvalidInput:
        if self._is_async:
            expected = "psycopg's AsyncConnection or asyncpg's Connection"
        else:
            expected = "a connection of psycopg, psycopg2 or SQLAlchemy, or a SQLAlchemy Session"
        return InvalidInput(
            f"connection must be or return {expected}, not {described(value)}. `run` needs a "
            "blocking connection, `run_async` an asyncio one."
        )


async def _close(session: Session) -> None:
    try:
        await session.close()
    except Exception as error:  # noqa: BLE001 - the connection is not used again in any case.
        LOGGER.debug("cannot close a connection: %s", reason_of(error))
