"""A handler and its inbox share a PostgreSQL transaction: each event is applied once."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psycopg
import psycopg2  # type: ignore[import-untyped]
import pytest
import sqlalchemy
from psycopg.rows import dict_row
from sqlalchemy.orm import sessionmaker

from order_engine import InvalidInput, Unavailable
from order_engine.consumer import INBOX_TABLE, Consumer, Event
from tests.python.api.test_consumer_kit import working
from tests.python.support.consumer_queue import ScriptQueue
from tests.python.support.consumer_script import ConsumerScript
from tests.python.support.legacy_consumer import QUEUE
from tests.python.support.servers import Broker
from tests.python.support.waiting import eventually
from tests.services import PostgreSQL, Workspace

INSERT = "insert into effects values ({})"


@pytest.fixture
def url(empty_database_url: str) -> str:
    """The database of a script, with a table for effects."""
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("create table effects (n integer)")
    return empty_database_url


@pytest.fixture
def bound(broker: Broker) -> ScriptQueue:
    queue = ScriptQueue(broker.url)
    queue.declare("order.placed")
    return queue


@pytest.fixture
def make(broker: Broker) -> Callable[..., Consumer]:
    """Creates a consumer with a connection, and a handler that has an effect and may then fail."""

    def made(connection: object, write: Callable[[Any, int], object]) -> Consumer:
        consumer = Consumer(
            queue=QUEUE,
            rabbitmq_url=broker.url,
            connection=connection,
            attempts=2,
            backoff_seconds=0.01,
        )

        @consumer.on("order.placed")
        def handle(event: Event, connection: object) -> None:
            write(connection, event["n"])
            if event.get("fails"):
                raise ValueError(event["n"])

        return consumer

    return made


def effects(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("select n from effects order by ctid").fetchall()
    return [n for (n,) in rows]


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def by_cursor(connection: Any, n: int) -> None:  # noqa: ANN401 - of any library.
    connection.cursor().execute(INSERT.format("%s"), (n,))


def by_sqlalchemy(connection: Any, n: int) -> None:  # noqa: ANN401 - as above.
    connection.execute(sqlalchemy.text(INSERT.format(":n")), {"n": n})


def sqlalchemy_engine(url: str) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))


CONNECTIONS: dict[str, tuple[Callable[[str], Any], Callable[[Any, int], None]]] = {
    "psycopg": (lambda url: lambda: psycopg.connect(url), by_cursor),
    "psycopg, rows as dicts": (
        lambda url: lambda: psycopg.Connection[dict[str, Any]].connect(url, row_factory=dict_row),
        by_cursor,
    ),
    "psycopg, open": (psycopg.connect, by_cursor),
    "psycopg2": (lambda url: lambda: psycopg2.connect(url), by_cursor),
    "SQLAlchemy engine": (sqlalchemy_engine, by_sqlalchemy),
    "SQLAlchemy session": (lambda url: sessionmaker(sqlalchemy_engine(url)), by_sqlalchemy),
}


@pytest.mark.parametrize("name", CONNECTIONS)
def test_an_event_and_its_effect_commit_together(
    make: Callable[..., Consumer], bound: ScriptQueue, url: str, name: str
) -> None:
    connect, write = CONNECTIONS[name]
    source = connect(url)
    consumer = make(source, write)
    bound.publish({"n": 1}, {"n": 1}, message_id="m-1")
    bound.publish({"n": 2, "fails": True}, message_id="m-2")
    bound.publish({"n": 3}, {"n": 3})
    with working(consumer):
        eventually(lambda: effects(url).count(3) == 2, "the last one has its effect")
    assert effects(url) == [1, 3, 3], "repetitions and failures have none"
    assert [each.reason for each in consumer.dead_letters()] == ["ValueError: 2"]
    assert bound.waiting() == 0
    known = rows(url, "select consumer, message_id from order_engine_inbox order by received_at")
    assert known[0] == (QUEUE, "id:m-1")
    assert [key.partition(":")[0] for _, key in known] == ["id", "body"]
    left = "select count(*) from pg_stat_activity where datname = current_database() and "
    assert rows(url, left + "state like 'idle in transaction%'") == [(0,)]
    if isinstance(source, psycopg.Connection):
        assert not source.closed, "it is the user's"
        source.close()
    elif isinstance(source, sessionmaker):
        source.kw["bind"].dispose()
    elif isinstance(source, sqlalchemy.Engine):
        source.dispose()


async def asyncpg_connection(url: str) -> Any:  # noqa: ANN401 - asyncpg's.
    return await asyncpg.connect(url)


ASYNC_CONNECTIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "psycopg": (psycopg.AsyncConnection.connect, "%s"),
    "asyncpg": (asyncpg_connection, "$1"),
}


@pytest.mark.parametrize("name", ASYNC_CONNECTIONS)
def test_an_event_and_its_effect_commit_together_in_asyncio(
    broker: Broker, bound: ScriptQueue, url: str, name: str
) -> None:
    connect, placeholder = ASYNC_CONNECTIONS[name]
    consumer = Consumer(
        queue=QUEUE,
        rabbitmq_url=broker.url,
        connection=lambda: connect(url),
        attempts=2,
        backoff_seconds=0.01,
    )

    @consumer.on("order.placed")
    async def handle(event: Event, connection: Any) -> None:  # noqa: ANN401 - of two libraries.
        parameters = (event["n"],) if name == "asyncpg" else ((event["n"],),)
        await connection.execute(INSERT.format(placeholder), *parameters)
        if event.get("fails"):
            raise ValueError(event["n"])
        if event["n"] == 3:
            consumer.stop()

    bound.publish({"n": 1}, {"n": 1}, message_id="m-1")
    bound.publish({"n": 2, "fails": True}, message_id="m-2")
    bound.publish({"n": 3})
    asyncio.run(consumer.run_async())
    assert effects(url) == [1, 3]
    assert [each.reason for each in consumer.dead_letters()] == ["ValueError: 2"]
    assert bound.waiting() == 0


@pytest.mark.parametrize("message_id", ["m-1", None])
def test_a_script_killed_between_commit_and_acknowledgement_applies_the_event_once(  # noqa: PLR0913, PLR0917 - fixtures.
    workspace: Workspace,
    broker: Broker,
    bound: ScriptQueue,
    url: str,
    tmp_path: Path,
    message_id: str | None,
) -> None:
    script = ConsumerScript(workspace, tmp_path, broker.url, url)
    bound.publish({"n": 1}, message_id=message_id)
    script.start("die-before-ack")
    script.wait_for(done=1)
    assert script.process is not None
    assert script.process.wait(20) == -signal.SIGKILL, script.log()
    assert effects(url) == [1]
    eventually(lambda: bound.waiting() == 1, "it is in the queue again")
    bound.publish({"n": 2})
    script.start()
    script.wait_for(done=2)
    assert script.end(signal.SIGTERM) == 0, script.log()
    assert effects(url) == [1, 2]
    assert [reported for reported in script.reported() if "began" in reported] == [
        {"began": 1},
        {"began": 2},
    ]
    assert bound.waiting() == 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["psycopg", "psycopg2", "SQLAlchemy engine"])
def test_the_consumer_waits_for_an_unreachable_database(  # noqa: PLR0913, PLR0917 - fixtures.
    make: Callable[..., Consumer],
    bound: ScriptQueue,
    url: str,
    postgres: PostgreSQL,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    connect, write = CONNECTIONS[name]
    source = connect(url)

    def write_when_it_is_away(connection: object, n: int) -> None:
        if n == 2 and postgres.is_running() and not caplog.records:
            postgres.stop()
        write(connection, n)

    consumer = make(source, write_when_it_is_away)
    bound.publish(*({"n": n} for n in range(1, 5)), message_id=None)
    with working(consumer):
        eventually(lambda: "the database is not available" in caplog.text, "it is reported")
        postgres.start()
        eventually(lambda: effects(url) == [1, 2, 3, 4], "it continues")
        assert consumer.dead_letters() == [], "nothing failed"
    assert caplog.text.count("the database is not available") == 1
    if isinstance(source, sqlalchemy.Engine):
        source.dispose()


def test_losing_a_connection_that_was_passed_in_stops_the_consumer(
    make: Callable[..., Consumer], bound: ScriptQueue, url: str
) -> None:
    def write(connection: Any, n: int) -> None:  # noqa: ANN401 - psycopg's.
        by_cursor(connection, n)
        rows(url, f"select pg_terminate_backend({connection.info.backend_pid})")

    consumer = make(psycopg.connect(url), write)
    bound.publish({"n": 1})
    with pytest.raises(Unavailable, match="a function that opens a connection"):
        consumer.run()
    assert (effects(url), bound.waiting()) == ([], 1)


def test_a_migration_can_create_the_table_and_old_rows_are_deleted(
    make: Callable[..., Consumer], bound: ScriptQueue, url: str
) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(INBOX_TABLE)
        connection.execute(INBOX_TABLE)
        connection.execute(
            "insert into order_engine_inbox values"
            " ('other', 'id:old', now() - interval '8 days'),"
            " ('other', 'id:new', now() - interval '6 days')"
        )
    bound.publish({"n": 1}, message_id="m-1")
    with working(make(lambda: psycopg.connect(url), by_cursor)):
        eventually(lambda: effects(url) == [1], "it has its effect")
    known = rows(url, "select message_id from order_engine_inbox order by 1")
    assert known == [("id:m-1",), ("id:new",)]


def test_two_queues_that_share_an_inbox_apply_an_event_once(
    broker: Broker, bound: ScriptQueue, url: str
) -> None:
    def consumer(queue: str) -> Consumer:
        made = Consumer(
            queue=queue,
            rabbitmq_url=broker.url,
            connection=lambda: psycopg.connect(url),
            inbox="stock",
        )
        made.on("order.placed")(lambda event, connection: by_cursor(connection, event["n"]))
        return made

    with working(consumer("new_queue")), working(consumer(QUEUE)):
        eventually(lambda: _both_count(bound, broker, url), "both queues are bound")
    assert sorted(effects(url)) == sorted(set(effects(url)))
    assert rows(url, "select distinct consumer from order_engine_inbox") == [("stock",)]


def _both_count(bound: ScriptQueue, broker: Broker, url: str) -> bool:
    n = len(effects(url)) + 1
    bound.publish({"n": n}, message_id=f"m-{n}")
    eventually(lambda: n in effects(url), "it has its effect")
    return n > 20 and bound.waiting() + ScriptQueue(broker.url).waiting("new_queue") == 0


def test_an_object_that_is_no_connection_is_rejected(
    make: Callable[..., Consumer], bound: ScriptQueue, url: str, broker: Broker
) -> None:
    bound.publish({"n": 1})
    with closing(psycopg.connect(url, autocommit=True)) as blocking:
        for connection, message in (
            (blocking, "autocommit mode"),
            (object(), "not object"),
            (lambda: None, "not NoneType"),
        ):
            with pytest.raises(InvalidInput, match=message):
                make(connection, by_cursor).run()
        consumer = Consumer(queue=QUEUE, rabbitmq_url=broker.url, connection=lambda: blocking)
        consumer.on("order.placed")(lambda _event: None)
        with pytest.raises(InvalidInput, match="`run_async` an asyncio one"):
            asyncio.run(consumer.run_async())

    async def main() -> None:
        async with await psycopg.AsyncConnection.connect(url) as awaited:
            with pytest.raises(InvalidInput, match="not AsyncConnection"):
                await asyncio.to_thread(make(lambda: awaited, by_cursor).run)

    asyncio.run(main())
    assert bound.waiting() == 1


def test_a5_the_transaction_of_a_handler_that_raises_system_exit_is_rolled_back(
    broker: Broker, bound: ScriptQueue, url: str
) -> None:
    """FIELD A5: the same connection then serves the next event."""
    consumer = Consumer(
        queue=QUEUE,
        rabbitmq_url=broker.url,
        connection=lambda: psycopg.connect(url),
        attempts=2,
        backoff_seconds=0.01,
    )

    @consumer.on("order.placed")
    def handle(event: Event, connection: psycopg.Connection[Any]) -> None:
        by_cursor(connection, event["n"])
        if event["n"] == 1:
            raise SystemExit

    bound.publish({"n": 1}, {"n": 2})
    with working(consumer):
        eventually(lambda: effects(url) == [2], "only the second has its effect")
    assert [each.reason for each in consumer.dead_letters()] == ["SystemExit"]
