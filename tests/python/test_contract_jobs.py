"""The document of the contract `jobs`, section by section, against a served engine."""

import re
from collections.abc import Callable

import httpx
import pytest

from tests.python.engine_process import EngineProcess
from tests.python.jobs_door import LINE, NEW_ORDER, NO_TOKEN, place, placed, set_status
from tests.python.node_clients import BullMqMajor, BullMqWorker
from tests.services import Redis

ID = re.compile(r"[0-9a-f]{24}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
QUEUES = ("order-queue", "payment-queue", "inventory-queue", "notification-queue")


@pytest.fixture
def jobs(make_server: Callable[..., EngineProcess], redis: Redis) -> EngineProcess:
    """The engine behind the document's gateway: whoever reaches its door may use it."""
    server = make_server(REDIS_URL=redis.url, **NO_TOKEN)
    server.start()
    return server


@pytest.mark.parametrize("path", ["/orders", "/api/orders"])
def test_create_a_new_order(jobs: EngineProcess, path: str) -> None:
    answer = place(jobs, path=path)
    assert answer.status_code == httpx.codes.CREATED
    body = answer.json()
    order = body.pop("order")
    assert body.pop("message") == "Order created successfully"
    # The deployed service answers with the bare order, the documented one with all of it.
    assert body == order
    assert ID.fullmatch(order["id"])
    assert order["_id"] == order["id"]
    assert order["userId"] == "user-id"
    assert order["products"] == [LINE]
    assert order["status"] == "pending"
    assert order["totalAmount"] == NEW_ORDER["totalAmount"]
    assert list(order) == [
        *("id", "_id", "userId", "products", "status", "totalAmount", "createdAt", "updatedAt")
    ]


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
    told = {each["queue"]: each for each in worker.wait_for_records(4)}
    assert {queue: each["name"] for queue, each in told.items()} == {
        "order-queue": "order-placed",
        "payment-queue": "process-payment",
        "inventory-queue": "update-inventory",
        "notification-queue": "send-notification",
    }
    event_id = told["order-queue"]["data"]["eventId"]
    for each in told.values():
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
