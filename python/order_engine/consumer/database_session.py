"""One interface to the connections of psycopg, psycopg2, asyncpg and SQLAlchemy.

The libraries are recognised by name, so that none of them needs to be installed.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Protocol, TypeAlias

from order_engine.exceptions import InvalidInput

Connection: TypeAlias = Any
"""A connection or session of one of the libraries."""


class Session(Protocol):
    """A connection, used for one transaction."""

    handle: Connection
    """The object that is passed to the handler."""
    reconnects: bool
    """Whether the object can be used again after its connection was lost."""

    async def begin(self) -> None:
        """Begin the transaction, unless the library does so implicitly."""
        raise NotImplementedError

    async def value(self, statement: str, **values: object) -> object:
        """Execute a statement with `{name}` placeholders.

        Returns:
            The first column of the first row; None without a row.
        """
        raise NotImplementedError

    async def commit(self) -> None:
        """Commit the transaction."""
        raise NotImplementedError

    async def rollback(self) -> None:
        """Roll the transaction back."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connection, or return it to its pool."""
        raise NotImplementedError

    def is_lost(self, error: BaseException, /) -> bool:
        """Return whether the error means that the connection was lost."""
        raise NotImplementedError


def session_of(connection: Connection, *, is_async: bool) -> Session | None:
    """Return a session on a connection of the required kind; None for any other object."""
    library = _library(connection)
    is_blocking = not inspect.iscoroutinefunction(getattr(type(connection), "commit", None))
    if library == "asyncpg" and is_async and hasattr(connection, "transaction"):
        return _AsyncpgSession(connection)
    if library == "psycopg" and is_async and not is_blocking:
        return _AsyncPsycopgSession(connection)
    if not is_async and is_blocking and hasattr(connection, "commit"):
        if library in {"psycopg", "psycopg2"}:
            return _DbApiSession(connection)
        if library == "sqlalchemy" and hasattr(connection, "execute"):
            return _SqlAlchemySession(connection)
    return None


def is_sqlalchemy_engine(value: object) -> bool:
    """Return whether the object is a SQLAlchemy Engine."""
    return _library(value) == "sqlalchemy" and hasattr(value, "dialect") and hasattr(value, "pool")


def is_pooled(session: Session) -> bool:
    """Return whether `close` returns the connection to a pool of the library."""
    return isinstance(session, _SqlAlchemySession)


class _DbApiSession:
    """psycopg and psycopg2."""

    reconnects = False

    def __init__(self, handle: Connection) -> None:
        self.handle = handle

    async def begin(self) -> None:
        if self.handle.autocommit:
            raise InvalidInput(
                "The connection is in autocommit mode, but the handler and the inbox need one "
                "transaction. Set autocommit to False."
            )

    async def value(self, statement: str, **values: object) -> object:
        names = {name: f"%({name})s" for name in values}
        with self.handle.cursor() as cursor:
            cursor.execute(statement.format(**names), values)
            row = cursor.fetchone() if cursor.description else None
        return row and _first_column(row)

    async def commit(self) -> None:
        self.handle.commit()

    async def rollback(self) -> None:
        self.handle.rollback()

    async def close(self) -> None:
        self.handle.close()

    def is_lost(self, _error: BaseException) -> bool:
        return bool(self.handle.closed)


class _AsyncPsycopgSession(_DbApiSession):
    """psycopg's AsyncConnection."""

    async def value(self, statement: str, **values: object) -> object:
        names = {name: f"%({name})s" for name in values}
        async with self.handle.cursor() as cursor:
            await cursor.execute(statement.format(**names), values)
            row = await cursor.fetchone() if cursor.description else None
        return row and _first_column(row)

    async def commit(self) -> None:
        await self.handle.commit()

    async def rollback(self) -> None:
        await self.handle.rollback()

    async def close(self) -> None:
        await self.handle.close()


class _AsyncpgSession:
    """asyncpg's Connection."""

    reconnects = False

    def __init__(self, handle: Connection) -> None:
        self.handle = handle
        self._transaction: Connection = None

    async def begin(self) -> None:
        self._transaction = self.handle.transaction()
        await self._transaction.start()

    async def value(self, statement: str, **values: object) -> object:
        names = {name: f"${number}" for number, name in enumerate(values, 1)}
        found: object = await self.handle.fetchval(statement.format(**names), *values.values())
        return found

    async def commit(self) -> None:
        await self._transaction.commit()

    async def rollback(self) -> None:
        await self._transaction.rollback()

    async def close(self) -> None:
        await self.handle.close()

    def is_lost(self, _error: BaseException) -> bool:
        return bool(self.handle.is_closed())


class _SqlAlchemySession:
    """SQLAlchemy's Connection and Session."""

    reconnects = True

    def __init__(self, handle: Connection) -> None:
        self.handle = handle
        self._text = importlib.import_module("sqlalchemy").text

    async def begin(self) -> None:
        """Do nothing: SQLAlchemy begins a transaction with the first statement."""

    async def value(self, statement: str, **values: object) -> object:
        names = {name: f":{name}" for name in values}
        result = self.handle.execute(self._text(statement.format(**names)), values)
        found: object = result.scalar() if result.returns_rows else None
        return found

    async def commit(self) -> None:
        self.handle.commit()

    async def rollback(self) -> None:
        self.handle.rollback()

    async def close(self) -> None:
        self.handle.close()

    def is_lost(self, error: BaseException) -> bool:
        cause: BaseException | None = error
        seen: set[int] = set()
        # Exceptions may be each other's cause.
        while cause is not None and id(cause) not in seen:
            if getattr(cause, "connection_invalidated", False):
                return True
            seen.add(id(cause))
            cause = cause.__cause__ or cause.__context__
        return False


def _first_column(row: Connection) -> object:
    """Return the first column of a row, which may be a dict if a row factory is set."""
    found: object = next(iter(row.values())) if isinstance(row, dict) else row[0]
    return found


def _library(value: object) -> str:
    """Return the library that defines the object's class or one of its bases."""
    known = ("psycopg", "psycopg2", "asyncpg", "sqlalchemy")
    for kind in type(value).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in known:
            return library
    return ""
