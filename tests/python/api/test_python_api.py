"""`OrderEngine` on a real database: methods, arguments, exceptions, and behaviour."""

import dataclasses
import json
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest

import order_engine
from order_engine import (
    IdempotencyMismatch,
    InvalidInput,
    InvalidTransition,
    Misconfigured,
    NotFound,
    Order,
    OrderEngine,
    OrderStatus,
    OutOfStock,
    ProductNotFound,
    Unavailable,
)
from tests.python.support.waiting import eventually

SECRET = "a secret of sufficient length for HS256"
STOCK = 10**6


@pytest.fixture
def products(database_url: str) -> str:
    """A database with two products: `1` at 9.50, and `mug` at 0.10 with three in stock."""
    with psycopg.connect(database_url) as database:
        database.execute(
            "insert into order_engine.products"
            " (product_id, name, price, currency, reported, updated_at) values"
            " ('1', 'Mug', 9.5, 'USD', %s, now()), ('mug', 'Pin', 0.1, 'USD', 3, now())",
            (STOCK,),
        )
    return database_url


@pytest.fixture
def engine(products: str) -> Iterator[OrderEngine]:
    with OrderEngine(database_url=products, jwt_secret_key=SECRET) as opened:
        yield opened


@dataclasses.dataclass(frozen=True)
class Line:
    product_id: str
    quantity: int


def test_an_order_is_placed_and_typed(engine: OrderEngine) -> None:
    order = engine.place_order(user_id=1, lines=[("1", 2), ("mug", 3)])
    assert (order.user_id, order.status, order.currency) == ("1", OrderStatus.PENDING, "USD")
    assert (order.total, order.version, order.address) == (Decimal("19.30"), 1, None)
    assert isinstance(order.total, Decimal)
    assert [
        (line.product_id, line.name, line.quantity, line.unit_price) for line in order.lines
    ] == [("1", "Mug", 2, Decimal("9.5")), ("mug", "Pin", 3, Decimal("0.1"))]
    assert order.created_at.tzinfo is not None
    assert abs(datetime.now(timezone.utc) - order.created_at) < timedelta(minutes=1)
    assert engine.get_order(order.id) == order
    assert engine.get_order(str(order.id), user_id="1") == order
    with pytest.raises(AttributeError):
        order.status = OrderStatus.SHIPPED  # type: ignore[misc]


@pytest.mark.parametrize(
    "item",
    [
        ("1", 2),
        [1, 2],
        {"product_id": 1, "quantity": 2},
        {"productId": "1", "quantity": 2},
        Line("1", 2),
    ],
)
def test_lines_can_be_given_in_several_forms(engine: OrderEngine, item: Any) -> None:  # noqa: ANN401
    order = engine.place_order(user_id="1", lines=iter([item]))
    assert [(line.product_id, line.quantity) for line in order.lines] == [("1", 2)]


@pytest.mark.parametrize(
    "arguments",
    [
        {"lines": []},
        {"lines": [("1", 0)]},
        {"lines": [("1", -1)]},
        {"lines": [("1", 2**31)]},
        {"lines": [("1", 2**70)]},
        {"lines": [("1", 1.5)]},
        {"lines": [("1", "2")]},
        {"lines": [("1", True)]},
        {"lines": [("1",)]},
        {"lines": ["12"]},
        {"lines": {"1": 2}},
        {"lines": None},
        {"lines": [("", 1)]},
        {"lines": [("x\0", 1)]},
        {"lines": [("\ud800", 1)]},
        {"lines": [("x" * 200, 1)]},
        {"user_id": ""},
        {"user_id": None},
        {"user_id": 1.0},
        {"idempotency_key": ""},
        {"idempotency_key": "x" * 300},
        {"idempotency_key": 5},
    ],
)
def test_invalid_arguments_are_refused_and_write_nothing(
    engine: OrderEngine, arguments: dict[str, Any]
) -> None:
    usual: dict[str, Any] = {"user_id": 1, "lines": [("1", 1)]}
    with pytest.raises(InvalidInput) as refused:
        engine.place_order(**(usual | arguments))
    assert refused.value.message
    assert not refused.value.retryable
    assert engine.list_orders().orders == ()


