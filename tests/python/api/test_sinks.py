"""Sinks: a user's objects receive every event, through failures, dead letters and restarts."""

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import pytest

from order_engine import AsyncOrderEngine, InvalidInput, Misconfigured, OrderEngine, SinkMessage
from tests.python.support.engine_process import EngineProcess
from tests.python.support.waiting import eventually

Outcome = Sequence[BaseException | str | None] | None


class Recorder:
    """A sink that records events, and returns or raises what a test sets."""

    def __init__(self, answer: Callable[[list[SinkMessage]], Outcome] = lambda _: None) -> None:
        self.answer = answer
        self.taken: list[SinkMessage] = []
        self.calls = 0

    def publish(self, batch: list[SinkMessage]) -> Outcome:
        self.calls += 1
        outcome = self.answer(batch)
        outcomes = [None] * len(batch) if outcome is None else outcome
        pairs = zip(batch, outcomes, strict=True)
        self.taken += [message for message, refusal in pairs if refusal is None]
        return outcome

    def wait_for(self, count: int) -> list[SinkMessage]:
        eventually(lambda: len(self.taken) >= count, f"{count} messages have been taken")
        return self.taken


class AwaitedRecorder(Recorder):
    """A recorder whose `publish` is a coroutine function."""

    async def publish(self, batch: list[SinkMessage]) -> Outcome:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().publish(batch)


async def place_with_asyncio(database_url: str, *recorders: Recorder) -> int:
    """Places an order, waits until every recorder has it, and returns its id."""
    sinks = {f"sink-{n}": recorder for n, recorder in enumerate(recorders)}
    async with AsyncOrderEngine(database_url=database_url, sinks=sinks) as engine:
        order = await engine.place_order(user_id=1, lines=[("1", 1)])
        for recorder in recorders:
            await asyncio.to_thread(recorder.wait_for, 1)
        return order.id


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """The database with a product, for direct queries."""
    with psycopg.connect(
        database_url, autocommit=True, options="-c search_path=order_engine"
    ) as opened:
        opened.execute(
            "insert into products (product_id, name, price, currency, reported, updated_at)"
            " values ('1', 'Mug', 9.5, 'USD', 1000, now())"
        )
        yield opened


@pytest.fixture
def open_engine(
    database: psycopg.Connection[Any], database_url: str
) -> Iterator[Callable[..., OrderEngine]]:
    """Opens engines with one sink called `shop`: `open_engine(sink, publish_attempts_max=1)`."""
    assert database is not None
    opened: list[OrderEngine] = []

    def make(sink: Recorder, **settings: Any) -> OrderEngine:  # noqa: ANN401 - any setting.
        engine = OrderEngine(database_url=database_url, sinks={"shop": sink}, **settings).open()
        opened.append(engine)
        return engine

    yield make
    for engine in opened:
        engine.close()


def place(engine: OrderEngine) -> int:
    return engine.place_order(user_id=1, lines=[("1", 2)]).id


def waiting(database: psycopg.Connection[Any]) -> int:
    statement = "select count(*) from outbox where destination = 'shop'"
    ((count,),) = database.execute(statement).fetchall()
    return int(count)


def test_a_sink_receives_every_event_in_order(
    open_engine: Callable[..., OrderEngine], database: psycopg.Connection[Any]
) -> None:
    sink = Recorder()
    engine = open_engine(sink)
    orders = [place(engine) for _ in range(20)]
    for order in orders:
        engine.change_status(order, "shipped")
        engine.change_status(order, "delivered")
        engine.delete_order(order)
    taken = sink.wait_for(80)
    for order in orders:
        own = [each for each in taken if each.order_id == order]
        assert [each.version for each in own] == [1, 2, 3, 4]
        assert [each.event for each in own] == [
            *("order.placed", "order.updated", "order.updated", "order.deleted")
        ]
    first = next(each for each in taken if each.order_id == orders[0])
    body = json.loads(first.body)
    assert (first.attempts, first.replayed) == (0, False)
    assert body["event_id"] == first.message_id
    order = body["order"]
    assert order["_id"] == first.hex_id
    assert (order["id"], order["user_id"], order["total"]) == (orders[0], "1", "19.00")
    assert order["items"] == [
        {"product_id": "1", "name": "Mug", "quantity": 2, "unit_price": "9.50"}
    ]
    assert (body["previous_status"], body["reason"]) == (None, None)
    eventually(lambda: waiting(database) == 0, "nothing waits")
    assert len(sink.taken) == 80, "each came once"


