"""Consumer scripts: declared queues, ordering, retries, dead letters, and stopping."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from order_engine import InvalidInput, Misconfigured, NotFound, Unavailable, _native
from order_engine.consumer import Consumer, Event, consume, consume_async
from order_engine.error_text import masked
from tests.python.support.consumer_queue import DEAD_LETTERS, ScriptQueue
from tests.python.support.consumer_script import ConsumerScript
from tests.python.support.legacy_consumer import QUEUE, LegacyConsumer
from tests.python.support.servers import Broker
from tests.python.support.waiting import eventually
from tests.services import Workspace

KEYS = ("order.placed", "inventory.updated")
Working = Callable[[Consumer], AbstractContextManager[None]]


@pytest.fixture
def queue(broker: Broker) -> ScriptQueue:
    return ScriptQueue(broker.url)


@pytest.fixture
def bound(queue: ScriptQueue) -> ScriptQueue:
    """The queue as an old script leaves it."""
    queue.declare(*KEYS)
    return queue


@pytest.fixture
def consumer(broker: Broker) -> Consumer:
    return Consumer(queue=QUEUE, rabbitmq_url=broker.url, attempts=3, backoff_seconds=0.01)


@pytest.fixture
def script(workspace: Workspace, broker: Broker, tmp_path: Path) -> Iterator[ConsumerScript]:
    made = ConsumerScript(workspace, tmp_path, broker.url)
    yield made
    if made.process is not None:
        made.process.kill()


@contextmanager
def working(consumer: Consumer) -> Iterator[None]:
    """Runs a consumer in a thread, and raises its error here."""
    ended: list[BaseException] = []

    def run() -> None:
        try:
            consumer.run()
        except BaseException as error:  # noqa: BLE001 - it is raised below.
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        consumer.stop()
        thread.join(20)
    assert not thread.is_alive()
    for error in ended:
        raise error


def noting(consumer: Consumer, *keys: str) -> list[Event]:
    """Registers a handler that records its events."""
    noted: list[Event] = []
    consumer.on(*keys or ("order.placed",))(noted.append)
    return noted


def numbers(events: list[Event]) -> list[int]:
    return [event["n"] for event in events]


def test_it_declares_the_same_queues_as_the_old_scripts(
    consumer: Consumer, queue: ScriptQueue, legacy_consumer: LegacyConsumer
) -> None:
    legacy_consumer.kill()
    noted = noting(consumer)

    def published() -> list[Event]:
        # The broker may still consider the old script connected.
        queue.publish({"n": 1})
        return noted

    with working(consumer):
        eventually(published, "the queue of the old script is consumed")
    # The broker refuses every difference, in either direction.
    legacy_consumer.start()
    queue.declare("order.placed")


def test_the_old_scripts_accept_the_queues_that_it_declares(
    consumer: Consumer, queue: ScriptQueue
) -> None:
    noted = noting(consumer)
    with working(consumer):
        eventually(lambda: _is_declared(queue), "the queue is there")
        queue.declare("order.placed")
        queue.publish({"n": 1})
        eventually(lambda: noted, "it is bound")
    with pytest.raises(Exception, match="inequivalent arg 'durable'"):
        queue.declare(durable=True)


def _is_declared(queue: ScriptQueue) -> bool:
    try:
        queue.publish({"n": 0}, key="order.placed")
    except Exception:  # noqa: BLE001 - pika names a missing exchange and a missing queue differently.
        return False
    return True


def test_events_are_handled_in_order_one_at_a_time_and_acknowledged(
    consumer: Consumer, bound: ScriptQueue
) -> None:
    noted = noting(consumer, *KEYS)
    bound.publish(*({"n": n} for n in range(200)), message_id=None, correlation_id="7")
    bound.publish([{"product_id": 1, "quantity": 98}], key="inventory.updated", message_id="m-1")
    with working(consumer):
        eventually(lambda: len(noted) == 201, "all come")
    assert numbers(noted[:-1]) == list(range(200))
    assert bound.waiting() == 0
    first, last = noted[0], noted[-1]
    assert dict(first) == {"n": 0}
    assert (first.correlation_id, first.redelivered, first.headers) == ("7", False, {})
    assert last.body == [{"product_id": 1, "quantity": 98}]
    assert repr(last) == (
        "Event('inventory.updated', [{'product_id': 1, 'quantity': 98}], message_id='m-1')"
    )
    assert last
    with pytest.raises(TypeError, match=r"JSON list.* use event\.body"):
        last["product_id"]
    with pytest.raises(AttributeError):
        last.body = None  # type: ignore[misc]


def test_a_failing_event_is_retried_and_dead_lettered_while_others_continue(
    consumer: Consumer, bound: ScriptQueue, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []
    broken = True

    @consumer.on("order.placed")
    def handle(event: Event) -> None:
        seen.append(event["n"])
        # Changes that one attempt makes to the event are not visible to the next.
        n = event.body.pop("n")
        if n == 2 and broken:
            raise ConnectionError("amqp://guest:hunter2@host/ refuses; token=abcdef")

    bound.publish({"n": 1})
    bound.publish({"n": 2}, message_id="m-2", headers={"x-tries": 4})
    bound.publish(b"{no JSON", {"n": 3}, b"\xff", b"NaN", {"n": 4}, b"[" * 100_000)
    with working(consumer):
        eventually(lambda: 4 in seen, "the last one comes")
        eventually(lambda: len(consumer.dead_letters()) == 5, "all failed events are dead-lettered")
        assert seen == [1, 2, 2, 2, 3, 4]
        failed, *unreadable = consumer.dead_letters()
        assert (failed.routing_key, failed.message_id, failed.attempts) == (
            "order.placed",
            "m-2",
            3,
        )
        assert (
            failed.reason == "ConnectionError: amqp://guest:********@host/ refuses; token=********"
        )
        assert json.loads(failed.text) == {"n": 2}
        assert failed.dead_lettered_at is not None
        assert [each.reason.startswith("The body is not JSON: ") for each in unreadable] == [
            True
        ] * 4
        assert [each.attempts for each in unreadable] == [0] * 4

        broken = False
        assert consumer.retry([failed.id]) == 1
        eventually(lambda: seen[6:] == [2], "it comes again, with the routing key that it had")
        assert consumer.skip(each.id for each in unreadable[1:]) == 3
        (left,) = consumer.dead_letters()
        assert left.text == "{no JSON"
    assert bound.waiting() == 0
    properties, body = bound.take(DEAD_LETTERS)
    assert properties.headers is not None
    assert (properties.delivery_mode, body) == (2, b"{no JSON")
    assert properties.headers["x-order-engine-routing-key"] == "order.placed"
    records = [each for each in caplog.records if each.name == "order_engine.consumer"]
    reported = [(each.levelname, each.getMessage()) for each in records]
    assert [level for level, _ in reported].count("WARNING") == 2
    assert reported[0][1].startswith("order.placed m-2 failed, attempt 1 of 3: ConnectionError: ")
    assert any("dead-lettered after 3 attempts:\nTraceback" in text for _, text in reported)
    assert "hunter2" not in caplog.text


class UnprintableError(Exception):
    """An error without a text."""

    def __str__(self) -> str:
        raise SystemExit


FATAL = {
    "SystemExit: 1": SystemExit(1),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "asyncio.exceptions.CancelledError": asyncio.CancelledError(),
    "StopIteration": StopIteration(),
    r"ValueError: \ud800": ValueError("\ud800"),
    f"{__name__}.UnprintableError: (no text: str() raised SystemExit)": UnprintableError(),
}
"""Errors that are not an `Exception` or whose text cannot be sent, by the reason that is kept."""


@pytest.mark.parametrize("is_async", [False, True])
def test_a5_handlers_that_raise_system_exit_do_not_end_the_consumer(
    consumer: Consumer, bound: ScriptQueue, *, is_async: bool
) -> None:
    """FIELD A5: such an event is dead-lettered after its attempts, and the next has its turn."""
    errors = list(FATAL.values())
    calls: list[int] = []

    def fail(event: Event) -> None:
        calls.append(event["n"])
        if event["n"] == len(errors):
            consumer.stop()
            return
        raise errors[event["n"]]

    async def fail_awaited(event: Event) -> None:
        await asyncio.sleep(0)
        fail(event)

    consumer.on("order.placed")(fail_awaited if is_async else fail)
    bound.publish(*({"n": n, "name": "\ud800"} for n in range(len(errors) + 1)))
    if is_async:
        asyncio.run(consumer.run_async())
    else:
        with working(consumer):
            eventually(lambda: len(errors) in calls, "the next has its turn")
    assert calls == [n for n in range(len(errors)) for _ in range(3)] + [len(errors)]
    reasons = [each.reason for each in consumer.dead_letters()]
    expected = list(FATAL)
    if is_async:
        # A coroutine cannot raise StopIteration.
        expected[3] = "RuntimeError: coroutine raised StopIteration"
    assert reasons == expected
    assert bound.waiting() == 0


def test_a_retry_needs_the_queue(consumer: Consumer, bound: ScriptQueue) -> None:
    noting(consumer)
    bound.publish(b"?")
    with working(consumer):
        eventually(lambda: _dead_letters(consumer), "it is dead-lettered")
    bound.delete()
    with pytest.raises(NotFound, match=QUEUE):
        consumer.retry()
    bound.declare()
    assert consumer.retry() == 1
    assert (consumer.dead_letters(), bound.waiting()) == ([], 1)


def _dead_letters(consumer: Consumer) -> list[Any]:
    try:
        return consumer.dead_letters()
    except Unavailable:
        return []


def test_an_event_without_a_handler_is_dead_lettered(
    consumer: Consumer, bound: ScriptQueue
) -> None:
    noted = noting(consumer, "order.placed")
    bound.publish({"n": 1}, key="inventory.updated")
    bound.publish({"n": 2})
    with working(consumer):
        eventually(lambda: numbers(noted) == [2], "the next one comes")
    (dead_letter,) = consumer.dead_letters()
    assert (dead_letter.routing_key, dead_letter.attempts) == ("inventory.updated", 0)
    assert dead_letter.reason == "This consumer has no function for inventory.updated"


def test_events_are_deduplicated_by_message_id_and_not_by_body(
    consumer: Consumer, bound: ScriptQueue
) -> None:
    noted = noting(consumer)
    bound.publish({"n": 1}, {"n": 1}, message_id="m-1")
    bound.publish({"n": 2}, {"n": 2})
    with working(consumer):
        eventually(lambda: len(noted) == 3, "all that is new comes")
        bound.publish({"n": 3})
        eventually(lambda: len(noted) == 4, "nothing stood in between")
    assert numbers(noted) == [1, 2, 2, 3]


@pytest.mark.timeout(180)
def test_a_broker_restart_during_an_event(
    consumer: Consumer, queue: ScriptQueue, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "order_engine")
    # The old scripts' transient queue is gone after the restart; this one is durable.
    queue.declare("order.placed", durable=True)
    noted: list[Event] = []

    @consumer.on("order.placed")
    def handle(event: Event) -> None:
        noted.append(event)
        if event["n"] == 1:
            broker.server.restart()

    queue.publish(b"no JSON", {"n": 1}, {"n": 2}, {"n": 3})
    with working(consumer):
        eventually(lambda: noted and noted[-1]["n"] == 3, "it continues", 60)
    assert numbers(noted) == [1, 2, 3], "the first comes again, and does nothing"
    assert noted[-1].redelivered
    assert queue.waiting() == 0
    assert [each.text for each in consumer.dead_letters()] == ["no JSON"], "it has survived"
    eventually(lambda: "consumed again" in caplog.text, "the end of the outage is logged")
    records = [each for each in caplog.records if each.name == "order_engine.consumer"]
    reported = [each.getMessage().partition(" queue=")[0] for each in records]
    assert reported[1:] == [
        "the queue cannot be consumed; retrying",
        "the queue is consumed again",
    ]


def test_a_broker_that_starts_after_the_consumer(
    consumer: Consumer, queue: ScriptQueue, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.server.stop()
    noted = noting(consumer)
    with working(consumer):
        eventually(lambda: "cannot be consumed" in caplog.text, "it is reported")
        broker.server.start()
        eventually(lambda: _is_declared(queue), "it connects and declares")
        eventually(lambda: noted, "it consumes")
    assert caplog.text.count("cannot be consumed") == 1


def test_a_loop_acknowledges_when_it_requests_the_next_event(
    broker: Broker, bound: ScriptQueue
) -> None:
    bound.publish({"n": 1}, b"no JSON", {"n": 2}, {"n": 3})
    with consume("order.placed", queue=QUEUE, rabbitmq_url=broker.url) as events:
        for event in events:
            if event["n"] == 2:
                break
    eventually(lambda: bound.waiting() == 2, "what the loop left comes again")

    again = consume("order.placed", queue=QUEUE, rabbitmq_url=broker.url)
    seen = []
    for event in again:
        seen.append((event["n"], event.redelivered))
        if event["n"] == 3:
            again.stop()
    assert seen == [(2, True), (3, True)]
    assert bound.waiting() == 0, "the last one was acknowledged"
    assert list(again) == []
    assert bound.waiting(DEAD_LETTERS) == 1


def test_a_failing_loop_does_not_acknowledge_its_event(broker: Broker, bound: ScriptQueue) -> None:
    bound.publish({"n": 1})

    def script() -> None:
        for event in consume("order.placed", queue=QUEUE, rabbitmq_url=broker.url):
            raise KeyError(event["missing"])

    with pytest.raises(KeyError):
        script()
    eventually(lambda: bound.waiting() == 1, "it is there again")


async def gather_three(url: str) -> list[int]:
    seen = []
    async with consume_async("order.placed", queue=QUEUE, rabbitmq_url=url) as events:
        async for event in events:
            seen.append(event["n"])
            if len(seen) == 3:
                events.stop()
    return seen


def test_an_asyncio_loop(broker: Broker, bound: ScriptQueue) -> None:
    bound.publish({"n": 1}, {"n": 2}, {"n": 3})
    assert asyncio.run(gather_three(broker.url)) == [1, 2, 3]
    assert bound.waiting() == 0


def test_waiting_for_an_event_can_be_cancelled_without_losing_it(
    broker: Broker, bound: ScriptQueue
) -> None:
    async def main() -> list[int]:
        seen: list[int] = []
        events = consume_async("order.placed", queue=QUEUE, rabbitmq_url=broker.url)
        publishing = asyncio.create_task(
            asyncio.to_thread(bound.publish, *({"n": n} for n in range(100)))
        )
        given_up = 0
        while len(seen) < 100:
            waiting = asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait([waiting], timeout=0.001)
            if done:
                seen.append(waiting.result()["n"])
                continue
            given_up += 1
            waiting.cancel()
            await asyncio.wait([waiting])
            if not waiting.cancelled():
                # It arrived at the last moment.
                seen.append(waiting.result()["n"])
        await publishing
        events.stop()
        assert [event async for event in events] == []
        assert given_up
        return seen

    assert asyncio.run(main()) == list(range(100))
    assert bound.waiting() == 0


def test_a_cancelled_acknowledgement_is_still_sent(broker: Broker, bound: ScriptQueue) -> None:
    async def main() -> list[int]:
        seen: list[int] = []
        async with consume_async("order.placed", queue=QUEUE, rabbitmq_url=broker.url) as events:
            async for event in events:
                seen.append(event["n"])
                if event["n"] == 19:
                    events.stop()
                asking = asyncio.ensure_future(anext(events))
                # The acknowledgement has begun, but is not complete.
                await asyncio.sleep(0)
                asking.cancel()
                await asyncio.wait([asking])
                assert asking.cancelled()
        return seen

    bound.publish(*({"n": n} for n in range(20)))
    assert asyncio.run(main()) == list(range(20))
    assert bound.waiting() == 0


def test_asyncio_handlers(consumer: Consumer, bound: ScriptQueue) -> None:
    seen: list[int] = []
    bound.publish({"n": 1}, {"n": 2}, {"n": 3})

    @consumer.on("order.placed")
    async def handle(event: Event) -> None:
        seen.append(event["n"])
        await asyncio.sleep(0)
        if event["n"] == 2:
            raise ValueError
        if event["n"] == 3:
            consumer.stop()

    asyncio.run(consumer.run_async())
    assert seen == [1, 2, 2, 2, 3]
    assert bound.waiting() == 0
    (dead_letter,) = consumer.dead_letters()
    assert dead_letter.reason == "ValueError"


def test_a_cancelled_consumer_does_not_acknowledge_its_event(
    consumer: Consumer, bound: ScriptQueue
) -> None:
    bound.publish({"n": 1})

    async def main() -> None:
        began = asyncio.Event()

        @consumer.on("order.placed")
        async def handle(_event: Event) -> None:
            began.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(consumer.run_async())
        await asyncio.wait_for(began.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert bound.waiting() == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_the_current_event_finish(
    script: ConsumerScript, bound: ScriptQueue, tmp_path: Path, number: signal.Signals
) -> None:
    until = tmp_path / "go on"
    bound.publish({"n": 1, "until": str(until)}, {"n": 2})
    script.start()
    script.wait_for(began=1)
    assert script.process is not None
    script.process.send_signal(number)
    until.touch()
    assert script.process.wait(20) == 0, script.log()
    assert script.reported() == [{"began": 1}, {"done": 1}]
    assert bound.waiting() == 1


def test_a_second_signal_stops_immediately(
    script: ConsumerScript, bound: ScriptQueue, tmp_path: Path
) -> None:
    bound.publish({"n": 1, "until": str(tmp_path / "never")})
    script.start()
    script.wait_for(began=1)
    assert script.process is not None
    pid = script.process.pid
    script.process.send_signal(signal.SIGTERM)
    eventually(lambda: not _is_caught(pid, signal.SIGTERM), "the first one is noticed")
    assert script.end(signal.SIGTERM) == -signal.SIGTERM
    eventually(lambda: bound.waiting() == 1, "the event comes again")


def _is_caught(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) & 1 << number - 1)


def test_an_idle_script_stops_at_a_signal(script: ConsumerScript, bound: ScriptQueue) -> None:
    bound.publish({"n": 1})
    script.start()
    script.wait_for(done=1)
    assert script.end(signal.SIGTERM) == 0, script.log()


def test_the_event_of_a_killed_script_is_redelivered(
    script: ConsumerScript, bound: ScriptQueue, tmp_path: Path
) -> None:
    until = tmp_path / "go on"
    bound.publish({"n": 1, "until": str(until)}, {"n": 2}, {"n": 3})
    script.start()
    script.wait_for(began=1)
    script.end(signal.SIGKILL)
    until.touch()
    script.start()
    script.wait_for(done=3)
    assert [reported["done"] for reported in script.reported() if "done" in reported] == [1, 2, 3]
    assert script.end(signal.SIGTERM) == 0
    assert bound.waiting() == 0


def test_the_command_lists_retries_and_skips_dead_letters(
    consumer: Consumer, bound: ScriptQueue, broker: Broker
) -> None:
    noting(consumer)
    bound.publish(b"one", b"two", b"three")
    with working(consumer):
        eventually(lambda: len(_dead_letters(consumer)) == 3, "they are dead-lettered")

    def command(*arguments: str, expected: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "order_engine", "consumer", *arguments, "--queue", QUEUE],
            env=dict(os.environ) | {"RABBITMQ_URL": broker.url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == expected, done.stderr
        return done.stdout + done.stderr

    shown = json.loads(command("dead-letters", "--json"))
    assert [each["text"] for each in shown] == ["one", "two", "three"]
    assert "The body is not JSON" in command("dead-letters", "--limit", "1")
    assert command("skip", shown[1]["id"]) == "skipped 1 message\n"
    assert command("retry", shown[0]["id"]) == "retried 1 message\n"
    assert command("retry", "--all", "--json") == '{"retried": 1}\n'
    assert bound.waiting() == 2
    assert command("retry", expected=2).endswith(
        "Give the ids of the dead letters to retry, or --all.\n"
    )
    assert json.loads(command("dead-letters", "--json")) == []

    misspelled = subprocess.run(
        [
            *(sys.executable, "-m", "order_engine", "consumer", "dead-letters"),
            *("--queue", f"{QUEUE}x"),
        ],
        env=dict(os.environ) | {"RABBITMQ_URL": broker.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert misspelled.returncode == 1
    assert f"no queue {QUEUE}x" in misspelled.stderr


def test_settings_come_from_the_environment_without_a_database_connection(
    bound: ScriptQueue, broker: Broker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("RABBITMQ_URL", "RABBITMQ_URI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Misconfigured, match="RABBITMQ_URL or RABBITMQ_URI"):
        consume("order.placed", queue=QUEUE)
    (tmp_path / ".env").write_text(f"RABBITMQ_URI={broker.url}\nDATABASE_URL=sqlite:///shop.db\n")
    bound.publish({"n": 1})
    with consume("order.placed", queue=QUEUE) as events:
        assert next(events)["n"] == 1


def test_a_closed_consumer_raises(broker: Broker) -> None:
    events = consume("order.placed", queue=QUEUE, rabbitmq_url=broker.url)
    events.close()
    events.close()
    with pytest.raises(Unavailable, match="This consumer is closed"):
        next(events)


FORKED = """
import os, sys
from order_engine import Unavailable
from order_engine.consumer import consume
events = consume("order.placed", queue="q", rabbitmq_url=sys.argv[1])
child = os.fork()
if not child:
    try:
        next(events)
    except Unavailable as error:
        os._exit(0 if "cannot be used in its fork" in str(error) else 1)
    os._exit(2)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_forked_process_needs_its_own_consumer(broker: Broker) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, broker.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_stopping_does_not_wait_for_the_next_retry(broker: Broker, bound: ScriptQueue) -> None:
    consumer = Consumer(
        queue=QUEUE,
        rabbitmq_url=broker.url,
        backoff_seconds=3600,
        backoff_seconds_max=3600,
    )
    tried = threading.Event()

    @consumer.on("order.placed")
    def handle(_event: Event) -> None:
        tried.set()
        raise ValueError

    bound.publish({"n": 1})
    with working(consumer):
        assert tried.wait(20)
    assert (bound.waiting(), consumer.dead_letters()) == (1, [])