def test_exceptions_carry_the_data_to_act_on(engine: OrderEngine) -> None:
    with pytest.raises(ProductNotFound) as unknown:
        engine.place_order(user_id=1, lines=[("1", 1), ("nothing", 1)])
    assert unknown.value.product_id == "nothing"
    assert isinstance(unknown.value, NotFound)
    with pytest.raises(OutOfStock) as short:
        engine.place_order(user_id=1, lines=[("mug", 2), ("mug", 2)])
    assert (short.value.product_id, short.value.available) == ("mug", 3)
    order = engine.place_order(user_id=1, lines=[("1", 1)])
    with pytest.raises(InvalidTransition) as impossible:
        engine.change_status(order.id, "delivered")
    assert impossible.value.current == OrderStatus.PENDING
    assert impossible.value.requested == OrderStatus.DELIVERED
    assert set(impossible.value.allowed) == {"confirmed", "shipped", "cancelled"}
    with pytest.raises(NotFound):
        engine.get_order(order.id, user_id=2)
    for number in (order.id + 1, 0, -1):
        with pytest.raises(NotFound):
            engine.get_order(number)
    for wrong in ("x", 1.5, None, 2**70, "1 "):
        with pytest.raises(InvalidInput):
            engine.get_order(wrong)  # type: ignore[arg-type]


def test_the_history_lists_every_status_change(engine: OrderEngine) -> None:
    order = engine.place_order(user_id=1, lines=[("1", 1)])
    shipped = engine.change_status(order.id, "SHIPPED")
    assert (shipped.status, shipped.version) == (OrderStatus.SHIPPED, 2)
    assert engine.change_status(order.id, OrderStatus.SHIPPED) == shipped, "changes nothing"
    with pytest.raises(InvalidTransition):
        engine.cancel_order(order.id)
    with pytest.raises(InvalidInput):
        engine.change_status(order.id, "lost")
    history = engine.order_history(order.id)
    assert [
        (entry.version, entry.action, entry.previous_status, entry.status) for entry in history
    ] == [(1, "placed", None, "pending"), (2, "updated", "pending", "shipped")]
    assert {entry.actor for entry in history} == {"system"}


def test_the_history_names_actor_and_reason(engine: OrderEngine) -> None:
    order = engine.place_order(user_id="1", lines=[("1", 1)], actor="shop:web")
    engine.change_status(order.id, "confirmed", reason="paid", actor="billing")
    engine.cancel_order(order.id, reason="changed my mind", actor=17)
    engine.delete_order(order.id, actor="cleanup")
    with pytest.raises(InvalidInput, match="actor"):
        engine.cancel_order(order.id, actor="")
    rows = engine.place_orders([("1", [("1", 1)])], actor="import")
    assert isinstance(rows[0], order_engine.Order)
    assert [entry.actor for entry in engine.order_history(rows[0].id)] == ["import"]
    other = engine.place_order(user_id="1", lines=[("1", 1)], actor="shop:web")
    engine.change_status(other.id, "confirmed", reason="paid", actor="billing")
    engine.cancel_order(other.id, reason="changed my mind", actor=17)
    assert [(entry.actor, entry.reason) for entry in engine.order_history(other.id)] == [
        ("shop:web", None),
        ("billing", "paid"),
        ("17", "changed my mind"),
    ]


def hex_id(order: Order) -> str:
    """The id that customers of `jobs`, `gateway`, `stock` and `storefront` see."""
    return f"{int(order.created_at.timestamp()):08x}{order.id:016x}"


def test_section_4_orders_are_found_by_the_hex_id_that_customers_see(engine: OrderEngine) -> None:
    """Every operation that names an order takes its 24 hex digits."""
    order = engine.place_order(user_id=1, lines=[("1", 1)])
    name = hex_id(order)
    assert engine.get_order(name) == order
    assert engine.get_order(name.upper(), user_id=1) == order
    assert engine.change_status(name, "confirmed").id == order.id
    assert engine.cancel_order(name).status == OrderStatus.CANCELLED
    assert len(engine.order_history(name)) == 3
    assert [event.version for event in engine.events.tail(order_id=name)] == [1, 2, 3]
    assert engine.events.replay(order_ids=[name], dry_run=True).events == 3
    engine.delete_order(name)

    wrong_second = f"{int(name[:8], 16) + 1:08x}{name[8:]}"
    for call in (engine.get_order, engine.order_history, engine.delete_order):
        with pytest.raises(NotFound, match=wrong_second):
            call(wrong_second)
    for named in (wrong_second, 10**9):
        with pytest.raises(NotFound):
            engine.events.tail(order_id=named)
        with pytest.raises(NotFound):
            engine.events.replay(order_ids=[order.id, named])
    with pytest.raises(InvalidInput, match="a number or 24 hex digits"):
        engine.get_order("order 7")


def test_section_4_a_deleted_order_has_a_history_with_the_reason(engine: OrderEngine) -> None:
    """What happened to an order can be read after its deletion."""
    order = engine.place_order(user_id=1, lines=[("1", 1)])
    engine.delete_order(order.id, reason="entered twice", actor="ada")
    with pytest.raises(NotFound):
        engine.get_order(order.id)
    for name in (order.id, hex_id(order)):
        last = engine.order_history(name)[-1]
        assert (last.action, last.actor, last.reason) == ("deleted", "ada", "entered twice")
    with pytest.raises(InvalidInput):
        engine.delete_order(order.id, reason="x" * 501)


