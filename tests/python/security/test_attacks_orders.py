"""Rows C15 to C21, C29 and C30: other users' orders, and invalid orders."""

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
    Api,
    AttackTarget,
)

INSIDE = re.compile(
    r"did you mean|sqlx|select .* from|insert into|panicked|\.rs\b|traceback|postgres(ql)?://|"
    r"redis://|search_path|constraint|127\.0\.0\.1",
    re.IGNORECASE,
)
CONCURRENT = 16


@pytest.fixture(params=CONTRACTS)
def api(attack_target: AttackTarget, request: pytest.FixtureRequest) -> Api:
    return attack_target.apis[request.param]


def uses_of(api: Api, order: str, headers: dict[str, str]) -> list[httpx.Response]:
    """Every operation of a contract on an order."""
    calls = [
        api.read(order, headers=headers),
        api.change(order, "shipped", headers=headers),
        api.change(order, "pending", headers=headers),
        api.change(order, "cancelled", headers=headers),
        api.delete(order, headers=headers),
    ]
    return [answer for answer in calls if answer is not None]


def test_c15_another_users_order_looks_like_a_missing_one(
    attack_target: AttackTarget, api: Api
) -> None:
    number, long = attack_target.placed()
    missing = 10**6 + number
    nobodys = [str(missing), f"{long[:8]}{missing:016x}"]
    headers = attack_target.bearer(STRANGER)
    with attack_target.nothing_written():
        for name in api.names(number, long):
            absent = nobodys[len(name) == len(long)]
            for theirs, none in zip(
                uses_of(api, name, headers), uses_of(api, absent, headers), strict=True
            ):
                assert api.failure(theirs), theirs.text
                assert theirs.status_code == none.status_code
                assert theirs.text == none.text.replace(absent, name)
                assert "not found" in theirs.text.lower()


def test_c16_lists_hold_the_callers_own(attack_target: AttackTarget, api: Api) -> None:
    attack_target.placed()
    _, own = attack_target.placed(STRANGER)
    listed = api.orders(api.list(headers=attack_target.bearer(STRANGER)))
    assert {str(order["userId"]) for order in listed} == {STRANGER}
    names = {order.get("_id") or order["id"] for order in listed}
    assert names & {own, str(int(own[8:], 16))}
    everybodys = api.orders(api.list(headers=attack_target.bearer(STAFF, role="admin")))
    assert {OWNER, STRANGER} <= {str(order["userId"]) for order in everybodys}


def test_c16_orders_by_user_id(attack_target: AttackTarget) -> None:
    attack_target.placed()
    api = attack_target.apis["stock"]
    with attack_target.nothing_written():
        for user in (OWNER, "nobody-at-all"):
            url = f"{api.url}/order/{user}"
            answer = attack_target.client.get(url, headers=attack_target.bearer(STRANGER))
            assert (answer.status_code, answer.json()) == (httpx.codes.OK, [])


def test_c17_placing_for_another_user_is_refused(attack_target: AttackTarget, api: Api) -> None:
    headers = attack_target.bearer(STRANGER)
    if "input" in getattr(api, "PLACE", ""):
        # Here the user comes from the token alone.
        assert api.order(api.place(headers=headers))["userId"] == STRANGER
        with attack_target.nothing_written():
            for name in ("userId", "user"):
                assert api.failure(api.place(more={name: OWNER}, headers=headers))
        return
    with attack_target.nothing_written():
        answer = api.place(user=OWNER, headers=headers)
        assert api.failure(answer)
        assert answer.status_code in {httpx.codes.OK, httpx.codes.FORBIDDEN}
        spoofed = headers | {"x-user-id": OWNER, "x-user": OWNER, "x-forwarded-user": OWNER}
        assert api.failure(api.place(user=OWNER, headers=spoofed))


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


