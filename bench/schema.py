"""The engine's tables in another schema, for the programs that are compared with it."""

from pathlib import Path

import psycopg
from psycopg import sql

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def make(connection: psycopg.Connection, name: str) -> None:
    """Creates the tables from the engine's migrations in the schema `name`, which may exist."""
    schema = sql.Identifier(name)
    with connection.transaction():
        connection.execute(sql.SQL("create schema if not exists {}").format(schema))
        connection.execute(sql.SQL("set local search_path to {}").format(schema))
        for migration in sorted(MIGRATIONS.glob("*.sql")):
            connection.execute(migration.read_bytes())
