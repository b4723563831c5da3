"""The old service with and without the line that lets the engine serve its endpoints.

Both receive the same requests in the same order: the recorded ones, and more. Their responses must
be equal byte by byte once ids are masked, except for what `DIFFERENCES` lists with the reason, and
except for the order of JSON members: see `as_the_engine_writes`.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx
import psycopg
import pytest

from order_engine import OrderEngine
from tests.python.support.event_spy import EventSpy
from tests.python.support.legacy_consumer import Delivery
from tests.python.support.legacy_service import PRODUCTS, REPOSITORY, USERS, LegacyService
from tests.python.support.recording import (
    CREATED,
    EXCHANGES,
    PLACED,
    announced,
    ask,
    is_refusal,
)
from tests.python.support.servers import LOGGED_SERVERS, copied_database, fresh_vhost
from tests.python.support.waiting import eventually
from tests.services import PostgreSQL, RabbitMQ, Workspace

ENVELOPE = "{ success message orders { id user_id total_amount status items { id product_id } } }"
ONE_MUG = "[{product_id: 1, quantity: 1}]"


def posted(query: str, user_id: int = 1, **variables: object) -> dict[str, Any]:
    """A request in the format of the recordings."""
    return {
        "method": "POST",
        "path": "/graphql",
        "authorization": f"Bearer <valid, user_id {user_id}>",
        "body": {"query": query} | ({"variables": variables} if variables else {}),
    }


def creation(user_id: int, items: str) -> str:
    return f"mutation {{ createOrder(user_id: {user_id}, order_items: {items}) {ENVELOPE} }}"


# Order 1 belongs to the recorded user, order 2 does not.
FIRST = {
    "order 1, of user 1": EXCHANGES["create one line"]["request"],
    "order 2, of user 2": posted(creation(2, ONE_MUG), user_id=2),
}
MORE = {
    "all users' orders": posted(f"{{ allOrders {ENVELOPE} }}"),
    "another's order": posted(f"{{ order(id: 2) {ENVELOPE} }}"),
    "an id that is no number": posted(f'{{ order(id: "one") {ENVELOPE} }}'),
    "an unknown product": posted(creation(1, "[{product_id: 404, quantity: 1}]")),
    "a fractional price": posted(creation(1, "[{product_id: 3, quantity: 1}]")),
    "a sum that floats miss": posted(creation(1, "[{product_id: 2, quantity: 3}]")),
    "names, fragments, variables": posted(
        "query Two($id: ID!, $no: Boolean = false) {"
        f" mine: order(id: $id) {{ ...E kind: __typename success @skip(if: $no) }}"
        f" none: order(id: $id) @include(if: $no) {{ success }} }}"
        f" fragment E on OrderResponse {ENVELOPE}",
        id=1,
    ),
    "two creations at once": posted(
        f"mutation {{ a: createOrder(user_id: 1, order_items: {ONE_MUG}) {{ success }}"
        f" b: createOrder(user_id: 1, order_items: {ONE_MUG}) {{ message }} }}"
    ),
    "no quantity": posted(creation(1, "[{product_id: 1, quantity: 0}]")),
    "less than no quantity": posted(creation(1, "[{product_id: 1, quantity: -1}]")),
    "for another user": posted(creation(2, ONE_MUG)),
}
# A fractional price, a total that floats miss, and both together.
CREATED_MORE = 4
REQUESTS = FIRST | {name: each["request"] for name, each in EXCHANGES.items()} | MORE


class Difference(NamedTuple):
    """An intended difference."""

    asked_by: str
    is_as_asked: Callable[[httpx.Response, httpx.Response], bool]
    """Converts the old response and the new one."""


def refused_in_other_words(old: httpx.Response, new: httpx.Response) -> bool:
    return all(is_refusal(each.json()) and len(each.json()["errors"]) == 1 for each in (old, new))


def more_operations(old: httpx.Response, new: httpx.Response) -> bool:
    schemas = [answer.json()["data"]["__schema"] for answer in (old, new)]
    before, now = (
        {root: {field["name"] for field in schema[root]["fields"]} for root in schema}
        for schema in schemas
    )
    return before.keys() == now.keys() and all(now[root] > before[root] for root in before)


def another_page(old: httpx.Response, new: httpx.Response) -> bool:
    return all("<html" in answer.text for answer in (old, new))


def only_ones_own(old: httpx.Response, new: httpx.Response) -> bool:
    expected = old.json()
    envelope = expected["data"]["allOrders"]
    own = [order for order in envelope["orders"] if order["user_id"] == 1]
    assert len(own) < len(envelope["orders"])
    envelope["orders"] = own
    return masked(in_any_order(json.dumps(expected))) == masked(in_any_order(new.text))


def refused_instead(message: str) -> Callable[[httpx.Response, httpx.Response], bool]:
    """If the old service succeeded, or failed without a reason."""

    def is_as_asked(old: httpx.Response, new: httpx.Response) -> bool:
        ((operation, envelope),) = new.json()["data"].items()
        did_it = old.status_code != 200 or old.json()["data"][operation]["success"] is True
        return did_it and envelope == {"success": False, "message": message, "orders": None}

    return is_as_asked


def other_message(before: str, now: str) -> Callable[[httpx.Response, httpx.Response], bool]:
    def is_as_asked(old: httpx.Response, new: httpx.Response) -> bool:
        expected = in_any_order(old.text).replace(before, now)
        return masked(expected) == masked(in_any_order(new.text))

    return is_as_asked


REFUSED = Difference(
    "recordings: the status and shape of a 400 count, its wording is the library's",
    refused_in_other_words,
)
DIFFERENCES = {
    "unknown order": Difference(
        "CONTRACTS: the old one speaks of a product; say Order with id N not found",
        other_message("Product with id 999999 not found", "Order with id 999999 not found"),
    ),
    "syntax error": REFUSED,
    "unknown field": REFUSED,
    "missing argument": REFUSED,
    "quantity of the wrong type": REFUSED,
    "introspection": Difference(
        "CONTRACTS: the documented operations, and delete and cancel, are offered too",
        more_operations,
    ),
    "playground": Difference(
        "CONTRACTS: GET /graphql is the playground, the own one", another_page
    ),
    "all users' orders": Difference("RELIABILITY L7: allOrders shows everyone's", only_ones_own),
    "another's order": Difference(
        "RELIABILITY L7; CONTRACTS: another's order answers as one that does not exist",
        refused_instead("Order with id 2 not found"),
    ),
    "an id that is no number": Difference(
        "RELIABILITY L8: no exception's text for clients",
        refused_instead("Order with id one not found"),
    ),
    "a sum that floats miss": Difference(
        "RELIABILITY L10; CONTRACTS: money is decimal", other_message("0.30000000000000004", "0.3")
    ),
    "no quantity": Difference(
        "RELIABILITY C30",
        refused_instead("The quantity of product 1 must be 1 to 2147483647, not 0."),
    ),
    "less than no quantity": Difference(
        "RELIABILITY C30", refused_instead("The quantity of product 1 must be 1 or more, not -1.")
    ),
    "for another user": Difference(
        "RELIABILITY L7; CONTRACTS: placing for another userId than the token's is refused",
        refused_instead("The token's user may not place orders for user 2."),
    ),
}
# Differences beyond the body.
OTHER_STATUS = {"an id that is no number": (400, 200)}


class Side(NamedTuple):
    """One of the two services, its published events and its responses."""

    service: LegacyService
    spy: EventSpy
    answers: dict[str, httpx.Response]


class Sides(NamedTuple):
    """The old service without and with the line."""

    old: Side
    new: Side


@pytest.fixture(scope="module")
def start_side(
    request: pytest.FixtureRequest,
    workspace: Workspace,
    postgres: PostgreSQL,
    rabbitmq: RabbitMQ,
    legacy_template: str,
) -> Iterator[Callable[..., LegacyService]]:
    """Starts a module of the old application with its own database and broker."""
    services = request.node.stash.setdefault(LOGGED_SERVERS, [])
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    with ExitStack() as stack:

        def start(module: str, prepare: Callable[[LegacyService], None]) -> LegacyService:
            env = {
                "SQLALCHEMY_DATABASE_URI": stack.enter_context(
                    copied_database(postgres, legacy_template)
                ),
                "RABBITMQ_URL": stack.enter_context(fresh_vhost(rabbitmq)).url,
            }
            service = LegacyService(
                *(workspace, factory.mktemp(module), env, "--threads=2"),
                app=f"tests.legacy_app.{module}:app",
            )
            services.append(service)
            prepare(service)
            stack.callback(service.stop)
            service.start()
            return service

        yield start


@pytest.fixture(scope="module")
def sides(start_side: Callable[..., LegacyService]) -> Sides:
    """Both services, after all requests."""

    def side(module: str, prepare: Callable[[LegacyService], object]) -> Side:
        service = start_side(module, prepare)
        spy = EventSpy(service.env["RABBITMQ_URL"])
        answers = {name: ask(service, request) for name, request in REQUESTS.items()}
        return Side(service, spy, answers)

    return Sides(side("wsgi", lambda _: None), side("wsgi_with_engine", make_known))


def make_known(service: LegacyService) -> None:
    """Creates the engine's tables, and the users and products of the old service."""
    service.flask("order-engine", "migrate")
    with OrderEngine(database_url=service.env["SQLALCHEMY_DATABASE_URI"]) as engine:
        for user in USERS:
            engine.upsert_user(
                user.id, email=user.email, address=user.address, contact=user.contact
            )
        for product in PRODUCTS:
            engine.upsert_product(
                product.id, name=product.name, price=product.price, quantity=product.quantity
            )