def test_a_stopped_consumer_stays_stopped(consumer: Consumer, bound: ScriptQueue) -> None:
    noted = noting(consumer)
    bound.publish({"n": 1})
    consumer.stop()
    consumer.run()
    assert noted == []


def test_wrong_use_raises(consumer: Consumer) -> None:
    with pytest.raises(InvalidInput, match="No function is registered"):
        consumer.run()
    with pytest.raises(InvalidInput, match="at least one routing key"):
        consumer.on()
    with pytest.raises(InvalidInput, match=r"pass `Consumer\(connection=…\)`"):
        consumer.on("order.placed")(lambda event, connection: (event, connection))
    with pytest.raises(InvalidInput, match="more parameters than an event and a connection"):
        consumer.on("order.placed")(lambda event, connection, more: (event, connection, more))
    with pytest.raises(InvalidInput, match="decorates a function"):
        consumer.on("order.placed")("handle")  # type: ignore[type-var]

    @consumer.on("order.placed")
    async def placed(_event: Event) -> None:
        pass

    with pytest.raises(InvalidInput, match=r"order\.placed already has a function"):
        consumer.on("order.placed")(placed)
    with pytest.raises(InvalidInput, match="placed is a coroutine function"):
        consumer.run()
    with pytest.raises(InvalidInput, match="limit must be 1 to 1000"):
        consumer.dead_letters(0)
    with pytest.raises(InvalidInput, match="not text"):
        consumer.retry("abc")


