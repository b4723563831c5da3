"""Rows C15 to C21, C29 and C30: other people's orders, and orders that must not come about."""

import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from order_engine import OrderEngine
from tests.python.support.attack_target import (
    CHANGING,
    CONTRACTS,
    GRAPHQL,
    MUG,
    OWNER,
    PRICE,
    STAFF,
    STRANGER,
    Attacked,
    Door,
)

INSIDE = re.compile(
    r"did you mean|sqlx|select .* from|insert into|panicked|\.rs\b|traceback|postgres(ql)?://|"
    r"redis://|search_path|constraint|127\.0\.0\.1",
    re.IGNORECASE,
)
CROWD = 16


@pytest.fixture(params=CONTRACTS)
def door(attacked: Attacked, request: pytest.FixtureRequest) -> Door:
    return attacked.doors[request.param]


def uses_of(door: Door, order: str, headers: dict[str, str]) -> list[httpx.Response]:
    """Every call of a contract that names an order."""
    calls = [
        door.read(order, headers=headers),
        door.change(order, "shipped", headers=headers),
        door.change(order, "pending", headers=headers),
        door.change(order, "cancelled", headers=headers),
        door.delete(order, headers=headers),
    ]
    return [answer for answer in calls if answer is not None]


def test_c15_anothers_order_is_like_one_that_does_not_exist(attacked: Attacked, door: Door) -> None:
    number, long = attacked.placed()
    missing = 10**6 + number
    nobodys = [str(missing), f"{long[:8]}{missing:016x}"]
    headers = attacked.bearer(STRANGER)
    with attacked.nothing_written():
        for name in door.names(number, long):
            absent = nobodys[len(name) == len(long)]
            for theirs, none in zip(
                uses_of(door, name, headers), uses_of(door, absent, headers), strict=True
            ):
                assert door.failure(theirs), theirs.text
                assert theirs.status_code == none.status_code
                assert theirs.text == none.text.replace(absent, name)
                assert "not found" in theirs.text.lower()


def test_c16_lists_hold_the_callers_own(attacked: Attacked, door: Door) -> None:
    attacked.placed()
    _, own = attacked.placed(STRANGER)
    listed = door.orders(door.list(headers=attacked.bearer(STRANGER)))
    assert {str(order["userId"]) for order in listed} == {STRANGER}
    names = {order.get("_id") or order["id"] for order in listed}
    assert names & {own, str(int(own[8:], 16))}
    everybodys = door.orders(door.list(headers=attacked.bearer(STAFF, role="admin")))
    assert {OWNER, STRANGER} <= {str(order["userId"]) for order in everybodys}


def test_c16_the_orders_of_a_user_by_the_users_id(attacked: Attacked) -> None:
    attacked.placed()
    door = attacked.doors["stock"]
    with attacked.nothing_written():
        for user in (OWNER, "nobody-at-all"):
            url = f"{door.url}/order/{user}"
            answer = attacked.client.get(url, headers=attacked.bearer(STRANGER))
            assert (answer.status_code, answer.json()) == (httpx.codes.OK, [])


def test_c17_nobody_orders_for_another(attacked: Attacked, door: Door) -> None:
    headers = attacked.bearer(STRANGER)
    if "input" in getattr(door, "PLACE", ""):
        # Here the user is the token's and nothing else says who.
        assert door.order(door.place(headers=headers))["userId"] == STRANGER
        with attacked.nothing_written():
            for name in ("userId", "user"):
                assert door.failure(door.place(more={name: OWNER}, headers=headers))
        return
    with attacked.nothing_written():
        answer = door.place(user=OWNER, headers=headers)
        assert door.failure(answer)
        assert answer.status_code in {httpx.codes.OK, httpx.codes.FORBIDDEN}
        spoofed = headers | {"x-user-id": OWNER, "x-user": OWNER, "x-forwarded-user": OWNER}
        assert door.failure(door.place(user=OWNER, headers=spoofed))


