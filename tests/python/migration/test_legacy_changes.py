"""A running engine announces what an older application on its database does to orders, if asked."""

from order_engine import OrderEngine
from tests.python.conftest import Broker
from tests.python.support.adopted_database import Shared
from tests.python.support.event_spy import Witness
from tests.python.support.waiting import eventually

STATUS = "update orders set status = %s where id = %s"
LEFT = "select count(*) from order_engine.unannounced"


def test_what_the_old_service_does_is_announced_once_and_in_order(
    shared_database: Shared, broker: Broker
) -> None:
    witness = Witness(broker.url)
    shared_database.adopt("--announce")
    with OrderEngine(database_url=shared_database.url, rabbitmq_url=broker.url) as engine:
        order = shared_database.place((1, 2))
        shared_database.sql(STATUS, "Confirmed", order)
        engine.change_status(order, "shipped")
        shared_database.sql(STATUS, "Delivered", order)
        witness.wait_for(order, version=4)
        eventually(lambda: shared_database.one(LEFT) == 0, "nothing is left to announce")
    heard = [(each.routing_key, each.body) for each in witness.heard()]
    told = [(key, body["version"], body.get("status")) for key, body in heard]
    assert told == [
        ("order.placed", 1, None),
        ("order.updated", 2, "Confirmed"),
        ("order.updated", 3, "Shipped"),
        ("order.updated", 4, "Delivered"),
    ]
    assert all("x-replay" not in each.properties["headers"] for each in witness.heard())