def test_section_4_a_misspelled_setting_is_suggested() -> None:
    """`Databse_url=`."""
    with pytest.raises(Misconfigured, match="Did you mean database_url"):
        OrderEngine(databse_url="postgresql://localhost/shop")  # type: ignore[call-arg]


def test_amounts_have_one_scale_however_an_order_is_read(engine: OrderEngine) -> None:
    placed = engine.place_order(user_id="1", lines=[("1", 2), ("mug", 3)])
    for order in (placed, engine.get_order(placed.id), engine.list_orders().orders[0]):
        assert str(order.total) == "19.30"
        assert [str(line.unit_price) for line in order.lines] == ["9.50", "0.10"]


def test_cancelling_and_deleting_release_the_stock(engine: OrderEngine) -> None:
    for end in (engine.cancel_order, engine.delete_order):
        order = engine.place_order(user_id=1, lines=[("mug", 3)])
        with pytest.raises(OutOfStock):
            engine.place_order(user_id=1, lines=[("mug", 1)])
        end(order.id)
    with pytest.raises(NotFound):
        engine.get_order(order.id)
    order = engine.place_order(user_id=1, lines=[("mug", 3)])
    with pytest.raises(InvalidInput):
        engine.cancel_order(order.id, reason="x" * 501)
    assert engine.cancel_order(order.id, reason="zu spät").status == OrderStatus.CANCELLED
    assert engine.order_history(order.id)[-1].reason == "zu spät"


def test_paging_returns_every_order_once(engine: OrderEngine) -> None:
    placed = [engine.place_order(user_id=n % 3, lines=[("1", 1)]).id for n in range(25)]
    engine.cancel_order(placed[0])
    newest_first = placed[::-1]
    assert [order.id for order in engine.iter_orders(page_size=7)] == newest_first
    page = engine.list_orders(limit=10)
    assert [order.id for order in page.orders] == newest_first[:10]
    behind = engine.list_orders(limit=100, cursor=page.next_cursor)
    assert [order.id for order in behind.orders] == newest_first[10:]
    assert behind.next_cursor is None
    own = list(engine.iter_orders(user_id=0, status="Pending"))
    assert [order.id for order in own] == [n for n in newest_first if n in placed[3::3]]
    refused: list[dict[str, Any]] = [{"limit": n} for n in (0, 101, 1.5)]
    refused += [{"status": "x"}, {"cursor": "x"}]
    for wrong in refused:
        with pytest.raises(InvalidInput):
            engine.list_orders(**wrong)


def test_an_idempotency_key_makes_a_retry_safe(engine: OrderEngine) -> None:
    first = engine.place_order(user_id=1, lines=[("1", 1)], idempotency_key="k")
    assert engine.place_order(user_id=1, lines=[("1", 1)], idempotency_key="k") == first
    with pytest.raises(IdempotencyMismatch):
        engine.place_order(user_id=1, lines=[("1", 2)], idempotency_key="k")
    with ThreadPoolExecutor(20) as pool:
        orders = list(
            pool.map(
                lambda _: engine.place_order(user_id=1, lines=[("1", 1)], idempotency_key="t"),
                range(50),
            )
        )
    assert len({order.id for order in orders}) == 1


def test_graphql_without_http(engine: OrderEngine) -> None:
    token = jwt.encode({"user_id": 1, "exp": int(time.time()) + 60}, SECRET)
    query = """
        mutation Q($n: Int!) {
            placeOrder(userId: 1, productId: 1, quantity: $n) { order { id } }
        }
    """
    placed = engine.execute(query, {"n": 2}, "Q", token)
    order_id = int(placed["data"]["placeOrder"]["order"]["id"])
    assert engine.get_order(order_id).lines[0].quantity == 2
    answer = engine.execute("{ getOrders { id } }")
    assert answer["data"] == {"getOrders": None}
    assert answer["errors"][0]["message"] == "Authorization header missing."
    assert set(engine.execute("{")) == {"errors"}
    for wrong in ({"n": float("nan")}, {"n": object()}, [1], {"n": {1, 2}}):
        with pytest.raises(InvalidInput):
            engine.execute(query, wrong)  # type: ignore[arg-type]


def test_health_lists_the_components(engine: OrderEngine) -> None:
    (part,) = engine.health()
    assert (part.name, part.ok, part.remedy) == ("postgresql", True, None)


def test_closing_twice_is_allowed_and_later_calls_raise(products: str) -> None:
    engine = OrderEngine(database_url=products)
    engine.close()
    engine.close()
    with pytest.raises(Unavailable, match="close"):
        engine.get_order(1)


def test_all_wrong_settings_are_reported_together() -> None:
    with pytest.raises(Misconfigured) as wrong:
        OrderEngine(database_url="mysql://x", access="nobody", lines_max=0, nonsense=1)  # type: ignore[call-arg]
    reported = wrong.value.message
    for name in ("database_url", "access", "lines_max", "nonsense"):
        assert name in reported
    assert len(wrong.value.problems) == 4


