"""Replaying events from the command line and from Python."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest

from order_engine import InvalidInput, OrderEngine, ReplayProgress
from tests.python.support.legacy_consumer import Delivery
from tests.python.support.product_service import Product
from tests.python.support.shop import Shop
from tests.python.support.waiting import eventually

NOW = datetime.now(timezone.utc)


def names(deliveries: list[Delivery]) -> list[tuple[int, int]]:
    """Order and version of each message."""
    return [(each.body["order_id"], each.body["version"]) for each in deliveries]


def test_a_lost_queue_is_filled_again(shop: Shop) -> None:
    shop.offer(Product(1))
    placed = [shop.placed((1, 1)) for _ in range(3)]
    shop.ask(f'mutation {{ updateOrder(id: {placed[1]}, status: "Shipped") {{ success }} }}')
    shop.spy.wait_for(placed[2])
    shop.spy.wait_for(placed[1], version=2)
    first = list(shop.spy.received())
    assert [each.properties["headers"].get("x-replay") for each in first] == [None] * 4

    said = shop.server.command("events", "replay")
    assert "replayed 4 events in 4 messages" in said
    received = eventually(
        lambda: shop.spy.received() if len(shop.spy.received()) == 8 else [],
        "past events are replayed",
    )[4:]
    assert sorted(names(received)) == sorted(names(first))
    assert [version for order, version in names(received) if order == placed[1]] == [1, 2]
    texts = {each.properties["message_id"]: each.text for each in first}
    assert {each.properties["message_id"]: each.text for each in received} == texts
    assert all(each.properties["headers"]["x-replay"] is True for each in received)

    wanted = ("--order", str(placed[1]), "--order", str(placed[2]), "--since", "1h")
    reported = json.loads(shop.server.command("events", "replay", *wanted, "--dry-run", "--json"))
    assert (reported["events"], reported["messages"], reported["cursor"]) == (
        3,
        3,
        f"{placed[2]}:1",
    )
    nothing = shop.server.command("events", "replay", "--until", "2020-01-01T00:00Z")
    assert "replayed 0 events" in nothing
    assert len(shop.spy.received()) == 8


@pytest.fixture
def orders(database_url: str) -> str:
    """A database with forty placed orders, whose messages have been published."""
    with OrderEngine(database_url=database_url) as engine:
        engine.upsert_product("tea", name="Tea", price="7.25", quantity=100)
        engine.place_orders([(1, [("tea", 1)])] * 40)
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("delete from order_engine.outbox")
    return database_url


def test_a_program_replays_events(orders: str) -> None:
    with OrderEngine(database_url=orders) as engine:
        rehearsed = engine.events.replay(dry_run=True, since=timedelta(minutes=5))
        assert (rehearsed.events, rehearsed.messages, rehearsed.waiting) == (40, 40, 0)
        assert engine.events.replay(until=timedelta(minutes=5)).cursor is None
        some = engine.events.replay(order_ids=["1", 2], contract="flask")
        assert (some.events, some.messages, some.waiting, some.cursor) == (2, 2, 2, "2:1")
        assert some.until.utcoffset() == timedelta(0)
        copied = pickle.loads(pickle.dumps(some))  # noqa: S301 - made by the line itself.
        assert copied == some
        match some:
            case ReplayProgress(events=2, cursor=str(cursor)):
                rest = engine.events.replay(after=cursor, until=some.until, rate_per_s=10_000)
            case other:
                pytest.fail(f"no match: {other}")
        assert (rest.events, rest.messages, rest.waiting) == (38, 38, 40)
        assert engine.events.replay().messages == 0, "they wait already"
        assert {event.delivery for event in engine.events.tail(limit=100)} == {"waiting"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"contract": "nobody"},
        {"order_ids": []},
        {"order_ids": "12"},
        {"order_ids": [1.5]},
        {"since": "2h"},
        {"since": datetime(2026, 1, 1)},  # noqa: DTZ001 - what is refused.
        {"since": timedelta.max},
        {"since": NOW, "until": NOW},
        {"since": NOW + timedelta(days=1)},
        {"after": "yesterday"},
        {"after": 1},
        {"rate_per_s": 0},
        {"rate_per_s": 1.5},
    ],
)
def test_invalid_arguments_are_refused(database_url: str, wrong: dict[str, Any]) -> None:
    with OrderEngine(database_url=database_url) as engine, pytest.raises(InvalidInput):
        engine.events.replay(**wrong)


@pytest.mark.parametrize("option", ["--since=yesterday", "--since=9999999999d", "--until=2026-13"])
def test_an_unreadable_time_is_a_usage_error(option: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "order_engine", "events", "replay", option],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "2026-03-01T12:00" in done.stderr


def test_ctrl_c_prints_how_to_resume(orders: str, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with said.open("wb") as output:
        running = subprocess.Popen(
            [sys.executable, "-m", "order_engine", "events", "replay", "--rate", "10"],
            env=os.environ | {"DATABASE_URL": orders},
            stderr=output,
        )
    eventually(lambda: "messages unpublished" in said.read_text(), "it reports its progress")
    running.send_signal(signal.SIGINT)
    assert running.wait(20) != 0
    going_on = re.search(
        r"To resume, repeat the command with --after (\S+) --until (\S+)", said.read_text()
    )
    assert going_on, said.read_text()
    assert "Traceback" not in said.read_text()
    with psycopg.connect(orders) as database:
        reported = database.execute("select count(*) from order_engine.outbox").fetchone()
    assert reported is not None
    assert 0 < reported[0] < 40
    with OrderEngine(database_url=orders) as engine:
        until = datetime.fromisoformat(going_on[2])
        rest = engine.events.replay(after=going_on[1], until=until)
    # Events in progress at the interruption may have been published behind the cursor.
    assert rest.waiting == 40
