"""The package as a library: results, logging, documentation examples, supported Python versions."""

import asyncio
import copy
import dataclasses
import doctest
import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from flask import Flask, jsonify

import order_engine
from order_engine import (
    Check,
    HistoryEntry,
    InvalidInput,
    NotFound,
    Order,
    OrderEngine,
    OrderLine,
    OrderPage,
    OrderStatus,
    ProductNotFound,
    async_engine,
    engine,
    json_default,
    serialization,
)
from tests.python.support.waiting import eventually

ROOT = Path(__file__).parents[3]
PACKAGE = Path(order_engine.__file__).parents[1]
PYTHONS = sorted(
    (Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions").glob(
        "3.1[0-9]*/bin/python"
    )
)

# Imports the package, and uses both engines.
ROUND_TRIP = """
import asyncio
from order_engine import AsyncOrderEngine, OrderEngine

with OrderEngine() as engine:
    engine.upsert_product("tea", name="Tea", price="7.25", quantity=10)
    order = engine.place_order(user_id=1, lines=[("tea", 2)])

async def main():
    async with AsyncOrderEngine() as engine:
        same, *_ = await asyncio.gather(*(engine.get_order(order.id) for _ in range(100)))
        assert same == order
        print(same.total, same.status)

asyncio.run(main())
"""


class Line(NamedTuple):
    product_id: str
    quantity: int


@dataclasses.dataclass(frozen=True)
class Wanted:
    user_id: int
    lines: tuple[Line, ...]


@pytest.fixture
def shop(database_url: str) -> Iterator[OrderEngine]:
    """An engine with a product in stock."""
    with OrderEngine(database_url=database_url) as opened:
        opened.upsert_user(7, username="a", address="1 Street")
        opened.upsert_product("tea", name="Tea", price=Decimal("7.25"), quantity=10)
        yield opened


@pytest.fixture
def results(shop: OrderEngine) -> list[Any]:
    """One result of every type."""
    order = shop.place_order(user_id=7, lines=[("tea", 2)])
    return [
        order,
        order.lines[0],
        shop.list_orders(),
        *shop.order_history(order.id),
        *shop.events.tail(),
        *shop.health(),
        shop.get_product("tea"),
        shop.get_user(7),
    ]


def test_results_are_immutable_values(results: list[Any]) -> None:
    for result in results:
        copied = pickle.loads(pickle.dumps(result))  # noqa: S301 - made by the line itself.
        for same in (copied, copy.copy(result), copy.deepcopy(result)):
            assert same == result
            assert hash(same) == hash(result)
            assert type(same) is type(result)
        # As a program without type checks would.
        with pytest.raises(AttributeError):
            setattr(result, type(result).__match_args__[0], 1)
        with pytest.raises(AttributeError):
            result.something_else = 1
        assert repr(result).startswith(f"{type(result).__name__}({result.__match_args__[0]}=")
    assert len(set(results)) == len(results)


def test_results_have_precise_types(results: list[Any]) -> None:
    order = results[0]
    assert isinstance(order, Order)
    assert order.total == Decimal("14.50")
    assert isinstance(order.total, Decimal)
    assert order.created_at.utcoffset() == timedelta(0)
    assert order.status == "pending"
    assert order.status is OrderStatus.PENDING
    assert f"{order.status}" == "pending"
    entry = next(result for result in results if isinstance(result, HistoryEntry))
    assert (entry.previous_status, entry.status) == (None, OrderStatus.PENDING)


def test_results_support_pattern_matching(results: list[Any]) -> None:
    match results[0]:
        case Order(status=OrderStatus.PENDING, lines=(OrderLine(_, "tea", name, quantity),)):
            assert (name, quantity) == ("Tea", 2)
        case other:
            pytest.fail(f"no match: {other}")


def test_results_become_dicts_and_json(results: list[Any]) -> None:
    page = next(result for result in results if isinstance(result, OrderPage))
    [order] = page.to_dict()["orders"]
    assert order["lines"][0]["unit_price"] == Decimal("7.25")
    assert isinstance(order["created_at"], datetime)
    assert order["status"] is OrderStatus.PENDING
    written = json.loads(json.dumps(page.to_dict(), default=str))
    assert written["orders"][0]["total"] == "14.50"
    assert written["orders"][0]["status"] == "pending"