def test_a_sink_that_raises_receives_the_event_again(
    open_engine: Callable[..., OrderEngine], database: psycopg.Connection[Any]
) -> None:
    def fail_twice(_: list[SinkMessage]) -> Outcome:
        if sink.calls <= 2:
            text = "no room"
            raise OSError(text)
        return None

    sink = Recorder(fail_twice)
    engine = open_engine(sink)
    order = place(engine)
    (message,) = sink.wait_for(1)
    assert (message.order_id, message.attempts) == (order, 0)
    assert sink.calls == 3
    eventually(lambda: waiting(database) == 0, "nothing waits")


class UnprintableError(Exception):
    """An error without a text."""

    def __str__(self) -> str:
        raise SystemExit


FATAL = [
    SystemExit(1),
    KeyboardInterrupt(),
    asyncio.CancelledError(),
    GeneratorExit(),
    StopIteration(),
    StopAsyncIteration(),
    ValueError("\ud800"),
    UnprintableError(),
]
"""Errors that are not an `Exception`, that a future cannot hold, or whose text cannot be sent."""


@pytest.mark.parametrize("error", FATAL, ids=lambda error: type(error).__name__)
def test_a4_a_sink_that_raises_system_exit_is_called_again(
    open_engine: Callable[..., OrderEngine],
    database: psycopg.Connection[Any],
    error: BaseException,
) -> None:
    """FIELD A4: any exception, also one that ends threads, means that the batch comes again."""

    def fail_once(_: list[SinkMessage]) -> Outcome:
        if sink.calls == 1:
            raise error
        return None

    sink = Recorder(fail_once)
    engine = open_engine(sink)
    order = place(engine)
    assert [each.order_id for each in sink.wait_for(1)] == [order]
    eventually(lambda: waiting(database) == 0, "nothing waits")


@pytest.mark.parametrize("error", FATAL, ids=lambda error: type(error).__name__)
def test_a4_asyncio_sinks_that_raise_system_exit_are_called_again(
    database: psycopg.Connection[Any], database_url: str, error: BaseException
) -> None:
    """FIELD A4: coroutine functions, and plain functions in threads."""

    def fail_once(sink: Recorder) -> Callable[[list[SinkMessage]], Outcome]:
        def answer(_: list[SinkMessage]) -> Outcome:
            if sink.calls == 1:
                raise error
            return None

        return answer

    awaited, plain = AwaitedRecorder(), Recorder()
    awaited.answer, plain.answer = fail_once(awaited), fail_once(plain)
    order = asyncio.run(place_with_asyncio(database_url, awaited, plain))
    assert [each.order_id for each in awaited.taken + plain.taken] == [order, order]
    assert waiting(database) == 0


@pytest.mark.parametrize("rejection", ["\ud800\0", ValueError("\ud800"), UnprintableError()])
def test_a4_a_rejection_without_a_readable_text_is_a_rejection(
    open_engine: Callable[..., OrderEngine], rejection: BaseException | str
) -> None:
    """FIELD A4: the reason of a rejection has a lone surrogate, or its `str()` fails."""
    engine = open_engine(Recorder(lambda batch: [rejection] * len(batch)), publish_attempts_max=1)
    place(engine)
    eventually(engine.events.dead_letters, "it is dead-lettered")


@pytest.mark.parametrize("answer", ["taken", [], [None, None], 7])
def test_a_return_value_of_the_wrong_type_is_a_failure(
    open_engine: Callable[..., OrderEngine], answer: object
) -> None:
    class Odd:
        calls = 0

        def publish(self, batch: list[SinkMessage]) -> object:
            self.calls += 1
            return answer if self.calls == 1 else [None] * len(batch)

    sink = Odd()
    engine = open_engine(sink)
    place(engine)
    eventually(lambda: sink.calls >= 2, "the batch comes again")


def test_a_rejected_event_is_dead_lettered_and_can_be_retried_or_skipped(
    open_engine: Callable[..., OrderEngine], database: psycopg.Connection[Any]
) -> None:
    refused: set[int] = set()

    def refuse(batch: list[SinkMessage]) -> Outcome:
        return [ValueError("not mine") if each.order_id in refused else None for each in batch]

    sink = Recorder(refuse)
    engine = open_engine(sink, publish_attempts_max=1)
    good = place(engine)
    sink.wait_for(1)
    # Both are rejected before they exist: their numbers come next.
    refused.update({good + 1, good + 2})
    bad = [place(engine), place(engine)]
    for order in [*bad, good]:
        engine.change_status(order, "shipped")
    assert {each.order_id for each in sink.wait_for(2)} == {good}, "others are not kept back"
    eventually(lambda: len(engine.events.dead_letters()) == 2, "there are two dead letters")
    dead_letters = engine.events.dead_letters()
    assert [each.reason for each in dead_letters] == ["ValueError: not mine"] * 2
    assert [each.order_id for each in dead_letters] == bad
    refused.clear()
    engine.events.skip([dead_letters[0].id])
    engine.events.retry([dead_letters[1].id])
    reported = [(each.order_id, each.version) for each in sink.wait_for(5)[2:]]
    assert sorted(reported) == [(bad[0], 2), (bad[1], 1), (bad[1], 2)]
    eventually(lambda: waiting(database) == 0, "nothing waits")