def masked(body: str) -> str:
    """The body with each numeric id replaced by a placeholder."""
    return re.sub(r'"id":"\d+"', '"id":"#"', body)


def in_any_order(body: str) -> str:
    """A JSON body with sorted members, and with numbers and strings as Python writes them."""
    return json.dumps(json.loads(body), separators=(",", ":"), sort_keys=True)


def as_flask_writes(body: str) -> str:
    """A JSON body as the old service writes it: members sorted, and a line end behind them."""
    return in_any_order(body) + "\n"


def as_the_engine_writes(body: str) -> str:
    """A JSON body with its members in the order of the request.

    CONTRACTS.md shows createOrder's response in this order, and the GraphQL specification requires
    it. Flask sorts the members.
    """
    return json.dumps(json.loads(body), separators=(",", ":"))


def is_json(answer: httpx.Response) -> bool:
    return answer.headers["Content-Type"] == "application/json"


def test_the_integration_is_one_line() -> None:
    folder = REPOSITORY / "tests" / "legacy_app"
    without, with_it = (
        set((folder / name).read_text().splitlines()[1:])
        for name in ("wsgi.py", "wsgi_with_engine.py")
    )
    assert with_it - without == {
        "from order_engine.flask import OrderEngineExtension",
        "OrderEngineExtension(app)",
    }
    assert without <= with_it


