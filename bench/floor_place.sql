-- pgbench: one order as one statement that writes the rows the engine writes for one.
\set product random(1, :products)
\set customer random(1, :users)
with product as (
    update products
    set reserved = reserved + 2, updated_at = now()
    where product_id = :product::text and price is not null and reported - reserved >= 2
    returning product_id, name, price, currency
), placed as (
    insert into orders (
        id, user_id, status, total, currency, address, version, created_at, updated_at
    )
    select nextval('order_ids'), :customer::text, 'pending', price * 2, currency,
           (select address from users where user_id = :customer::text), 1, now(), now()
    from product
    returning id, user_id, total
), line as (
    insert into order_lines (order_id, position, id, product_id, name, quantity, unit_price)
    select placed.id, 1, nextval('order_line_ids'), product_id, name, 2, price
    from placed, product
    returning id, order_id, product_id, quantity
), held as (
    insert into reservations (product_id, order_id, quantity)
    select product_id, order_id, quantity from line
), history as (
    insert into order_history (order_id, version, event_id, changed_at, actor, action, status)
    select id, 1, gen_random_uuid(), now(), user_id, 'placed', 'pending' from placed
    returning event_id
)
insert into outbox (destination, stream_id, version, message_id, topic, body, created_at)
select 'pgbench', placed.id, 1, event_id, 'order.placed',
       format(
           '{"order_id": %s, "user_id": %s, "total_amount": %s, "items": '
           '[{"id": %s, "product_id": %s, "quantity": %s}], "event_id": "%s", "version": 1}',
           placed.id, user_id, total, line.id, product_id, quantity, event_id
       ),
       now()
from placed, line, history;