def test_events_without_a_receiver_wait_for_the_next_process(
    open_engine: Callable[..., OrderEngine],
    database: psycopg.Connection[Any],
    database_url: str,
) -> None:
    with OrderEngine(database_url=database_url, sinks={"shop": Recorder()}, relay=False) as engine:
        orders = [place(engine)]
    assert waiting(database) == 1
    sink = Recorder()
    open_engine(sink)
    assert [each.order_id for each in sink.wait_for(1)] == orders


def test_a_server_writes_events_for_the_configured_sinks(
    make_server: Callable[..., EngineProcess],
    database: psycopg.Connection[Any],
    open_engine: Callable[..., OrderEngine],
) -> None:
    server = make_server(ORDER_ENGINE_SINKS="shop")
    server.start()
    token = server.token(1)
    query = "mutation { placeOrder(userId: 1, productId: 1, quantity: 1) { order { id } } }"
    answer = server.graphql(query, token=token).json()
    assert waiting(database) == 1
    sink = Recorder()
    open_engine(sink)
    (message,) = sink.wait_for(1)
    assert str(message.order_id) == answer["data"]["placeOrder"]["order"]["id"]


def test_a_sink_that_times_out_receives_the_same_events_again(
    open_engine: Callable[..., OrderEngine],
) -> None:
    go_on = threading.Event()

    def wait(_: list[SinkMessage]) -> Outcome:
        if sink.calls == 1:
            assert go_on.wait(20)
        return None

    sink = Recorder(wait)
    engine = open_engine(sink, sink_timeout_seconds=1)
    eventually(lambda: all(part.ok for part in engine.health()), "up")
    order = place(engine)
    eventually(lambda: sink.calls == 1, "it was called")
    eventually(lambda: [part.name for part in engine.health() if not part.ok] == ["shop"], "down")
    go_on.set()
    assert [each.order_id for each in sink.wait_for(2)] == [order, order]


def test_close_waits_for_the_current_batch(
    open_engine: Callable[..., OrderEngine], database: psycopg.Connection[Any]
) -> None:
    entered = threading.Event()
    go_on = threading.Event()

    def wait(_: list[SinkMessage]) -> Outcome:
        entered.set()
        assert go_on.wait(20)
        return None

    sink = Recorder(wait)
    engine = open_engine(sink)
    place(engine)
    assert entered.wait(20)
    closing = threading.Thread(target=engine.close)
    closing.start()
    go_on.set()
    closing.join(20)
    assert not closing.is_alive()
    assert waiting(database) == 0, "its outcome was written down"


def test_asyncio_sinks_are_awaited(database: psycopg.Connection[Any], database_url: str) -> None:
    awaited, plain = AwaitedRecorder(), Recorder()
    order = asyncio.run(place_with_asyncio(database_url, awaited, plain))
    assert [each.order_id for each in awaited.taken + plain.taken] == [order, order]
    assert waiting(database) == 0


def test_a_forked_process_has_its_own_sinks(
    open_engine: Callable[..., OrderEngine], database_url: str
) -> None:
    script = """
        import os, sys
        from order_engine import OrderEngine

        class Sink:
            def publish(self, batch):
                os.write(1, f"{os.getpid()}\\n".encode() * len(batch))

        engine = OrderEngine(database_url=sys.argv[1], sinks={"shop": Sink()})
        if os.fork() == 0:
            engine.place_order(user_id=1, lines=[("1", 1)])
            engine.close()
            os._exit(0)
        engine.place_order(user_id=1, lines=[("1", 1)])
        os.wait()
        engine.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), database_url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"RABBITMQ_URL": ""},
    )
    assert done.returncode == 0, done.stderr
    rest = Recorder()
    open_engine(rest)
    eventually(lambda: len(done.stdout.split()) + len(rest.taken) == 2, "both received it once")


def test_an_object_that_is_no_sink_is_refused(database_url: str) -> None:
    with pytest.raises(InvalidInput, match="no method publish"):
        OrderEngine(database_url=database_url, sinks={"shop": object()})  # type: ignore[dict-item]
    for name in ("jobs", "No Sink", ""):
        with pytest.raises(Misconfigured, match=r"(?i)sink"):
            OrderEngine(database_url=database_url, sinks={name: Recorder()}).open()
