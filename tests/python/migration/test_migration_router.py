"""The migration router: routing of operations, dry runs and recorded differences."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from click.testing import CliRunner
from flask import Flask
from werkzeug.test import TestResponse

from order_engine import OrderEngine, _native
from order_engine.cli import cli
from order_engine.flask import OrderEngineExtension
from tests.python.support.legacy_service import LegacyService
from tests.python.support.migrating_app import ANSWERED_BY, OWN, OWN_CODE, add_routes
from tests.python.support.shop import WRITTEN
from tests.python.support.waiting import eventually
from tests.services import PostgreSQL, Workspace
from tests.services.ports import free_port

SECRET = "a secret that is long enough to sign with"
ALL_ORDERS = "{ allOrders { success orders { id user_id total_amount } } }"
ORDER = "{ order(id: 1) { success message } }"
CREATE = """mutation {
    createOrder(user_id: 1, order_items: [{product_id: 1, quantity: 2}]) {
        success message orders { id user_id total_amount items { product_id quantity } }
    }
}"""
# The response of the application's own handler while it does nothing.
CREATED = json.dumps(
    {
        "data": {
            "createOrder": {
                "success": True,
                "message": "Order created successfully.",
                "orders": [
                    {
                        "id": "77",
                        "user_id": 1,
                        "total_amount": 19.0,
                        "items": [{"product_id": 1, "quantity": 2}],
                    }
                ],
            }
        }
    }
)
OUTCOMES = ("matched", "differed", "unsettled", "failed", "skipped")
# How soon every process must follow a switch; a busy machine gets twice that.
FOLLOWS_S = 2.0
# What a client may notice at most of an engine that is in trouble.
UNNOTICED_S = 1.0
SET = """
    insert into order_engine.routing_rules (operation, stage, percent, users)
    values (%s, %s, %s, %s)
    on conflict (operation) do update
    set stage = excluded.stage, percent = excluded.percent, users = excluded.users
"""
Make = Callable[..., "Moving"]


class Moving:
    """An app that is moving over, and its operator."""

    def __init__(self, url: str, app: Flask, **extension: Any) -> None:  # noqa: ANN401
        self.database_url = url
        self.flags = {"database_url": url}
        settings = {
            "database_url": url,
            "jwt_secret_key": SECRET,
            "database_connections": 4,
            "access": "any-valid-token",
            "relay": False,
            **extension,
        }
        self.app = app
        self._flips = False
        OrderEngineExtension(app, **settings)

    def ask(
        self,
        query: str,
        *,
        user: int | str = 1,
        own_code: str = "",
        headers: dict[str, str] | None = None,
    ) -> TestResponse:
        """Sends a request as a user."""
        named = {"Authorization": f"Bearer {token(user)}", OWN_CODE: own_code, **(headers or {})}
        return self.app.test_client().post("/graphql", json={"query": query}, headers=named)

    def is_own(self, query: str, *, user: int | str = 1, own_code: str = "") -> bool:
        """Whether the app's own code answers."""
        return is_own(self.ask(query, user=user, own_code=own_code))

    def switch(
        self,
        operation: str | None,
        stage: str | None,
        percent: int | None = None,
        users: tuple[int, ...] = (),
    ) -> None:
        """Sets a stage, of all operations without a name; returns when this process follows."""
        # A second rule, set by the same command and used only here, shows when it applies.
        self._flips = not self._flips
        sentinel = "engine" if self._flips else "legacy"
        with psycopg.connect(self.database_url) as database:
            database.execute(SET, ("sentinel", sentinel, None, []))
            database.execute(SET, (operation or "*", stage, percent, [str(user) for user in users]))
        eventually(
            lambda: self.is_own("{ sentinel }", own_code="{}") != self._flips,
            "the process follows the switches",
        )

    def counts(self, operation: str | None = None) -> Counter[str]:
        """What became of shadowed requests."""
        counted: Counter[str] = Counter()
        for counts in _native.shadow_report(self.flags, operation, 1).counts:
            counted.update({outcome: getattr(counts, outcome) for outcome in OUTCOMES})
        return +counted

    def judged(self, count: int, operation: str | None = None) -> Counter[str]:
        """Waits until so many shadowed requests are judged and written down."""
        eventually(lambda: self.counts(operation).total() >= count, f"{count} requests are judged")
        return self.counts(operation)

    def command(self, *arguments: str, exit_code: int = 0) -> str:
        """Types an `order-engine` command."""
        env = {"DATABASE_URL": self.database_url}
        done = CliRunner().invoke(cli, arguments, env=env)
        assert done.exit_code == exit_code, done.output
        return done.output

    def close(self) -> None:
        """Closes the engine, if it was opened."""
        self.app.extensions["order_engine"].engine.close()


