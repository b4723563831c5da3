"""The fixture behaves as described: its consumer, its migrations and its known faults."""

import psycopg

from tests.python.support.legacy_service import PRODUCTS, LegacyOrderConsumer, LegacyService
from tests.python.support.product_service import Product, ProductService
from tests.python.support.recording import STOCK_EVENTS
from tests.python.support.servers import Broker
from tests.python.support.waiting import eventually

CREATE = "mutation { createOrder(user_id: 2, order_items: [{product_id: 1, quantity: 2}]) %s }"
ENVELOPE = "{ success orders { id } }"


def test_its_consumer_maintains_the_copies(
    legacy_order_consumer: LegacyOrderConsumer,
    product_service: ProductService,
    legacy_database_url: str,
) -> None:
    user = {"user_id": 7, "username": "a", "email": "a@b.c", "address": ["1 St"], "contact": "5"}
    product_service.publish("user.registered", user)
    product_service.publish("user.profile.updated", user | {"address": "2 St", "age": 7})
    product_service.create(Product(9, "Jug", 7.25, 3))
    product_service.publish("inventory.updated", {"product_id": 9, "new_stock": 4})
    for event in STOCK_EVENTS:
        product_service.publish_bytes(event["routing_key"], event["body"].encode())
    with psycopg.connect(legacy_database_url, autocommit=True) as database:
        stock = "select quantity from product_catalog where product_id = %s"
        eventually(lambda: database.execute(stock, [1]).fetchone() == (999_609,), "all is applied")
        products = database.execute(
            "select product_id, name, price, quantity from product_catalog order by product_id"
        ).fetchall()
        users = database.execute(
            "select email, contact, address from order_user where user_id = 7"
        ).fetchall()
    seeded = [(each.id, each.name, each.price, each.quantity) for each in PRODUCTS]
    assert products == [(1, "Mug", 9.5, 999_609), *seeded[1:], (9, "Jug", 7.25, 4)]
    assert users == [("a@b.c", "5", "2 St")]
    assert legacy_order_consumer.is_running()


def test_its_migrations_create_its_models(legacy_service: LegacyService) -> None:
    assert "(head)" in legacy_service.flask("db", "current")
    # Fails where a model and its table differ.
    legacy_service.flask("db", "check")
    legacy_service.flask("db", "downgrade", "base")
    legacy_service.flask("db", "upgrade")


def test_it_loses_the_event_when_the_broker_is_down(
    legacy_service: LegacyService, broker: Broker, legacy_database_url: str
) -> None:
    broker.server.stop()
    answer = legacy_service.graphql(CREATE % ENVELOPE, token=legacy_service.token(1))
    assert answer.json()["data"]["createOrder"]["success"]
    with psycopg.connect(legacy_database_url) as database:
        row = database.execute("select user_id, address from orders").fetchone()
    # Any valid token can order for any user.
    assert row == (2, "2 Mill Lane")
    assert "cannot publish order.placed" in legacy_service.log()
