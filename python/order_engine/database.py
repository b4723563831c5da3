"""Which database is used: the configured one, or else the embedded PostgreSQL.

`OrderEngine`, the WSGI and ASGI applications, and all commands that need a database follow this
rule: if no setting names a database, the embedded PostgreSQL in `./.order-engine` is used. The
first process starts it, later ones share it, and the last one stops it. Its schema is migrated
when it is opened. It requires the extra `embedded`.

`order-engine demo` always uses the embedded PostgreSQL. `OrderEngineExtension` (Flask) and
`order-engine adopt` need a configured database: they belong to an application that has one.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from order_engine import _native, configuration, state
from order_engine.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = f"./{state.DEFAULT_FOLDER}/postgres"
# Stands for the URL that is known only once the embedded PostgreSQL runs.
_ANY_URL = "postgresql://127.0.0.1/postgres"

log: logging.Logger = logging.getLogger("order_engine.embedded")


def is_configured(flags: dict[str, str]) -> bool:
    """Return whether a setting names a database."""
    return configuration.has(flags, "database_url")


def validate(flags: dict[str, str]) -> None:
    """Check all settings that serving needs, without starting the embedded PostgreSQL.

    Raises:
        Misconfigured: A setting is missing or wrong; `problems` lists them all.
    """
    if is_configured(flags):
        _native.validate_settings(flags)
    else:
        _native.validate_settings({**flags, "database_url": _ANY_URL})


def with_database(flags: dict[str, str]) -> dict[str, str]:
    """Return the settings with a database URL.

    If the embedded PostgreSQL is used, it runs until this process and its forks have ended.

    Raises:
        Misconfigured: No database is configured and the embedded PostgreSQL cannot be used.
        Unavailable: The embedded PostgreSQL does not start.
    """
    if is_configured(flags):
        return flags
    folder = state.DEFAULT_FOLDER.absolute()
    with _servers.lock:
        server = _servers.by_folder.get(folder)
        if server is None:
            log.info("no database URL is set, using the embedded PostgreSQL in %s", folder)
            server = EmbeddedPostgres(folder)
        settings = _migrated(flags, server)
        _servers.by_folder[folder] = server
    return settings


@contextmanager
def embedded(flags: dict[str, str]) -> Iterator[dict[str, str]]:
    """Yield the settings with the URL of the embedded PostgreSQL, which is left at the end.

    Raises:
        Misconfigured: The embedded PostgreSQL cannot be used.
        Unavailable: It does not start.
    """
    server = EmbeddedPostgres()
    with server:
        yield _migrated(flags, server)


def _migrated(flags: dict[str, str], server: EmbeddedPostgres) -> dict[str, str]:
    settings = {**flags, "database_url": server.start()}
    _native.migrate(settings)
    return settings


class _Servers:
    """The embedded servers that this process uses until it ends."""

    def __init__(self) -> None:
        self.by_folder: dict[Path, EmbeddedPostgres] = {}
        self.lock = threading.Lock()
        os.register_at_fork(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        """Replace the lock, which another thread of the parent may have held during the fork."""
        self.lock = threading.Lock()


_servers = _Servers()
