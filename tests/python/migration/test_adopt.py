"""An adopted database: each side sees the other's writes in the same transaction."""

from decimal import Decimal

import pytest

from order_engine import OrderEngine, OrderStatus, ProductNotFound
from tests.python.support.adopted_database import SharedDatabase

STATUS = "update orders set status = %s where id = %s"
HELD = "select coalesce(sum(quantity), 0) from order_engine.reservations where order_id = %s"


def figures(report: dict[str, object], what: str) -> dict[str, str]:
    rows = report["figures"]
    assert isinstance(rows, list)
    (row,) = [row for row in rows if row["what"] == what]
    assert isinstance(row, dict)
    return row


def test_existing_rows_are_adopted(shared_database: SharedDatabase) -> None:
    first = shared_database.place((1, 2))
    second = shared_database.place((2, 3), (3, 1), total=25.29)
    shared_database.sql(STATUS, "SHIPPED", second)
    report = shared_database.adopt()
    with shared_database.engine() as engine:
        order = engine.get_order(second)
        assert (order.user_id, order.status, order.total) == ("1", "shipped", Decimal("25.29"))
        assert [(line.product_id, line.quantity, line.unit_price) for line in order.lines] == [
            ("2", 3, Decimal("0.1")),
            ("3", 1, Decimal("24.99")),
        ]
        assert [entry.actor for entry in engine.order_history(first)] == ["legacy"]
    assert report["findings_by_kind"] == {}
    assert figures(report, "totals")["engine"] == "44.2900"
    # The product service has subtracted them before.
    assert shared_database.level(1) == (999_616, 0, 999_616)


def test_writes_of_the_old_service_reach_the_engine(shared_database: SharedDatabase) -> None:
    shared_database.adopt()
    order = shared_database.place((1, 2), (2, 1), (1, 3), total=47.6)
    with shared_database.engine() as engine:
        placed = engine.get_order(order)
        assert [line.quantity for line in placed.lines] == [2, 1, 3]
        assert placed.total == Decimal("47.6")
        assert (placed.version, placed.address) == (1, "here")
        assert shared_database.level(1) == (999_616, 5, 999_616)
        shared_database.sql(STATUS, "Confirmed", order)
        assert engine.get_order(order).version == 2
        shared_database.sql(STATUS, "cancelled", order)
        history = engine.order_history(order)
        assert [(entry.version, entry.status) for entry in history] == [
            (1, OrderStatus.PENDING),
            (2, OrderStatus.CONFIRMED),
            (3, OrderStatus.CANCELLED),
        ]
        assert shared_database.level(1) == (999_616, 0, 999_616)
        assert engine.events.dead_letters() == []


def test_writes_of_the_engine_reach_the_old_tables(shared_database: SharedDatabase) -> None:
    before = shared_database.place((1, 1))
    shared_database.adopt()
    with shared_database.engine() as engine:
        order = engine.place_order(user_id=1, lines=[(1, 2), (2, 1)])
        after = shared_database.place((1, 1))
        # Both use one sequence.
        assert (order.id, after) == (before + 1, before + 2)
        assert shared_database.sql(
            "select user_id, total_amount, status, address from orders where id = %s", order.id
        ) == [(1, 19.1, "Pending", "1 Mill Lane")]
        items = shared_database.sql(
            "select id, product_id, quantity from order_items where order_id = %s order by id",
            order.id,
        )
        assert items == [(line.id, int(line.product_id), line.quantity) for line in order.lines]
        engine.change_status(order.id, "shipped")
        assert shared_database.one("select status from orders where id = %s", order.id) == "Shipped"
        engine.delete_order(before)
        assert shared_database.sql("select id from orders order by id") == [(order.id,), (after,)]
        engine.upsert_user(9, email="a@b.c", address="9 St")
        engine.upsert_product(9, name="Jug", price="7.25", quantity=5)
        engine.set_stock(1, 7)
        # The row of a new product is replaced by the one that the old consumer writes.
        shared_database.sql(
            "insert into product_catalog (product_id, name, price, quantity)"
            " values (9, 'Jug', 7.25, 5)"
        )
    assert shared_database.sql("select email, contact from order_user where user_id = 9") == [
        ("a@b.c", "")
    ]
    assert shared_database.sql(
        "select name, price, quantity from product_catalog where product_id = 9"
    ) == [("Jug", 7.25, 5)]
    assert shared_database.level(1) == (7, 0, 7)
    shared_database.adopt()