def test_results_are_dataclasses_and_json(results: list[Any]) -> None:
    for result in results:
        assert dataclasses.is_dataclass(type(result))
        fields = dataclasses.asdict(result)
        assert list(fields) == list(type(result).__match_args__) == list(result.to_dict())
        assert dataclasses.replace(result) == result
        assert json.loads(json.dumps(result, default=json_default))
        with Flask(__name__).app_context():
            assert set(jsonify(result).get_json()) == set(fields)
    order = json.loads(json.dumps(results[0], default=json_default))
    assert order["total"] == "14.50"
    assert order["lines"][0]["unit_price"] == "7.25"
    assert datetime.fromisoformat(order["created_at"]) == results[0].created_at
    with pytest.raises(TypeError, match="object"):
        json.dumps(object(), default=json_default)


def test_users_can_construct_results_in_their_tests() -> None:
    check = Check(name="postgresql", ok=True, detail="", remedy=None)
    assert check.to_dict() == {"name": "postgresql", "ok": True, "detail": "", "remedy": None}
    assert HistoryEntry.__match_args__[0] == "version"


def test_rows_can_be_any_mapping_or_object(shop: OrderEngine) -> None:
    answers = shop.place_orders(
        [
            (7, [("tea", 1)]),
            ("7", [Line("tea", 1)], "k"),
            {"user_id": 7, "lines": [{"productId": "tea", "quantity": 1}]},
            Wanted(7, (Line("tea", 1),)),
            "nonsense",  # type: ignore[list-item]
            (7, "tea"),  # type: ignore[list-item]
            (7, [("coffee", 1)]),
        ]
    )
    kinds = [type(answer) for answer in answers]
    assert kinds[:6] == [Order] * 4 + [InvalidInput] * 2
    assert isinstance(answers[6], NotFound)
    assert shop.place_orders([]) == []
    with pytest.raises(InvalidInput, match="rows"):
        shop.place_orders("rows")  # type: ignore[arg-type]


def test_more_rows_than_the_queue_holds_are_placed(shop: OrderEngine) -> None:
    shop.set_stock("tea", 10_000)
    answers = shop.place_orders([(7, [("tea", 1)])] * 9000)
    assert all(isinstance(answer, Order) for answer in answers)


@pytest.mark.parametrize("price", ["NaN", "1e15", -1, "0.00001", "x", True, None, 1e300, "1e-40"])
def test_a_price_out_of_range_is_refused(shop: OrderEngine, price: Any) -> None:  # noqa: ANN401
    with pytest.raises(InvalidInput):
        shop.upsert_product("tea", name="Tea", price=price)


def test_users_products_and_stock_are_stored(shop: OrderEngine) -> None:
    shop.upsert_product("tea", name="Green tea", price=0.3, quantity=99)
    shop.upsert_user("7", address="2 Street")
    order = shop.place_order(user_id=7, lines=[("tea", 10)])
    assert (order.lines[0].name, order.total, order.address) == (
        "Green tea",
        Decimal("3.0"),
        "2 Street",
    )
    # The product service has subtracted the order, and received other goods.
    shop.set_stock("tea", 0)
    shop.set_stock("tea", 5)
    shop.place_order(user_id=7, lines=[("tea", 5)])
    with pytest.raises(InvalidInput):
        shop.set_stock("tea", -1)


def test_a_product_shows_its_available_stock(shop: OrderEngine) -> None:
    shop.place_order(user_id=7, lines=[("tea", 4)])
    tea = shop.get_product("tea")
    assert (tea.product_id, tea.name, tea.price, tea.currency) == (
        "tea",
        "Tea",
        Decimal("7.25"),
        "USD",
    )
    assert isinstance(tea.price, Decimal)
    assert (tea.reported, tea.reserved, tea.available) == (10, 4, 6)
    assert tea.updated_at.utcoffset() == timedelta(0)
    # The product service has subtracted more than the order.
    shop.set_stock("tea", 3)
    tea = shop.get_product("tea")
    assert (tea.reported, tea.reserved, tea.available) == (3, 0, 3)


def test_a_product_without_a_price_or_stock_can_be_read(shop: OrderEngine) -> None:
    shop.set_stock(5, 12)
    unpriced = shop.get_product(5)
    assert (unpriced.product_id, unpriced.name, unpriced.price) == ("5", None, None)
    assert (unpriced.reported, unpriced.available) == (12, 12)
    assert unpriced.to_dict()["price"] is None
    shop.upsert_product("6", name="Pot", price="1")
    uncounted = shop.get_product("6")
    assert (uncounted.reported, uncounted.reserved, uncounted.available) == (None, 0, 0)