SERVERS_OWN: dict[str, Any] = {
    "_id": "66f1c0de0000000000000001",
    "id": "1",
    "status": "delivered",
    "total": 0,
    "price": 0,
    "priceAtPurchase": 0,
    "unitPrice": 0,
    "createdAt": "1999-01-01T00:00:00.000Z",
    "updatedAt": "1999-01-01T00:00:00.000Z",
    "version": 99,
    "metadata": {"private": True},
    "isAdmin": True,
    "role": "admin",
    "__proto__": {"isAdmin": True},
    "constructor": {"prototype": {"isAdmin": True}},
}


def test_c17_what_the_server_decides_cannot_be_sent(attacked: Attacked, door: Door) -> None:
    headers = attacked.bearer(OWNER)
    if door in (attacked.doors[name] for name in GRAPHQL):
        # Variables that no operation declares are nothing; the fields of its input are checked.
        for name, value in SERVERS_OWN.items():
            answer = door.place(more={name: value}, headers=headers)
            failed = door.failure(answer)
            assert failed or door.order(answer)["status"].lower() == "pending"
            assert "did you mean" not in answer.text.lower()
        return
    placed = door.order(door.place(more=SERVERS_OWN, headers=headers))
    assert placed["_id"] != SERVERS_OWN["_id"]
    assert placed["userId"] == OWNER
    assert placed.get("status", "pending") == "pending"
    assert not placed.get("createdAt", "").startswith("1999")
    number = int(placed["_id"][8:], 16)
    rows = attacked.database.execute(
        "select status::text, total, version from orders where id = %s", [number]
    ).fetchall()
    ((status, total, version),) = rows
    assert (status, float(total), version) == ("pending", PRICE, 1)


def test_c19_anothers_key_gives_nothing_of_theirs(attacked: Attacked, door: Door) -> None:
    key = {"Idempotency-Key": f"shared-{door.url}"}
    bodies = []
    for user in (OWNER, STRANGER):
        answer = door.place(user=user, headers=attacked.bearer(user) | key)
        order = door.order(answer)
        assert str(order["userId"]) == user
        bodies.append(order.get("_id") or order["id"])
        again = door.place(user=user, headers=attacked.bearer(user) | key)
        assert again.json() == answer.json()
    assert len(set(bodies)) == len(bodies)


@pytest.mark.parametrize("name", ["storefront", "gateway"])
def test_c20_the_cache_asks_who_reads(attacked: Attacked, name: str) -> None:
    door = attacked.doors[name]
    _, order = attacked.placed()
    for headers in (attacked.bearer(STAFF, role="admin"), attacked.bearer(OWNER)):
        assert order in door.read(order, headers=headers).text
    answer = door.read(order, headers=attacked.bearer(STRANGER))
    assert "not found" in (door.failure(answer) or "").lower()
    assert order not in answer.text.replace(f"id {order}", "")
    assert order not in door.list(headers=attacked.bearer(STRANGER)).text
    assert order in door.read(order, headers=attacked.bearer(OWNER)).text


def test_c21_errors_tell_nothing_of_the_inside(attacked: Attacked, door: Door) -> None:
    headers = attacked.bearer(OWNER)
    odd = ["' or 1=1 --", "%00", "..%2f..%2fetc%2fpasswd", "{{7*7}}", "$ne", "9" * 40, "a" * 3_000]
    with attacked.nothing_written():
        answers = [answer for name in odd for answer in uses_of(door, name, headers)]
        answers += [
            attacked.client.request(method, f"{door.url}{path}", headers=headers)
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS")
            for path in ("/.env", "/order", "/../etc/passwd", "/%2e%2e/%2e%2e", "/api/v2/x")
        ]
    for answer in answers:
        assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR, answer.text
        assert not INSIDE.search(answer.text), answer.text
        assert "server" not in answer.headers
        assert "x-powered-by" not in answer.headers


WRONG_LINES: list[Any] = [
    [(MUG, 0)],
    [(MUG, -1)],
    [(MUG, 1.5)],
    [(MUG, 2**31)],
    [(MUG, 2**63)],
    [(MUG, "2")],
    [(MUG, None)],
    [(MUG, True)],
    [(MUG, [1])],
    [(MUG, 2**31 - 1)] * 3,
    [(MUG, 60_000), (MUG, 60_000)],
    [],
]