def token(user: int | str, **claims: object) -> str:
    usual = {"user_id": user, "exp": int(time.time()) + 600}
    return jwt.encode(usual | claims, SECRET, algorithm="HS256")


def digest(database: psycopg.Connection[Any]) -> list[Any]:
    """What a request about orders could have written."""
    statements = (WRITTEN, "select count(*) from outbox")
    return [database.execute(statement.encode()).fetchall() for statement in statements]


def is_own(answer: TestResponse) -> bool:
    return answer.headers.get(ANSWERED_BY) == OWN


def stock(database_url: str) -> None:
    """Offers product 1 at 9.50."""
    with OrderEngine(database_url=database_url, database_connections=4, relay=False) as engine:
        engine.upsert_product(1, name="Mug", price="9.50", quantity=1_000_000)


@pytest.fixture
def make(database_url: str) -> Iterator[Make]:
    """Creates applications that are being migrated: `make(migration_stage="legacy")`."""
    stock(database_url)
    made: list[Moving] = []

    def make_one(**extension: Any) -> Moving:  # noqa: ANN401
        app = Flask(f"moving_{len(made)}")
        add_routes(app)
        made.append(Moving(database_url, app, **extension))
        return made[-1]

    yield make_one
    for one in made:
        one.close()


@pytest.fixture
def moving(make: Make) -> Moving:
    """An app whose own code answers what is not switched."""
    return make(migration_stage="legacy")


def is_running_until(answers: list[tuple[float, bool]], until: float) -> Callable[[], bool]:
    return lambda: bool(answers) and answers[-1][0] > until


# --- routing -----------------------------------------------------------------------------------


def test_each_operation_follows_its_routing_rule(moving: Moving) -> None:
    assert moving.is_own(ALL_ORDERS)
    moving.switch("order", "engine")
    assert not moving.is_own(ORDER)
    assert moving.is_own(ALL_ORDERS)
    moving.switch("order", "shadow")
    assert moving.is_own(ORDER)
    moving.switch("order", "legacy")
    assert moving.is_own(ORDER)
    moving.switch("order", None)
    moving.switch("GET /", "engine")
    assert not is_own(moving.app.test_client().get("/"))
    assert moving.is_own(ORDER), "a stage that is taken away leaves the one of the app"


def test_one_command_restores_all_operations(make: Make) -> None:
    moving = make()
    assert not moving.is_own(ORDER), "one line gives everything to the engine"
    moving.command("route", "order", "engine")
    moving.command("route", "--all", "legacy")
    eventually(lambda: moving.is_own(ORDER), "the app's own code answers")
    assert moving.is_own(ALL_ORDERS)
    assert moving.is_own("{ not even valid")
    assert is_own(moving.app.test_client().get("/"))
    moving.command("route", "--all", "default")
    eventually(lambda: not moving.is_own(ORDER), "the engine answers")


def test_a_request_with_several_operations_uses_the_most_cautious_rule(moving: Moving) -> None:
    moving.switch("order", "engine")
    both = f"{{ a: {ORDER[1:-1]} ...more }} fragment more on Query {{ {ALL_ORDERS[1:-1]} }}"
    assert moving.is_own(both)
    moving.switch("allOrders", "engine")
    assert not moving.is_own(both)


def test_a_percentage_always_selects_the_same_users(moving: Moving) -> None:
    users = range(300)
    moving.switch("order", "engine", percent=25)
    first = {user for user in users if not moving.is_own(ORDER, user=user)}
    assert 45 <= len(first) <= 105
    assert first == {user for user in users if not moving.is_own(ORDER, user=user)}
    moving.switch("order", "engine", percent=50)
    second = {user for user in users if not moving.is_own(ORDER, user=user)}
    assert first < second, "a higher percentage keeps the selected users"
    moving.switch("order", "engine", percent=0, users=(7,))
    assert [user for user in users if not moving.is_own(ORDER, user=user)] == [7]
    moving.judged(1, "order")


