"""`order-engine doctor` tries what `serve` will do, and is never green where `serve` refuses."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from redis import Redis as RedisClient

from tests.python.support.all_contracts import OPEN
from tests.python.support.servers import Broker
from tests.services import Redis
from tests.services.ports import free_port

SECRET = "a secret of sufficient length for HS256"
PASSWORD = "hunter2-is-no-password"
INHERITED = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR")
Commands = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """The output of a command."""

    code: int
    text: str

    def entry(self, name: str) -> dict[str, str]:
        """One entry of doctor's report."""
        (found,) = (each for each in json.loads(self.text) if each["name"] == name)
        return dict(found)

    def failed(self) -> set[str]:
        """The names of the failed entries of doctor's report."""
        return {each["name"] for each in json.loads(self.text) if not each["ok"]}


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Commands:
    """Runs a command with a reachable database and these settings."""

    def ask(*words: str, **settings: str) -> Outcome:
        usual = {name: os.environ[name] for name in INHERITED if name in os.environ} | {
            "DATABASE_URL": database_url,
            "JWT_SECRET_KEY": SECRET,
            "METRICS_PORT": str(free_port()),
        }
        done = subprocess.run(
            [sys.executable, "-m", "order_engine", *words],
            cwd=tmp_path,
            env=usual | OPEN | settings,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert PASSWORD not in done.stdout + done.stderr
        return Outcome(done.returncode, done.stdout if "--json" in words else done.stderr)

    return ask


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection]:
    """The owner of the database; a role made with `a_role` is dropped with it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def limited(owner: psycopg.Connection, database_url: str) -> Iterator[tuple[str, str]]:
    """A role that may only connect, and the URL to connect as it."""
    name = f"limited_{uuid4().hex}"
    owner.execute(f"create role {name} login password '{PASSWORD}'".encode())
    url = urlsplit(database_url)
    place = url._replace(netloc=f"{name}:{PASSWORD}@{url.hostname}:{url.port}")
    yield name, urlunsplit(place)
    owner.execute(f"drop owned by {name}".encode())
    owner.execute(f"drop role {name}".encode())


def database_name(connection: psycopg.Connection) -> str:
    return f'"{connection.info.dbname}"'


NEWER = """insert into order_engine._sqlx_migrations
    (version, description, success, checksum, execution_time) values (9999, 'x', true, '', 0)"""
SCHEMA_ONLY = "grant usage on schema order_engine to {role}"
READ = SCHEMA_ONLY + "; grant select on all tables in schema order_engine to {role}"


@pytest.mark.parametrize(
    "case",
    [
        ("", "rights", "grant usage on schema order_engine to {role}"),
        (SCHEMA_ONLY, "rights", "grant select, insert, update, delete on all tables"),
        (READ, "rights", "grant select, insert, update, delete on all tables"),
        (NEWER, "tables", "9999"),
        ("alter role {role} connection limit 0", "postgresql", "too many connections for role"),
        ("alter role {role} nologin", "postgresql", "is not permitted to log in"),
        ("alter role {role} password 'x'", "postgresql", "password authentication failed"),
        ("revoke connect on database {database} from public", "postgresql", "permission denied"),
    ],
)
def test_d3_d11_doctor_is_red_where_serve_refuses(
    run: Commands,
    owner: psycopg.Connection,
    limited: tuple[str, str],
    case: tuple[str, str, str],
) -> None:
    (role, url), (statements, entry, words) = limited, case
    for statement in statements.split("; "):
        if statement:
            filled = statement.format(role=role, database=database_name(owner))
            owner.execute(filled.encode())
    # The owner sees the newer tables; the other cases are about the role.
    chosen = {} if statements == NEWER else {"DATABASE_URL": url}
    served = run("serve", "--contract", "flask:0", **chosen)
    reported = run("doctor", "--json", "--contract", "flask:0", **chosen)
    assert (served.code != 0, reported.code) == (True, 1), served.text
    assert entry in reported.failed()
    found = reported.entry(entry)
    wanted = words.format(role=role)
    assert wanted in f"{found['detail']} {found['remedy']}"
    assert wanted in served.text
    assert "Internal error" not in served.text


def test_d4_a_read_only_database_is_red(run: Commands, owner: psycopg.Connection) -> None:
    name = database_name(owner)
    owner.execute(f"alter database {name} set default_transaction_read_only = on".encode())
    reported = run("doctor", "--json", "--contract", "flask:0")
    assert reported.failed() == {"postgresql"}
    found = reported.entry("postgresql")
    assert "is read-only: it accepts no orders" in found["detail"]
    assert "default_transaction_read_only" in found["remedy"]


def test_a14_commits_that_may_be_lost_are_a_warning(
    run: Commands, owner: psycopg.Connection
) -> None:
    owner.execute(f"alter database {database_name(owner)} set synchronous_commit = off".encode())
    reported = run("doctor", "--json", "--contract", "flask:0")
    assert (reported.code, reported.failed()) == (0, set())
    found = reported.entry("durability")
    assert found["detail"].endswith("may lose acknowledged orders.")
    assert "synchronous_commit" in found["remedy"]


@pytest.fixture
def keys(redis: Redis) -> Iterator[RedisClient]:
    with RedisClient.from_url(redis.url) as client:
        yield client
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 0)
        client.acl_deluser("limited")


def test_a13_a_redis_user_without_scripts_is_red(
    run: Commands, redis: Redis, keys: RedisClient
) -> None:
    rights = ("on", f">{PASSWORD}", "~*", "+@all", "-@scripting")
    keys.execute_command("ACL", "SETUSER", "limited", *rights)  # type: ignore[no-untyped-call]
    url = f"redis://limited:{PASSWORD}@127.0.0.1:{redis.port}/0"
    reported = run("doctor", "--json", "--contract", "jobs:0", REDIS_URL=url)
    assert reported.failed() == {"redis"}
    found = reported.entry("redis")
    assert f"Redis at 127.0.0.1:{redis.port} does not let the user do this" in found["detail"]
    assert "evalsha" in found["remedy"]


def test_r1_a_full_redis_is_red(run: Commands, redis: Redis, keys: RedisClient) -> None:
    keys.config_set("maxmemory", 1)
    reported = run("doctor", "--json", "--contract", "jobs:0", REDIS_URL=redis.url)
    assert f"Redis at 127.0.0.1:{redis.port} is full" in reported.entry("redis")["detail"]
    assert reported.failed() == {"redis"}


@pytest.mark.parametrize(
    ("policy", "failed"),
    [("noeviction", set()), ("volatile-lru", set()), ("allkeys-lru", {"redis"})],
)
def test_r2_an_eviction_policy_that_deletes_jobs_is_red(
    run: Commands, redis: Redis, keys: RedisClient, policy: str, failed: set[str]
) -> None:
    keys.config_set("maxmemory-policy", policy)
    reported = run("doctor", "--json", "--contract", "jobs:0", REDIS_URL=redis.url)
    assert reported.failed() == failed
    found = reported.entry("redis")
    assert (found["remedy"] is None) == (policy == "noeviction")
    assert policy == "noeviction" or f"maxmemory-policy {policy}" in found["detail"]


@pytest.mark.parametrize("missing", ["write", "configure"])
def test_a13_a_rabbitmq_user_without_rights_is_red(
    run: Commands, broker: Broker, missing: str
) -> None:
    broker.server.limit(broker.url, missing)
    reported = run("doctor", "--json", "--contract", "flask:0", RABBITMQ_URL=broker.url)
    assert reported.failed() == {"rabbitmq"}
    found = reported.entry("rabbitmq")
    assert f"127.0.0.1:{broker.server.port}" in found["detail"]
    assert "access to exchange" in found["detail"]
    assert "set_permissions" in found["remedy"]
