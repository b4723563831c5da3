"""The contract `jobs`: each section of its document against a running engine."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing

import httpx
import pytest
from openapi_spec_validator import validate

from tests.python.support.engine_process import EngineProcess
from tests.python.support.jobs_client import LINE, NEW_ORDER, NO_TOKEN, place, placed, set_status
from tests.python.support.node_clients import BullMqMajor, BullMqWorker
from tests.python.support.shop import database_of
from tests.services import Redis, Workspace

ID = re.compile(r"[0-9a-f]{24}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
WRONG: tuple[object, ...] = (None, True, {}, [1], "", -1.5)
NO_STATUS: tuple[object, ...] = ("shipped", "lost", "", 1, {})
QUEUES = ("order-queue", "payment-queue", "inventory-queue", "notification-queue")


def without_id(line: dict[str, object]) -> dict[str, object]:
    """A line of an order without its `_id`."""
    return {name: value for name, value in line.items() if name != "_id"}


@pytest.fixture
def jobs(make_server: Callable[..., EngineProcess], redis: Redis) -> EngineProcess:
    """The engine behind the document's gateway, without authentication."""
    server = make_server(REDIS_URL=redis.url, **NO_TOKEN)
    server.start()
    return server


@pytest.fixture(scope="module")
def shared_jobs(
    workspace: Workspace,
    shared_places: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[EngineProcess]:
    """Shared by the tests that write nothing."""
    server = EngineProcess(workspace, tmp_path_factory.mktemp("jobs"), shared_places | NO_TOKEN)
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("path", ["/orders", "/api/orders"])
def test_create_a_new_order(jobs: EngineProcess, path: str) -> None:
    answer = place(jobs, path=path)
    assert answer.status_code == httpx.codes.CREATED
    body = answer.json()
    order = body.pop("order")
    assert body.pop("message") == "Order created successfully"
    # The deployed service returns only the order, the documented one the whole envelope.
    assert body == order
    assert ID.fullmatch(order["id"])
    assert order["_id"] == order["id"]
    assert order["userId"] == "user-id"
    assert [without_id(line) for line in order["products"]] == [LINE]
    assert order["status"] == "pending"
    assert order["totalAmount"] == NEW_ORDER["totalAmount"]
    assert list(order) == [
        *("id", "_id", "userId", "products", "status", "totalAmount", "createdAt", "updatedAt"),
        "__v",
    ]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("0.30000000000000004", 0.3),
        ("89.97000000000001", 89.97),
        ("0.00005", 0),
        ("0.00015", 0.0002),
        ("12.34565", 12.3456),
        ("5.551115123125783e-17", 0),
        ('"12.5"', 12.5),
        ('" 3 "', 3),
    ],
)
def test_n3_a_total_is_kept_to_four_decimals_half_even(
    jobs: EngineProcess, sent: str, kept: float
) -> None:
    body = json.dumps(NEW_ORDER).replace("200.0", sent)
    answer = jobs.client.post("/orders", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    assert answer.json()["totalAmount"] == kept
    assert jobs.client.get(f"/orders/{answer.json()['id']}").json()["totalAmount"] == kept


def test_n4_numbers_as_text_and_integer_ids_are_taken(jobs: EngineProcess) -> None:
    line = {"productId": 8, "quantity": "3"}
    order = placed(jobs, userId=7, products=[line], totalAmount="12.5", status="Pending")
    assert (order["userId"], order["totalAmount"], order["status"]) == ("7", 12.5, "pending")
    assert [without_id(line) for line in order["products"]] == [{"productId": "8", "quantity": 3}]
    refused = place(jobs, status="shipped")
    assert refused.json()["message"] == (
        "A new order is pending, not shipped. Change its status afterwards."
    )


def test_n5_documents_have_the_ids_and_versions_of_mongoose(
    jobs: EngineProcess, make_bullmq_worker: Callable[..., BullMqWorker]
) -> None:
    worker = make_bullmq_worker("order-queue")
    order = placed(jobs, products=[LINE, LINE])
    assert order["__v"] == 0
    lines = [line["_id"] for line in order["products"]]
    assert all(ID.fullmatch(line) for line in lines)
    assert len({*lines, order["_id"]}) == 3
    assert jobs.client.get(f"/orders/{order['_id']}").json() == order
    assert set_status(jobs, order, "shipped").json()["products"] == order["products"]
    (job,) = worker.wait_for_records(1)
    assert job["data"]["products"] == order["products"]
    assert jobs.client.get(f"/orders/{lines[0]}").status_code == httpx.codes.NOT_FOUND


def test_get_order_by_id(jobs: EngineProcess) -> None:
    order = placed(jobs)
    for path in ("/orders", "/api/orders"):
        answer = jobs.client.get(f"{path}/{order['id']}")
        assert (answer.status_code, answer.json()) == (httpx.codes.OK, order)
    assert TIME.fullmatch(order["createdAt"])
    assert TIME.fullmatch(order["updatedAt"])
    for missing in ("66f1c0de0000000000000001", "0", "abc", "x" * 24, "%00", "-1"):
        answer = jobs.client.get(f"/orders/{missing}")
        assert answer.status_code == httpx.codes.NOT_FOUND, missing
        assert answer.json() == {"message": "Order not found"}


def test_retrieve_a_list_of_all_orders(jobs: EngineProcess) -> None:
    assert jobs.client.get("/orders").json() == []
    orders = [placed(jobs, totalAmount=total) for total in (1, 2, 3)]
    assert jobs.client.get("/orders").json() == orders
    assert jobs.client.get("/api/orders").json() == orders


def test_order_status_updates(jobs: EngineProcess) -> None:
    order = placed(jobs)
    for status in ("shipped", "Delivered"):
        answer = set_status(jobs, order, status)
        assert answer.status_code == httpx.codes.OK
        changed = answer.json()
        assert changed == order | {"status": status.lower(), "updatedAt": changed["updatedAt"]}
    refused = set_status(jobs, order, "pending")
    assert refused.status_code == httpx.codes.CONFLICT
    assert refused.json()["message"] == (
        "An order that is delivered cannot become pending (allowed next: returned)."
    )
    assert set_status(jobs, order, "lost").status_code == httpx.codes.BAD_REQUEST


def test_delete_an_order(jobs: EngineProcess) -> None:
    order = placed(jobs)
    answer = jobs.client.delete(f"/orders/{order['id']}")
    assert answer.status_code == httpx.codes.OK
    assert answer.json() == {"message": "Order deleted successfully"}
    for call in (jobs.client.get, jobs.client.delete):
        assert call(f"/orders/{order['id']}").status_code == httpx.codes.NOT_FOUND


@pytest.mark.parametrize("major", ["5", "6"])
def test_event_driven_order_processing(
    jobs: EngineProcess, make_bullmq_worker: Callable[..., BullMqWorker], major: BullMqMajor
) -> None:
    worker = make_bullmq_worker(*QUEUES, major=major)
    order = placed(jobs)
    reported = {each["queue"]: each for each in worker.wait_for_records(4)}
    assert {queue: each["name"] for queue, each in reported.items()} == {
        "order-queue": "order-placed",
        "payment-queue": "process-payment",
        "inventory-queue": "update-inventory",
        "notification-queue": "send-notification",
    }
    event_id = reported["order-queue"]["data"]["eventId"]
    for each in reported.values():
        assert each["data"] == order | {"eventId": event_id, "version": 1}
        assert each["id"] == f"{event_id}-{each['name']}"
        assert each["opts"]["attempts"] == 3
        assert each["opts"]["backoff"] == {"type": "exponential", "delay": 1000}
    cancelled = set_status(jobs, order, "cancelled").json()
    later = worker.wait_for_records(7)[4:]
    assert {each["queue"]: each["name"] for each in later} == {
        "payment-queue": "cancel-payment",
        "inventory-queue": "restore-inventory",
        "notification-queue": "send-notification",
    }
    for each in later:
        assert each["data"] == cancelled | {
            "previousStatus": "pending",
            "eventId": later[0]["data"]["eventId"],
            "version": 2,
        }


def test_a_retry_with_the_same_key_places_nothing_twice(jobs: EngineProcess) -> None:
    first, again = place(jobs, key="a"), place(jobs, key="a")
    assert (again.status_code, again.json()) == (httpx.codes.CREATED, first.json())
    other = place(jobs, key="a", totalAmount=1)
    assert other.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert len(jobs.client.get("/orders").json()) == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"userId": "u"}',
        *(
            json.dumps({name: value for name, value in NEW_ORDER.items() if name != left_out})
            for left_out in NEW_ORDER
        ),
        *(json.dumps(NEW_ORDER | {name: value}) for name in NEW_ORDER for value in WRONG),
        *(
            json.dumps(NEW_ORDER | {"products": [LINE | {name: value}]})
            for name in LINE
            for value in (*WRONG, 1.5, 2**64, "x" * 129)
        ),
        *(
            json.dumps(NEW_ORDER | {"products": [LINE | {"quantity": value}]})
            for value in (-1, 2**31, "-1", "two", "1.5", "0x10")
        ),
        *(json.dumps(NEW_ORDER | {"status": value}) for value in NO_STATUS),
        json.dumps(NEW_ORDER | {"products": []}),
        json.dumps(NEW_ORDER | {"userId": "x" * 129}),
        json.dumps(NEW_ORDER | {"userId": "a\x00b"}),
        *(
            json.dumps(NEW_ORDER).replace("200.0", amount)
            for amount in (
                *("NaN", "Infinity", "1e400", "1e15", "999999999999999.99995"),
                *("-0.01", "-0.00001", '"200,00"', '"NaN"', '"0x10"'),
            )
        ),
    ],
)
def test_a_body_that_is_wrong_is_refused_and_nothing_is_written(
    shared_jobs: EngineProcess, body: str
) -> None:
    headers = {"Content-Type": "application/json"}
    answer = shared_jobs.client.post("/orders", content=body, headers=headers)
    assert answer.status_code == httpx.codes.BAD_REQUEST, answer.text
    assert list(answer.json()) == ["message"]
    assert shared_jobs.client.get("/orders").json() == []