def test_c17_server_side_fields_cannot_be_sent(attack_target: AttackTarget, api: Api) -> None:
    headers = attack_target.bearer(OWNER)
    if api in (attack_target.apis[name] for name in GRAPHQL):
        # Undeclared variables are ignored; the fields of an input object are checked.
        for name, value in SERVERS_OWN.items():
            answer = api.place(more={name: value}, headers=headers)
            failed = api.failure(answer)
            assert failed or api.order(answer)["status"].lower() == "pending"
            assert "did you mean" not in answer.text.lower()
        return
    # A status that a new order cannot have is refused, not ignored.
    answer = api.place(more=SERVERS_OWN, headers=headers)
    if api.failure(answer):
        assert "pending" in answer.text
        more = {name: value for name, value in SERVERS_OWN.items() if name != "status"}
        answer = api.place(more=more, headers=headers)
    placed = api.order(answer)
    assert placed["_id"] != SERVERS_OWN["_id"]
    assert placed["userId"] == OWNER
    assert placed.get("status", "pending") == "pending"
    assert not placed.get("createdAt", "").startswith("1999")
    number = int(placed["_id"][8:], 16)
    rows = attack_target.database.execute(
        "select status::text, total, version from orders where id = %s", [number]
    ).fetchall()
    ((status, total, version),) = rows
    assert (status, float(total), version) == ("pending", PRICE, 1)


def test_c19_another_users_key_returns_nothing_of_theirs(
    attack_target: AttackTarget, api: Api
) -> None:
    key = {"Idempotency-Key": f"shared-{api.url}"}
    bodies = []
    for user in (OWNER, STRANGER):
        answer = api.place(user=user, headers=attack_target.bearer(user) | key)
        order = api.order(answer)
        assert str(order["userId"]) == user
        bodies.append(order.get("_id") or order["id"])
        again = api.place(user=user, headers=attack_target.bearer(user) | key)
        assert again.json() == answer.json()
    assert len(set(bodies)) == len(bodies)


@pytest.mark.parametrize("name", ["storefront", "gateway"])
def test_c20_the_cache_checks_the_reader(attack_target: AttackTarget, name: str) -> None:
    api = attack_target.apis[name]
    _, order = attack_target.placed()
    for headers in (attack_target.bearer(STAFF, role="admin"), attack_target.bearer(OWNER)):
        assert order in api.read(order, headers=headers).text
    answer = api.read(order, headers=attack_target.bearer(STRANGER))
    assert "not found" in (api.failure(answer) or "").lower()
    assert order not in answer.text.replace(f"id {order}", "")
    assert order not in api.list(headers=attack_target.bearer(STRANGER)).text
    assert order in api.read(order, headers=attack_target.bearer(OWNER)).text


def test_c21_errors_reveal_no_internals(attack_target: AttackTarget, api: Api) -> None:
    headers = attack_target.bearer(OWNER)
    odd = ["' or 1=1 --", "%00", "..%2f..%2fetc%2fpasswd", "{{7*7}}", "$ne", "9" * 40, "a" * 3_000]
    with attack_target.nothing_written():
        answers = [answer for name in odd for answer in uses_of(api, name, headers)]
        answers += [
            attack_target.client.request(method, f"{api.url}{path}", headers=headers)
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
    [(MUG, "two")],
    [(MUG, "1.5")],
    [(MUG, None)],
    [(MUG, True)],
    [(MUG, [1])],
    [(MUG, 2**31 - 1)] * 3,
    [(MUG, 60_000), (MUG, 60_000)],
    [],
]


@pytest.mark.parametrize("lines", WRONG_LINES, ids=str)
def test_c30_invalid_quantities(attack_target: AttackTarget, api: Api, lines: list[Any]) -> None:
    refuses(attack_target, api, lines)


@pytest.mark.parametrize("name", [name for name in CONTRACTS if name != "jobs"])
def test_c30_unknown_products(attack_target: AttackTarget, name: str) -> None:
    # The contract jobs accepts them, at the price in the order.
    refuses(attack_target, attack_target.apis[name], [("999", 1)])