def test_an_unreachable_database_is_named_without_its_password() -> None:
    with pytest.raises(Unavailable) as away:
        OrderEngine(database_url="postgresql://me:hunter2@127.0.0.1:1/shop").open()
    assert "127.0.0.1:1" in away.value.message
    assert "hunter2" not in str(away.value) + repr(away.value) + str(away.value.context)
    assert away.value.retryable


def test_calls_release_the_gil(engine: OrderEngine, products: str) -> None:
    with psycopg.connect(products) as blocker:
        blocker.execute("lock table order_engine.orders in exclusive mode")
        thread = threading.Thread(
            target=engine.place_order, kwargs={"user_id": 1, "lines": [("1", 1)]}
        )
        thread.start()
        # This thread runs while the other one is in the engine.
        assert thread.is_alive()
        blocker.rollback()
        thread.join(20)
    assert not thread.is_alive()
    assert len(engine.list_orders().orders) == 1


def script(text: str, *arguments: str) -> subprocess.Popen[str]:
    """Runs Python code in a separate process."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_forked_process_can_open_its_own_engine(products: str) -> None:
    running = script(
        """
        import json, os, sys, threading
        from order_engine import OrderEngine, OrderEngineError
        engine = OrderEngine(database_url=sys.argv[1])
        closed = OrderEngine(database_url=sys.argv[1]).open()
        closed.close()
        engine.place_order(user_id=1, lines=[("1", 1)])
        child = os.fork()
        if child == 0:
            first = []
            threads = [
                threading.Thread(target=lambda: first.append(engine.get_order(1).user_id))
                for _ in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            order = engine.place_order(user_id=2, lines=[("1", 1)])
            try:
                closed.get_order(1)
                told = "it worked"
            except OrderEngineError as error:
                told = f"{type(error).__name__}: {error}"
            print(json.dumps([first, order.user_id, told]), flush=True)
            engine.close()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        assert engine.place_order(user_id=3, lines=[("1", 1)]).user_id == "3"
        engine.close()
        """,
        products,
    )
    output, errors = running.communicate(timeout=30)
    assert running.returncode == 0, errors
    first, user_id, reported = json.loads(output)
    assert first == ["1"] * 8
    assert user_id == "2"
    assert reported == "Unavailable: This engine is closed. Open a new one."


def test_ctrl_c_interrupts_a_waiting_call(products: str) -> None:
    with psycopg.connect(products) as blocker:
        blocker.execute("lock table order_engine.orders in exclusive mode")
        running = script(
            """
            import sys
            from order_engine import OrderEngine
            engine = OrderEngine(database_url=sys.argv[1]).open()
            print("open", flush=True)
            try:
                engine.place_order(user_id=1, lines=[("1", 1)])
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            """,
            products,
        )
        assert running.stdout is not None
        assert running.stdout.readline() == "open\n"
        with psycopg.connect(products, autocommit=True) as looking:
            eventually(
                lambda: looking.execute(
                    "select from pg_stat_activity where wait_event_type = 'Lock'"
                    " and datname = current_database()"
                ).fetchall(),
                "the call waits",
            )
        began = time.monotonic()
        running.send_signal(signal.SIGINT)
        assert running.stdout.readline() == "interrupted\n"
        assert time.monotonic() - began < 2
        blocker.rollback()
    running.communicate(timeout=30)
    assert running.returncode == 0


@pytest.mark.parametrize("ending", ["", "del engine", "engine.close()", "raise SystemExit(0)"])
def test_a_program_exits_in_whatever_state_it_leaves_its_engine(products: str, ending: str) -> None:
    running = script(
        f"""
        import sys, threading
        from order_engine import OrderEngine
        engine = OrderEngine(database_url=sys.argv[1])
        for n in range(5):
            place = lambda: engine.place_order(user_id=1, lines=[("1", 1)])
            threading.Thread(target=place, daemon=True).start()
        engine.place_order(user_id=1, lines=[("1", 1)])
        {ending}
        """,
        products,
    )
    output, errors = running.communicate(timeout=30)
    assert (running.returncode, output) == (0, ""), errors
    # An aborted thread may log it; interpreter and core must not report an error.
    assert not re.search("Fatal|panic|Aborted|Segmentation", errors), errors


def examples() -> list[str]:
    """The examples of the public docstrings, run as written."""
    lines = (order_engine.__doc__ or "").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("from "))
    return ["\n".join(lines[start:])]


@pytest.mark.parametrize("example", examples())
def test_the_example_of_the_documentation_runs(
    example: str, products: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", products)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)  # noqa: S102 - it is the documentation.
    assert names["order"].total == 19