def test_a_running_engine_uses_the_old_id_sequence_immediately(
    shared_database: SharedDatabase,
) -> None:
    for _ in range(5):
        shared_database.place((1, 1))
    with shared_database.engine() as engine:
        # Its statements were prepared before the adoption.
        engine.upsert_product(77, name="Jug", price=1, quantity=10)
        with pytest.raises(ProductNotFound):
            engine.place_order(user_id=1, lines=[(78, 1)])
        shared_database.adopt()
        assert engine.place_order(user_id=1, lines=[(77, 1)]).id == 6
        assert shared_database.place((1, 1)) == 7
        undone = shared_database.command("--undo")
        assert undone.returncode == 0, undone.stderr
        assert engine.place_order(user_id=1, lines=[(77, 1)]).id > 7
    assert shared_database.place((1, 1)) == 8


def test_deleted_items_and_orders_release_their_reservations(
    shared_database: SharedDatabase,
) -> None:
    shared_database.adopt()
    order = shared_database.place((1, 5), (2, 5), total=48)
    shared_database.sql(
        "update order_items set quantity = 3 where order_id = %s and product_id = 1", order
    )
    assert shared_database.level(1)[1] == 3
    shared_database.sql("delete from order_items where order_id = %s and product_id = 2", order)
    assert shared_database.level(2)[1] == 0
    with shared_database.old.transaction():
        shared_database.sql("delete from order_items where order_id = %s", order)
        shared_database.sql("delete from orders where id = %s", order)
    assert shared_database.level(1)[1] == 0
    rows = shared_database.sql(
        "select o.status, o.version, o.deleted_at is not null, count(l.id)"
        " from order_engine.orders o left join order_engine.order_lines l on l.order_id = o.id"
        " group by o.id"
    )
    assert rows == [("cancelled", 2, True, 1)]
    shared_database.adopt()


def test_violations_are_listed_and_never_fail_the_old_service(
    shared_database: SharedDatabase,
) -> None:
    insert = "insert into orders (user_id, total_amount, status) values (1, %s, %s) returning id"
    item = (
        "insert into order_items (order_id, product_id, quantity) values (%s, %s, %s) returning id"
    )

    def break_rules() -> set[tuple[str, str, str]]:
        one = shared_database.one
        lost, none = one(insert, 1, "Lost"), one(insert, 1, None)
        endless, negative = one(insert, float("inf"), "Pending"), one(insert, -1, "Pending")
        rounded = one(insert, 0.10002, "pending")
        shared_database.sql(item, rounded, 2, 1)
        empty_item = one(item, rounded, 2, 0)
        unknown_item = one(item, rounded, 555, 1)
        return {
            ("status", "orders", str(lost)),
            ("status", "orders", str(none)),
            ("total", "orders", str(endless)),
            ("total", "orders", str(negative)),
            ("rounded", "orders", str(rounded)),
            ("quantity", "order_items", str(empty_item)),
            ("product", "order_items", str(unknown_item)),
            *(("time", "orders", str(each)) for each in (lost, none, endless, negative, rounded)),
        }

    expected = break_rules() | {("prices", "orders", "5")}
    dry = shared_database.adopt("--dry-run")
    assert {(each["kind"], each["table"], each["id"]) for each in dry["findings"]} == expected
    assert shared_database.one("select to_regnamespace('order_engine') is null")
    report = shared_database.adopt()
    assert shared_database.findings() == expected
    (rounding,) = [each for each in report["findings"] if each["kind"] == "rounded"]
    assert (rounding["value"], rounding["outcome"]) == ("0.10002", "0.1000")
    assert figures(report, "orders")["not_imported"] == "4"
    assert figures(report, "totals")["rounding"] == "-0.00002"
    later = break_rules()
    assert shared_database.findings() == expected | later
    # Repaired rows become orders of the engine.
    (mended,) = [number for kind, _, number in later if kind == "total"][:1]
    shared_database.sql("update orders set total_amount = 5 where id = %s", int(mended))
    assert ("total", "orders", mended) not in shared_database.findings()
    assert shared_database.one("select count(*) from order_engine.orders") == 3
    shared_database.adopt()


def test_d12_the_operator_says_what_unknown_statuses_mean(
    shared_database: SharedDatabase,
) -> None:
    place, sql = shared_database.place, shared_database.sql
    paid, none, odd = place((1, 1)), place((1, 1)), place((1, 1))
    for order, status in ((paid, "Paid"), (none, None), (odd, "Odd")):
        sql(STATUS, status, order)
    refused = shared_database.command("--map-status", "Paid=payed")
    assert refused.returncode == 1
    assert "Paid=confirmed" in refused.stderr
    maps = ("--map-status", "paid=confirmed", "--map-status", "NULL=pending")
    assert shared_database.adopt("--dry-run", *maps)["findings_by_kind"] == {"status": 1}
    report = shared_database.adopt(*maps)
    assert report["findings_by_kind"] == {"status": 1}
    with shared_database.engine() as engine:
        assert engine.get_order(paid).status == "confirmed"
        assert engine.get_order(none).status == "pending"
        # Later writes are read alike, also after a run that does not repeat the options.
        shared_database.adopt()
        sql(STATUS, " PAID ", none)
        assert engine.get_order(none).status == "confirmed"
        assert shared_database.doctor("adoption") == (
            "Synchronised with the tables in public, except 1 orders that break a rule and were "
            "not imported."
        )
        shared_database.adopt("--map-status", "Odd=shipped")
        assert engine.get_order(odd).status == "shipped"
        assert shared_database.findings() == set()
        assert shared_database.doctor("adoption") == "Synchronised with the tables in public."