@pytest.mark.parametrize("lines", WRONG_LINES, ids=str)
def test_c30_quantities_that_no_order_can_have(
    attacked: Attacked, door: Door, lines: list[Any]
) -> None:
    refuses(attacked, door, lines)


@pytest.mark.parametrize("name", [name for name in CONTRACTS if name != "jobs"])
def test_c30_products_that_nobody_knows(attacked: Attacked, name: str) -> None:
    # The contract jobs takes them, at the price that comes with the order.
    refuses(attacked, attacked.doors[name], [("999", 1)])


def refuses(attacked: Attacked, door: Door, lines: list[Any]) -> None:
    with attacked.nothing_written():
        answer = door.place(lines=lines, headers=attacked.bearer(OWNER))
        assert door.failure(answer), answer.text
        assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR
        assert not INSIDE.search(answer.text), answer.text


@pytest.fixture(scope="module")
def under_roles(make_attacked: Callable[..., Attacked]) -> Attacked:
    """An engine where only staff may change a status."""
    return make_attacked("--access", "roles")


@pytest.mark.parametrize("name", CHANGING)
def test_c18_a_customer_does_not_ship(under_roles: Attacked, name: str) -> None:
    number, long = under_roles.placed()
    door = under_roles.doors[name]
    order = door.names(number, long)[0]
    with under_roles.nothing_written():
        for status in ("shipped", "confirmed", "delivered", "returned"):
            answer = door.change(order, status, headers=under_roles.bearer(OWNER))
            assert answer is not None
            assert door.failure(answer), answer.text
            assert answer.status_code in {httpx.codes.OK, httpx.codes.FORBIDDEN}
            for claims in ({"role": "Admin"}, {"admin": True}, {"roles": {"admin": True}}):
                answer = door.change(order, status, headers=under_roles.bearer(OWNER, **claims))
                assert answer is not None
                assert door.failure(answer), claims
        for status in ("Delivered", "paid", "", "shipped\0", "x" * 5_000):
            staff = under_roles.bearer(STAFF, role="admin")
            answer = door.change(order, status, headers=staff)
            assert answer is not None
            assert door.failure(answer), status
    answer = door.change(order, "shipped", headers=under_roles.bearer(STAFF, role="admin"))
    assert answer is not None
    assert door.failure(answer) is None


def test_c29_races_for_one_unit_end_in_some_order(attacked: Attacked) -> None:
    lamp = "7"
    with OrderEngine(database_url=attacked.server.env["DATABASE_URL"]) as engine:
        engine.upsert_product(lamp, name="Lamp", price="1")
        engine.set_stock(lamp, 1)

    def race(number: int) -> str | None:
        """Buys the one lamp through any door, and cancels and deletes the order at once."""
        door = attacked.doors[CONTRACTS[number % len(CONTRACTS)]]
        headers = attacked.bearer(OWNER)
        answer = door.place(lines=[(lamp, 1)], headers=headers)
        if door.failure(answer):
            return None
        order = door.order(answer)
        name = order.get("_id") or order["id"]
        with ThreadPoolExecutor(4) as pool:
            for each in (door.change, door.change, door.delete, door.delete):
                call: Any = each
                words = ("cancelled",) if each == door.change else ()
                pool.submit(call, name, *words, headers=headers)
        if door is attacked.doors["gateway"]:
            attacked.doors["jobs"].change(name, "cancelled", headers=headers)
        return str(name)

    with ThreadPoolExecutor(CROWD) as crowd:
        sold = list(crowd.map(race, range(20 * len(CONTRACTS))))
    assert any(sold)
    assert len([name for name in sold if name]) == len({name for name in sold if name})
    reported, reserved = attacked.database.execute(
        "select reported, reserved from products where product_id = %s", [lamp]
    ).fetchone() or (None, None)
    holding = attacked.database.execute(
        "select coalesce(sum(quantity), 0) from reservations where product_id = %s", [lamp]
    ).fetchone()
    assert (reported, reserved, holding) == (1, 0, (0,))
    per_order = attacked.database.execute(
        "select order_id, version from order_history where order_id in"
        " (select order_id from order_lines where product_id = %s)",
        [lamp],
    ).fetchall()
    assert Counter(per_order).most_common(1)[0][1] == 1, "no version is given twice"