def test_unknown_orders_and_routes_are_not_found(shared_jobs: EngineProcess) -> None:
    client = shared_jobs.client
    for method, path, status in [
        ("PATCH", "/orders", 405),
        ("POST", "/orders/1", 405),
        ("GET", "/order", 404),
        ("PUT", "/orders/66f1c0de0000000000000001", 404),
        ("DELETE", "/orders/66f1c0de0000000000000001", 404),
    ]:
        answer = client.request(method, path, json={"status": "shipped"})
        assert (answer.status_code, list(answer.json())) == (status, ["message"]), path
    huge = client.post("/orders", content=b"[" * (1 << 21))
    assert huge.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
    long = client.post("/orders", json=NEW_ORDER | {"products": NEW_ORDER["products"] * 501})
    assert long.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    text = client.post("/orders", content=json.dumps(NEW_ORDER))
    assert text.status_code == httpx.codes.BAD_REQUEST


def test_users_see_their_own_orders_only(
    make_server: Callable[..., EngineProcess], redis: Redis
) -> None:
    settings = {"ORDER_ENGINE_CONTRACT": "jobs", "ORDER_ENGINE_JOBS_AUTH": "jwt"}
    server = make_server(REDIS_URL=redis.url, **settings)
    server.start()
    own, other = ({"Authorization": f"Bearer {server.token(user)}"} for user in ("7", "8"))
    body = NEW_ORDER | {"userId": "7"}
    assert server.client.post("/orders", json=body).status_code == httpx.codes.UNAUTHORIZED
    refused = server.client.post("/orders", json=body, headers=other)
    assert refused.status_code == httpx.codes.FORBIDDEN
    order = server.client.post("/orders", json=body, headers=own).json()
    path = f"/orders/{order['id']}"
    assert server.client.get(path, headers=own).json() == order["order"]
    for answer in (
        server.client.get(path, headers=other),
        server.client.put(path, json={"status": "shipped"}, headers=other),
        server.client.delete(path, headers=other),
    ):
        assert (answer.status_code, answer.json()) == (404, {"message": "Order not found"})
    assert server.client.get("/orders", headers=other).json() == []


