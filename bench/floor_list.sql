-- pgbench: the orders of one regular customer with their lines, as the engine lists them.
\set regular random(1, :regulars)
with page as (
    select * from orders
    where user_id = (:users::int + :regular::int)::text and deleted_at is null
    order by id desc limit 1001
)
select o.id, o.user_id, o.status, o.total, o.currency, o.address, o.version, o.created_at,
       o.updated_at, l.id as line_id, l.product_id, l.name, l.quantity, l.unit_price
from page o join order_lines l on l.order_id = o.id
order by o.id desc, l.position;