@pytest.mark.parametrize("name", EXCHANGES)
def test_the_fixture_answers_as_recorded(name: str, sides: Sides) -> None:
    recorded = EXCHANGES[name]["response"]
    answer = sides.old.answers[name]
    assert answer.status_code == recorded["status"]
    assert answer.headers["Content-Type"] == recorded["content_type"]
    if name == "playground":
        assert "<html" in answer.text
    elif isinstance(recorded["body"], str):
        assert answer.text == recorded["body"]
    else:
        assert masked(answer.text) == masked(as_flask_writes(json.dumps(recorded["body"])))


@pytest.mark.parametrize("name", REQUESTS)
def test_the_engine_responds_like_the_old_service(name: str, sides: Sides) -> None:
    old, new = (side.answers[name] for side in sides)
    assert (old.status_code, new.status_code) == OTHER_STATUS.get(name, (old.status_code,) * 2)
    assert old.headers["Content-Type"] == new.headers["Content-Type"]
    assert is_json(old) == is_json(new)
    if is_json(old):
        assert old.text == as_flask_writes(old.text)
        assert new.text == as_the_engine_writes(new.text)
        same = masked(in_any_order(old.text)) == masked(in_any_order(new.text))
    else:
        same = old.content == new.content
    if name in DIFFERENCES:
        assert not same, "it is listed as different"
        assert DIFFERENCES[name].is_as_asked(old, new), (old.text, new.text)
    else:
        assert same, (old.text, new.text)


@pytest.mark.parametrize(("name", "event"), list(zip(CREATED, PLACED, strict=True)))
def test_an_order_is_published_in_the_recorded_bytes(
    name: str, event: dict[str, Any], sides: Sides
) -> None:
    (old, recorded), (new, expected) = [announcement(side, name, event) for side in sides]
    assert old == recorded
    # CONTRACTS: extra fields are welcome, these names and types are fixed.
    assert new.startswith(expected.removesuffix("}") + ", ")


def announcement(side: Side, name: str, event: dict[str, Any]) -> tuple[str, str]:
    """The event of the order that a request created, and the recorded one."""
    (order,) = side.answers[name].json()["data"]["createOrder"]["orders"]

    def found() -> list[Delivery]:
        return [each for each in side.spy.received() if each.body["order_id"] == int(order["id"])]

    (delivery,) = eventually(found, f"order {order['id']} is published")
    assert delivery.routing_key == event["routing_key"]
    assert delivery.properties["delivery_mode"] == event["properties"]["delivery_mode"]
    return delivery.text, announced(event, order)


def test_the_engine_has_stored_and_published_the_orders(sides: Sides) -> None:
    with psycopg.connect(sides.new.service.env["SQLALCHEMY_DATABASE_URI"]) as database:
        left = database.execute("select count(*) from orders").fetchone()
        taken = database.execute("select id from order_engine.orders order by id").fetchall()
    assert left == (0,)
    assert len(taken) == len(FIRST) + len(CREATED) + CREATED_MORE
    spy = sides.new.spy
    eventually(lambda: len(spy.received()) >= len(taken), "every order is published")
    assert sorted((each.body["order_id"],) for each in spy.received()) == taken