def test_totals_are_checked_if_configured(
    make_server: Callable[..., EngineProcess], redis: Redis
) -> None:
    server = make_server(REDIS_URL=redis.url, ORDER_ENGINE_JOBS_CHECK_TOTALS="yes", **NO_TOKEN)
    server.start()
    with closing(database_of(server)) as database:
        database.execute(
            "insert into products (product_id, name, price, currency, reported, updated_at)"
            " values ('1', 'Mug', 9.5, 'USD', 3, now())"
        )
    known = [{"productId": "1", "quantity": 2}]
    refused = place(server, products=known, totalAmount=18.99)
    assert refused.status_code == httpx.codes.BAD_REQUEST
    assert "19" in refused.json()["message"]
    assert placed(server, products=known, totalAmount=19)["totalAmount"] == 19
    assert placed(server, products=[LINE], totalAmount=1)["totalAmount"] == 1
    short = place(server, products=known, totalAmount=19)
    assert (short.status_code, short.json()) == (
        httpx.codes.CONFLICT,
        {"message": "Insufficient quantity of product 1"},
    )


def test_the_description_lists_every_route(shared_jobs: EngineProcess) -> None:
    described = shared_jobs.client.get("/openapi.json").json()
    validate(described)
    assert described["openapi"].startswith("3.1")
    assert {path: sorted(calls) for path, calls in described["paths"].items()} == {
        "/orders": ["get", "post"],
        "/orders/{id}": ["delete", "get", "put"],
    }
    order = described["components"]["schemas"]["Order"]
    assert order["properties"]["totalAmount"]["type"] == "number"