def test_floats_become_the_decimals_they_were_written_from(shared_database: SharedDatabase) -> None:
    for total in (0.1 + 0.2, 19.99, 1234567890.1234, 0.00005, 1e-7, 999_999_999_999_999.9):
        shared_database.place((2, 1), total=total)
    shared_database.adopt("--dry-run")
    shared_database.adopt()
    totals = shared_database.sql("select total from order_engine.orders order by id")
    assert [str(total) for (total,) in totals] == [
        "0.3000",
        "19.9900",
        "1234567890.1234",
        "0.0001",
        "0.0000",
        "999999999999999.9000",
    ]
    assert {number for kind, _, number in shared_database.findings() if kind == "rounded"} == {
        "1",
        "4",
        "5",
    }


def test_data_that_the_old_tables_cannot_hold_stays_in_the_engine(
    shared_database: SharedDatabase,
) -> None:
    shared_database.adopt()
    with shared_database.engine() as engine:
        engine.upsert_product("tea", name="Tea", price=1, quantity=10)
        order = engine.place_order(user_id="ada", lines=[(1, 1)])
        other = engine.place_order(user_id=1, lines=[("tea", 1)])
    assert shared_database.one("select count(*) from orders") == 0
    assert shared_database.findings() == {
        ("product", "order_engine", "tea"),
        ("order", "order_engine", str(order.id)),
        ("order", "order_engine", str(other.id)),
    }
    refused = shared_database.command("--undo")
    assert refused.returncode == 2
    assert f"order {order.id}" in refused.stderr
    assert shared_database.command("--undo", "--force").returncode == 0


def test_an_altered_table_fails_neither_side(shared_database: SharedDatabase) -> None:
    shared_database.adopt()
    shared_database.sql("alter table orders add column channel varchar(20)")
    order = shared_database.place((1, 1))
    shared_database.sql("alter table orders alter column channel set default 'web'")
    shared_database.sql("alter table orders drop column address")
    lost = shared_database.one(
        "insert into orders (user_id, total_amount, status) values (1, 9.5, 'Pending') returning id"
    )
    assert ("error", "orders", str(lost)) in shared_database.findings()
    with shared_database.engine() as engine:
        placed = engine.place_order(user_id=1, lines=[(1, 1)])
        assert {each.id for each in engine.list_orders().orders} == {order, placed.id}
    assert ("order", "order_engine", str(placed.id)) in shared_database.findings()


def test_copy_and_locking_reads_work(shared_database: SharedDatabase) -> None:
    shared_database.adopt()
    with shared_database.old.cursor() as cursor:
        with cursor.copy("copy orders (user_id, total_amount, status) from stdin") as copy:
            for user in range(50):
                copy.write_row((user, 9.5, "Pending"))
        cursor.execute("select id from orders where user_id < 3 for update")
        assert len(cursor.fetchall()) == 3
    assert shared_database.one("select count(*) from order_engine.orders") == 50
    shared_database.sql("truncate orders, order_items")
    deleted = "select count(*) from order_engine.orders where deleted_at is not null"
    assert shared_database.one(deleted) == 50


def test_publishing_legacy_changes_is_opt_in(shared_database: SharedDatabase) -> None:
    waiting = "select order_id, version from order_engine.legacy_outbox order by 1, 2"
    shared_database.adopt()
    shared_database.place((1, 1))
    assert shared_database.sql(waiting) == []
    shared_database.adopt("--announce")
    order = shared_database.place((1, 1))
    shared_database.sql(STATUS, "Shipped", order)
    assert shared_database.sql(waiting) == [(order, 1), (order, 2)]
    shared_database.adopt()
    shared_database.sql(STATUS, "Delivered", order)
    assert shared_database.sql(waiting)[-1] == (order, 3)
    shared_database.adopt("--no-announce")
    shared_database.sql("delete from order_items where order_id = %s", order)
    shared_database.sql("delete from orders where id = %s", order)
    assert len(shared_database.sql(waiting)) == 3


def test_the_engines_schema_may_have_another_name(shared_database: SharedDatabase) -> None:
    shared_database.env["ORDER_ENGINE_DATABASE_SCHEMA"] = "engine_two"
    shared_database.adopt()
    order = shared_database.place((1, 1))
    with OrderEngine(database_url=shared_database.url, database_schema="engine_two") as engine:
        assert engine.get_order(order).id == order