def test_users_outside_the_percentage_are_not_shadowed(moving: Moving) -> None:
    moving.switch("order", "shadow", users=(7,))
    for user in range(10):
        assert moving.is_own(ORDER, user=user)
    assert moving.judged(1, "order").total() == 1


def test_requests_without_a_valid_token_are_included_in_a_percentage(moving: Moving) -> None:
    moving.switch("order", "engine", percent=50)

    def answered(authorization: str) -> bool:
        return is_own(moving.ask(ORDER, headers={"Authorization": authorization}))

    bad = [f"Bearer bad-{n}" for n in range(60)]
    first = [answered(one) for one in bad]
    assert 10 <= sum(first) <= 50
    assert first == [answered(one) for one in bad]


def test_the_extension_may_come_before_the_apps_own_routes(database_url: str) -> None:
    app = Flask("early")
    moving = Moving(database_url, app, migration_stage="legacy")
    add_routes(app)
    assert moving.is_own(ORDER)
    moving.switch("order", "engine")
    assert not moving.is_own(ORDER)
    moving.close()


def test_the_engine_answers_routes_that_the_app_lacks(database_url: str) -> None:
    moving = Moving(database_url, Flask("bare"), migration_stage="legacy")
    answer = moving.ask(ORDER)
    assert answer.json == {
        "data": {"order": {"success": False, "message": "Order with id 1 not found"}}
    }
    moving.close()


@pytest.mark.parametrize("workers", ["--threads=4", "--worker-class=gevent"])
def test_every_process_applies_a_rule_within_a_second_under_load(
    workspace: Workspace, tmp_path: Path, database_url: str, workers: str
) -> None:
    stock(database_url)
    env = {
        "DATABASE_URL": database_url,
        "ORDER_ENGINE_MIGRATION_STAGE": "legacy",
        "ORDER_ENGINE_RELAY": "false",
        "ORDER_ENGINE_DATABASE_CONNECTIONS": "4",
    }
    service = LegacyService(
        workspace,
        tmp_path,
        env,
        *("--workers=2", workers),
        app="tests.python.support.migrating_app:create_app()",
    )
    service.start()
    flags = {"database_url": database_url}
    bearer = service.token(1)
    answers: list[tuple[float, bool]] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            # A new connection for each request, so that both workers receive some.
            answer = service.graphql(ORDER, token=bearer, headers={"Connection": "close"})
            assert answer.status_code == 200, answer.text
            answers.append((time.monotonic(), answer.headers.get(ANSWERED_BY) == OWN))

    with ThreadPoolExecutor(4) as clients:
        running = [clients.submit(load) for _ in range(4)]
        try:
            for stage, own in (("engine", False), ("shadow", True), ("legacy", True)):
                _native.set_routing_rule(flags, "order", stage, None, [])
                switched = time.monotonic()
                until = switched + FOLLOWS_S
                eventually(is_running_until(answers, until), "the load continues")
                late = [at for at, is_own in answers if at > until and is_own != own]
                assert not late, f"{len(late)} answers after the switch to {stage}"
        finally:
            stop.set()
        for one in running:
            one.result()
    (counts,) = _native.shadow_report(flags, "order", 1).counts
    assert counts.matched > 0, "the rehearsals run beside the requests"
    service.stop()


# --- dry runs ----------------------------------------------------------------------------------


def test_a_dry_run_writes_nothing(moving: Moving) -> None:
    with OrderEngine(database_url=moving.database_url, database_connections=4) as engine:
        order = engine.place_order(user_id=1, lines=[(1, 5)])
    moving.switch(None, "shadow")
    mutations = [
        CREATE,
        "mutation { placeOrder(userId: 1, productId: 1, quantity: 2) { success } }",
        f'mutation {{ updateOrder(id: {order.id}, status: "Shipped") {{ success message }} }}',
        f"mutation {{ cancelOrder(id: {order.id}) {{ success message }} }}",
        f"mutation {{ deleteOrder(id: {order.id}) {{ success message }} }}",
    ]
    with psycopg.connect(moving.database_url, autocommit=True) as database:
        database.execute("set search_path to order_engine")
        before = digest(database)
        for mutation in mutations * 5:
            moving.ask(mutation, own_code='{"data": null}', headers={"Idempotency-Key": "k"})
        counts = moving.judged(len(mutations) * 5)
        assert counts.total() - counts["skipped"] - counts["failed"] >= len(mutations)
        assert digest(database) == before