def refuses(attack_target: AttackTarget, api: Api, lines: list[Any]) -> None:
    with attack_target.nothing_written():
        answer = api.place(lines=lines, headers=attack_target.bearer(OWNER))
        assert api.failure(answer), answer.text
        assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR
        assert not INSIDE.search(answer.text), answer.text


@pytest.fixture(scope="module")
def under_roles(make_attack_target: Callable[..., AttackTarget]) -> AttackTarget:
    """An engine where only staff may change a status."""
    return make_attack_target("--access", "roles")


@pytest.mark.parametrize("name", CHANGING)
def test_c18_a_customer_cannot_ship(under_roles: AttackTarget, name: str) -> None:
    number, long = under_roles.placed()
    api = under_roles.apis[name]
    order = api.names(number, long)[0]
    with under_roles.nothing_written():
        for status in ("shipped", "confirmed", "delivered", "returned"):
            answer = api.change(order, status, headers=under_roles.bearer(OWNER))
            assert answer is not None
            assert api.failure(answer), answer.text
            assert answer.status_code in {httpx.codes.OK, httpx.codes.FORBIDDEN}
            for claims in ({"role": "Admin"}, {"admin": True}, {"roles": {"admin": True}}):
                answer = api.change(order, status, headers=under_roles.bearer(OWNER, **claims))
                assert answer is not None
                assert api.failure(answer), claims
        for status in ("Delivered", "paid", "", "shipped\0", "x" * 5_000):
            staff = under_roles.bearer(STAFF, role="admin")
            answer = api.change(order, status, headers=staff)
            assert answer is not None
            assert api.failure(answer), status
    answer = api.change(order, "shipped", headers=under_roles.bearer(STAFF, role="admin"))
    assert answer is not None
    assert api.failure(answer) is None


def test_c29_races_for_one_unit_are_serialised(attack_target: AttackTarget) -> None:
    lamp = "7"
    with OrderEngine(database_url=attack_target.server.env["DATABASE_URL"]) as engine:
        engine.upsert_product(lamp, name="Lamp", price="1")
        engine.set_stock(lamp, 1)

    def race(number: int) -> str | None:
        """Orders the last lamp in any contract, and cancels and deletes the order immediately."""
        api = attack_target.apis[CONTRACTS[number % len(CONTRACTS)]]
        headers = attack_target.bearer(OWNER)
        answer = api.place(lines=[(lamp, 1)], headers=headers)
        if api.failure(answer):
            return None
        order = api.order(answer)
        name = order.get("_id") or order["id"]
        with ThreadPoolExecutor(4) as pool:
            for each in (api.change, api.change, api.delete, api.delete):
                call: Any = each
                words = ("cancelled",) if each == api.change else ()
                pool.submit(call, name, *words, headers=headers)
        if api is attack_target.apis["gateway"]:
            attack_target.apis["jobs"].change(name, "cancelled", headers=headers)
        return str(name)

    with ThreadPoolExecutor(CONCURRENT) as load:
        sold = list(load.map(race, range(20 * len(CONTRACTS))))
    assert any(sold)
    assert len([name for name in sold if name]) == len({name for name in sold if name})
    reported, reserved = attack_target.database.execute(
        "select reported, reserved from products where product_id = %s", [lamp]
    ).fetchone() or (None, None)
    holding = attack_target.database.execute(
        "select coalesce(sum(quantity), 0) from reservations where product_id = %s", [lamp]
    ).fetchone()
    assert (reported, reserved, holding) == (1, 0, (0,))
    per_order = attack_target.database.execute(
        "select order_id, version from order_history where order_id in"
        " (select order_id from order_lines where product_id = %s)",
        [lamp],
    ).fetchall()
    assert Counter(per_order).most_common(1)[0][1] == 1, "no version is given twice"