@pytest.mark.parametrize(
    "arguments",
    [
        {"queue": None},
        {"attempts": 0},
        {"attempts": 1.5},
        {"backoff_seconds": -1},
        {"backoff_seconds_max": float("nan")},
        {"backoff_seconds": "1"},
    ],
)
def test_arguments_out_of_range_raise(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Consumer(**{"queue": QUEUE, **arguments})


def test_settings_out_of_range_raise(broker: Broker) -> None:
    for wrong in ({"prefetch": 0}, {"exchange": "x" * 256}, {"rabbitmq_url": "http://host"}):
        arguments: dict[str, Any] = {"rabbitmq_url": broker.url, **wrong}
        with pytest.raises(Misconfigured):
            consume("order.placed", queue=QUEUE, **arguments)
    with pytest.raises(Misconfigured, match="1 to 255 bytes"):
        consume("order.placed", queue="", rabbitmq_url=broker.url)


def test_the_backoff_is_random_up_to_a_doubling_limit() -> None:
    retries = _retries()
    for failed, most in ((1, 0.5), (2, 1.0), (3, 2.0), (7, 30.0), (5000, 30.0)):
        pauses = [retries.pause(failed) for _ in range(200)]
        assert 0 <= min(pauses) < most / 4
        assert most * 3 / 4 < max(pauses) <= most


def _retries() -> Any:  # noqa: ANN401 - an inner class.
    return Consumer(queue=QUEUE)._retries  # noqa: SLF001 - the defaults of the signature.


@pytest.mark.parametrize(
    ("reported", "kept"),
    [
        ("amqps://me:p%40ss@host:5671/", "amqps://me:********@host:5671/"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ********"),
        ("{'password': 'x y', 'n': 1}", "{'password': ********, 'n': 1}"),
        ("API_KEY=12345&n=1", "API_KEY=********&n=1"),
        ("http://host/path@2 and user@host", "http://host/path@2 and user@host"),
    ],
)
def test_values_that_look_like_secrets_are_masked(reported: str, kept: str) -> None:
    assert masked(reported) == kept


def test_stop_can_be_called_before_the_consumer_runs() -> None:
    stop = _native.Stop()
    assert not stop.is_set()
    stop.set()
    assert stop.is_set()