def test_dry_runs_reserve_no_stock(moving: Moving) -> None:
    with OrderEngine(database_url=moving.database_url, database_connections=4) as engine:
        engine.set_stock(1, quantity=2)
    moving.switch("createOrder", "shadow")
    for _ in range(10):
        moving.ask(CREATE, own_code=CREATED)
    assert moving.judged(10, "createOrder")["differed"] == 0
    assert moving.counts("createOrder")["matched"] >= 5


def test_a_locked_product_does_not_affect_the_client(moving: Moving) -> None:
    moving.switch("createOrder", "shadow")
    with psycopg.connect(moving.database_url) as database:
        database.execute("select * from order_engine.products for update")
        for _ in range(5):
            began = time.monotonic()
            assert moving.ask(CREATE, own_code=CREATED).text == CREATED
            assert time.monotonic() - began < UNNOTICED_S
        assert moving.judged(5, "createOrder") == Counter(failed=5)


def test_a_dry_run_blocks_no_other_request(moving: Moving) -> None:
    """Real orders of a product that dry runs use constantly are placed without delay."""
    moving.switch("createOrder", "shadow")
    stop = threading.Event()

    def run_dry() -> None:
        while not stop.is_set():
            moving.ask(CREATE, own_code=CREATED)

    running = threading.Thread(target=run_dry)
    running.start()
    try:
        with OrderEngine(database_url=moving.database_url, database_connections=4) as engine:
            for _ in range(100):
                began = time.monotonic()
                engine.place_order(user_id=1, lines=[(1, 1)])
                assert time.monotonic() - began < UNNOTICED_S
    finally:
        stop.set()
        running.join()


def test_an_unreachable_database_does_not_affect_the_client(
    postgres: PostgreSQL, make: Make
) -> None:
    moving = make(migration_stage="legacy", paths=("/graphql", "/metrics"))
    moving.switch("createOrder", "shadow")
    moving.switch("order", "engine")
    postgres.stop()
    for _ in range(5):
        began = time.monotonic()
        assert moving.ask(CREATE, own_code=CREATED).text == CREATED
        assert time.monotonic() - began < UNNOTICED_S
    assert not moving.is_own(ORDER), "the last known rules stay in effect"
    failed = 'order_engine_shadow_requests_total{operation="createOrder",outcome="failed"} 5'
    client = moving.app.test_client()
    eventually(lambda: failed in client.get("/metrics").text, "the rehearsals have failed")
    postgres.start()
    assert moving.judged(5, "createOrder") == Counter(failed=5)


def test_an_engine_that_cannot_open_does_not_affect_the_app(make: Make) -> None:
    nowhere = f"postgresql://nobody:nothing@127.0.0.1:{free_port()}/nowhere"
    moving = make(migration_stage="shadow", database_url=nowhere)
    assert moving.ask(CREATE, own_code=CREATED).text == CREATED
    began = time.monotonic()
    for _ in range(20):
        assert moving.ask(CREATE, own_code=CREATED).text == CREATED
    assert time.monotonic() - began < 3 * UNNOTICED_S


# --- recorded differences ----------------------------------------------------------------------


def test_a_wrong_price_is_reported_with_both_responses(moving: Moving) -> None:
    moving.switch("createOrder", "shadow")
    moving.switch("order", "shadow")
    for _ in range(5):
        moving.ask(ORDER)
        moving.ask(CREATE)
    assert moving.judged(10) == Counter(matched=10)
    for _ in range(5):
        moving.ask(CREATE, own_code="a cent more")
    assert moving.judged(15)["differed"] >= 1
    report = _native.shadow_report(moving.flags, None, 20)
    assert {one.operation for one in report.differences} == {"createOrder"}
    difference = report.differences[0]
    assert difference.paths == ("createOrder.orders.0.total_amount",)
    said = [json.loads(body) for body in (difference.legacy, difference.engine)]
    totals = [body["data"]["createOrder"]["orders"][0]["total_amount"] for body in said]
    assert totals == [19.01, 19.0]
    assert (difference.legacy_status, difference.engine_status) == (200, 200)
    assert json.loads(difference.request)["query"] == CREATE
    assert token(1).split(".")[0] not in difference.request

    text = moving.command("shadow", "report", "--operation", "createOrder", "--limit", "1")
    assert "createOrder.orders.0.total_amount: legacy 19.01, engine 19.0" in text
    parsed = json.loads(moving.command("shadow", "report", "--json"))
    assert parsed["differences"][0]["paths"] == list(difference.paths)
    assert moving.command("shadow", "clear").startswith("deleted ")
    assert moving.counts().total() == 0


