"""The old service's tables as views of the engine's: both programs look at the same data.

Less than `order-engine adopt` does, and enough to compare answers: what the old service writes are
orders of the engine, and what it reads are the engine's products, users and orders.
"""

import psycopg

from tests.python.legacy_service import PRODUCTS, USERS

VIEWS = """
create view public.product_catalog as
    select product_id::int as id, product_id::int as product_id, name, price::float8 as price,
           (reported - reserved)::int as quantity
    from order_engine.products;

create view public.order_user as
    select user_id::int as id, user_id::int as user_id, email, contact, address
    from order_engine.users;

create view public.orders as
    select id::int as id, user_id::int as user_id, total::float8 as total_amount,
           initcap(status)::varchar(50) as status, created_at::timestamp as created_at,
           updated_at::timestamp as updated_at, address
    from order_engine.orders where deleted_at is null;

create view public.order_items as
    select id::int as id, product_id::int as product_id, quantity, order_id::int as order_id
    from order_engine.order_lines;

create function public.write_order() returns trigger language plpgsql as $$
begin
    new.id := nextval('order_engine.order_ids');
    insert into order_engine.orders (
        id, user_id, status, total, currency, address, version, created_at, updated_at
    ) values (
        new.id, new.user_id, lower(new.status), new.total_amount::numeric(19, 4), 'USD',
        new.address, 1, now(), now()
    );
    return new;
end $$;

create function public.write_item() returns trigger language plpgsql as $$
begin
    new.id := nextval('order_engine.order_line_ids');
    insert into order_engine.order_lines (
        order_id, position, id, product_id, name, quantity, unit_price
    )
    select new.order_id, new.id, new.id, product_id, name, new.quantity, price
    from order_engine.products where product_id = new.product_id::text;
    return new;
end $$;

create trigger write_order instead of insert on public.orders
    for each row execute function public.write_order();
create trigger write_item instead of insert on public.order_items
    for each row execute function public.write_item();
"""


def share(database_url: str) -> None:
    """Puts the views into a database with the engine's tables, and products and users there."""
    with psycopg.connect(database_url) as database, database.cursor() as cursor:
        cursor.execute(VIEWS)
        cursor.executemany(
            "insert into order_engine.users values (%s, null, %s, %s, %s, now())",
            [(str(user.id), user.email, user.address, user.contact) for user in USERS],
        )
        cursor.executemany(
            "insert into order_engine.products values (%s, %s, %s, 'USD', %s, 0, now())",
            [(str(each.id), each.name, each.price, each.quantity) for each in PRODUCTS],
        )