def test_a_user_has_the_fields_that_are_known(shop: OrderEngine) -> None:
    shop.upsert_user("7", email="a@b.c")
    user = shop.get_user(7)
    assert (user.user_id, user.username, user.email, user.address, user.contact) == (
        "7",
        "a",
        "a@b.c",
        "1 Street",
        None,
    )
    assert user.updated_at.utcoffset() == timedelta(0)


def test_unknown_ids_are_not_found(shop: OrderEngine) -> None:
    with pytest.raises(ProductNotFound) as product:
        shop.get_product("nothing")
    assert product.value.product_id == "nothing"
    with pytest.raises(NotFound, match="nobody") as user:
        shop.get_user("nobody")
    assert type(user.value) is NotFound
    for wrong in ("", None, 1.5, "x\0"):
        with pytest.raises(InvalidInput):
            shop.get_product(wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput):
            shop.get_user(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "cup", "name": "Cup", "price": 2.5, "quantity": 1}',
        '{"id": "cup", "name": "Cup", "price": 2.5, "quantity": 1}',
        {"id": "cup", "name": "Cup", "price": 2.5, "quantity": 1},
    ],
)
def test_a_consumer_passes_its_message_to_the_engine(shop: OrderEngine, body: Any) -> None:  # noqa: ANN401
    shop.apply_event("product.created", body)
    assert shop.place_order(user_id=7, lines=[("cup", 1)]).total == Decimal("2.5")


@pytest.mark.parametrize("body", [b"\xff", "{", {"id": "cup"}, {"id": {1, 2}}])
def test_an_invalid_message_changes_nothing(
    shop: OrderEngine,
    body: Any,  # noqa: ANN401
) -> None:
    with pytest.raises(InvalidInput):
        shop.apply_event("product.created", body)
    with pytest.raises(InvalidInput, match=r"nobody\.knows"):
        shop.apply_event("nobody.knows", "{}")


def test_records_arrive_in_logging(
    database_url: str, caplog: pytest.LogCaptureFixture, empty_database_url: str
) -> None:
    caplog.set_level(logging.INFO, "order_engine")
    OrderEngine(database_url=empty_database_url).open().close()

    def found() -> list[logging.LogRecord]:
        return [record for record in caplog.records if "migration" in record.getMessage()]

    record = eventually(found, "the migration is logged")[0]
    assert (record.name, record.levelname) == ("order_engine.app", "INFO")
    assert abs(record.created - datetime.now().astimezone().timestamp()) < 60

    caplog.set_level(logging.ERROR, "order_engine")
    caplog.clear()
    with OrderEngine(database_url=database_url) as opened:
        opened.health()
    caplog.set_level(logging.INFO, "order_engine")
    OrderEngine(database_url=database_url).open().close()
    eventually(lambda: caplog.records, "the record of the third engine")
    assert len(caplog.records) == 1, "the second one's level was ERROR"


def test_the_examples_of_the_documentation_run(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    for module in (engine, async_engine, serialization):
        result = doctest.testmod(
            module, extraglobs={"OrderEngine": OrderEngine, "asyncio": asyncio}
        )
        assert result.attempted > 0, module
        assert result.failed == 0, module


@pytest.mark.skipif(not PYTHONS, reason="no other Python is installed with pyenv")
@pytest.mark.parametrize("python", PYTHONS, ids=lambda python: python.parts[-3])
def test_every_python_from_3_10_on_can_use_it(python: Path, database_url: str) -> None:
    # No dependencies: only the command needs click.
    done = subprocess.run(
        [python, "-c", ROUND_TRIP],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGE), "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "14.50 pending\n"), done.stderr


def test_the_generated_files_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.generate_python", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_stub_matches_the_native_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "order_engine._native"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_dead_letters_can_be_retried_and_skipped(shop: OrderEngine, database_url: str) -> None:
    order = shop.place_order(user_id=7, lines=[("tea", 1)])
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(
            "update order_engine.outbox set dead_lettered_at = now(), last_error = 'no'"
        )
    [message] = shop.events.dead_letters()
    assert (message.order_id, message.reason, message.direction) == (order.id, "no", "outgoing")
    assert pickle.loads(pickle.dumps(message)) == message  # noqa: S301 - made by the line itself.
    assert shop.events.retry([message.id]) == 1
    assert shop.events.dead_letters() == []
    with pytest.raises(NotFound):
        shop.events.skip([message.id])
    with pytest.raises(InvalidInput):
        shop.events.skip("12")  # type: ignore[arg-type]