def test_ignored_fields_are_not_compared(moving: Moving) -> None:
    moving.switch("createOrder", "shadow")
    moving.command("shadow", "ignore", "createOrder", "createOrder.orders.total_amount")
    moving.switch("createOrder", "shadow")
    for _ in range(5):
        moving.ask(CREATE, own_code="a cent more")
    assert moving.judged(5, "createOrder") == Counter(matched=5)
    moving.command("shadow", "ignore", "createOrder")
    (switch,) = [
        one for one in _native.routing_rules(moving.flags) if one.operation == "createOrder"
    ]
    assert (switch.stage, switch.ignored) == ("shadow", ())


def test_unknown_operation_names_share_one_label(moving: Moving) -> None:
    moving.switch(None, "shadow")
    for n in range(3):
        moving.ask(f"{{ madeUp{n} }}", own_code="{}")
    moving.judged(3)
    report = _native.shadow_report(moving.flags, None, 20)
    assert [counts.operation for counts in report.counts] == ["other"]


def test_subscriptions_and_large_bodies_are_not_shadowed(moving: Moving) -> None:
    moving.switch(None, "shadow")
    moving.ask("subscription { orderUpdated { id } }", own_code="{}")
    moving.ask(f"{{ order(id: 1) {{ id }} }} # {'x' * 200_000}", own_code="{}")
    assert moving.judged(2) == Counter(skipped=2)


def test_the_newest_thousand_differences_are_kept(moving: Moving) -> None:
    with psycopg.connect(moving.database_url, autocommit=True) as database:
        database.execute(
            "insert into order_engine.shadow_differences (operation, requested_at, request,"
            " legacy_status, legacy_body, engine_status, engine_body, paths)"
            " select 'createOrder', now(), n::text, 200, '', 200, '', '{}'"
            " from generate_series(1, 1200) n"
        )
        moving.switch("createOrder", "shadow")
        # A slow moment may leave one without a result, which is not stored.
        for asked in range(1, 21):
            moving.ask(CREATE, own_code="a cent more")
            if moving.judged(asked, "createOrder")["differed"]:
                break
        count = "select count(*), min(request::int) from order_engine.shadow_differences"
        kept = database.execute(count + " where request not like '{%'").fetchone()
    assert kept is not None
    assert kept[0] < 1000
    assert kept[1] > 200, "the oldest went"


def test_metrics_are_exported(make: Make) -> None:
    moving = make(migration_stage="shadow", paths=("/graphql", "/", "/metrics"))
    moving.ask(ORDER)
    moving.judged(1)
    text = moving.app.test_client().get("/metrics").text
    assert 'order_engine_shadow_requests_total{operation="order",outcome="matched"} 1' in text
    assert 'order_engine_requests_total{contract="flask",operation="order"' in text, (
        "the own code asks the engine"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("route", "order", "legacy", "--percent", "5"), "Only the stages shadow and engine"),
        (("route", "--all"), "--all takes one argument"),
        (("route", "order", "elsewhere"), "Invalid value"),
        (("route", "order", "engine", "--percent", "101"), "Invalid value"),
        (("route", "", "engine"), "1 to 200 printable characters"),
        (("shadow", "report", "--limit", "0"), "limit must be 1 to 1000"),
    ],
)
def test_wrong_commands_are_refused(make: Make, arguments: tuple[str, ...], message: str) -> None:
    moving = make()
    done = CliRunner().invoke(cli, arguments, env={"DATABASE_URL": moving.database_url})
    assert done.exit_code != 0
    assert message in done.output
    assert _native.routing_rules(moving.flags) == []


def test_an_unknown_operation_name_causes_a_warning(make: Make) -> None:
    moving = make()
    assert "Warning: the engine has no operation createOrdr" in moving.command(
        "route", "createOrdr", "legacy"
    )
    shown = moving.command("route", "order", "shadow", "--percent", "10", "--user", "7")
    assert shown == "order: shadow for 10 % of users, user 7\n"
    listed = json.loads(moving.command("route", "--json"))
    assert [(one["operation"], one["stage"], one["percent"]) for one in listed] == [
        ("createOrdr", "legacy", None),
        ("order", "shadow", 10),
    ]
    assert "createOrdr" not in moving.command("route", "order")
