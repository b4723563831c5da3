-- pgbench: 64 orders as one statement that writes the rows the engine writes for them.
with request as materialized (
    select n, (1 + floor(random() * :users))::int::text as customer,
           (1 + floor(random() * :products))::int::text as product
    from generate_series(1, 64) n
), locked as materialized (
    -- Lock in one order, so that transactions cannot deadlock.
    select product_id, name, price, currency, reported - reserved as available
    from products
    where product_id in (select product from request) and price is not null
    order by product_id
    for update
), sold as (
    update products
    set reserved = reserved + wanted.quantity, updated_at = now()
    from (select product, 2 * count(*) as quantity from request group by product) as wanted, locked
    where products.product_id = wanted.product and locked.product_id = wanted.product
      and locked.available >= wanted.quantity
    returning products.product_id, locked.name, locked.price, locked.currency
), placed as materialized (
    select nextval('order_ids') as id, nextval('order_line_ids') as line_id, request.customer,
           sold.product_id, sold.name, sold.price, sold.currency, gen_random_uuid() as event_id
    from request join sold on sold.product_id = request.product
), an_order as (
    insert into orders (
        id, user_id, status, total, currency, address, version, created_at, updated_at
    )
    select placed.id, customer, 'pending', price * 2, currency, users.address, 1, now(), now()
    from placed left join users on users.user_id = customer
), line as (
    insert into order_lines (order_id, position, id, product_id, name, quantity, unit_price)
    select id, 1, line_id, product_id, name, 2, price from placed
), held as (
    insert into reservations (product_id, order_id, quantity)
    select product_id, id, 2 from placed
), history as (
    insert into order_history (order_id, version, event_id, changed_at, actor, action, status)
    select id, 1, event_id, now(), customer, 'placed', 'pending' from placed
)
insert into outbox (destination, stream_id, version, message_id, topic, body, created_at)
select 'pgbench', id, 1, event_id, 'order.placed',
       format(
           '{"order_id": %s, "user_id": %s, "total_amount": %s, "items": '
           '[{"id": %s, "product_id": %s, "quantity": %s}], "event_id": "%s", "version": 1}',
           id, customer, price * 2, line_id, product_id, 2, event_id
       ),
       now()
from placed;
