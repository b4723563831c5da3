"""A running engine announces what an older application on its database does to orders."""

from tests.python.product_service import Product
from tests.python.shop import Shop

# As its triggers note it.
SHIP = """
    with changed as (
        update orders set status = 'shipped', version = version + 1, updated_at = now()
        where id = %s returning id, version, updated_at
    ), noted as (
        insert into order_history
            (order_id, version, event_id, at, actor, action, previous_status, status)
        select id, version, gen_random_uuid(), updated_at, 'older', 'updated', 'pending', 'shipped'
        from changed
    )
    insert into unannounced (order_id, version) select id, version from changed returning 1
"""


def test_a_running_engine_announces_what_an_older_application_did(shop: Shop) -> None:
    shop.offer(Product(1))
    placed = shop.placed((1, 1))
    assert shop.rows(SHIP, placed) == [(1,)]
    told = shop.witness.wait_for(placed, version=2)
    assert told.routing_key == "order.updated"
    assert (told.body["status"], told.body["previous_status"]) == ("Shipped", "Pending")
    assert "x-replay" not in told.properties["headers"]
    assert shop.row("select count(*) from unannounced") == (0,)
