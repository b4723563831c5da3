"""The engine's tables in another schema than its own, for those who are compared with it."""

from pathlib import Path

import psycopg
from psycopg import sql

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def make(connection: psycopg.Connection, name: str) -> None:
    """Makes all tables from the engine's migrations in the schema `name`, which may be there."""
    schema = sql.Identifier(name)
    with connection.transaction():
        connection.execute(sql.SQL("create schema if not exists {}").format(schema))
        connection.execute(sql.SQL("set local search_path to {}").format(schema))
        for migration in sorted(MIGRATIONS.glob("*.sql")):
            connection.execute(migration.read_bytes())
