"""The engine can publish the changes that an older application makes to orders."""

from order_engine import OrderEngine
from tests.python.support.adopted_database import SharedDatabase
from tests.python.support.event_spy import EventSpy
from tests.python.support.servers import Broker
from tests.python.support.waiting import eventually

STATUS = "update orders set status = %s where id = %s"
LEFT = "select count(*) from order_engine.legacy_outbox"


def test_changes_of_the_old_service_are_published_once_and_in_order(
    shared_database: SharedDatabase, broker: Broker
) -> None:
    spy = EventSpy(broker.url)
    shared_database.adopt("--announce")
    with OrderEngine(database_url=shared_database.url, rabbitmq_url=broker.url) as engine:
        order = shared_database.place((1, 2))
        shared_database.sql(STATUS, "Confirmed", order)
        engine.change_status(order, "shipped")
        shared_database.sql(STATUS, "Delivered", order)
        spy.wait_for(order, version=4)
        eventually(lambda: shared_database.one(LEFT) == 0, "nothing is left to publish")
    received = [(each.routing_key, each.body) for each in spy.received()]
    reported = [(key, body["version"], body.get("status")) for key, body in received]
    assert reported == [
        ("order.placed", 1, None),
        ("order.updated", 2, "Confirmed"),
        ("order.updated", 3, "Shipped"),
        ("order.updated", 4, "Delivered"),
    ]
    assert all("x-replay" not in each.properties["headers"] for each in spy.received())
