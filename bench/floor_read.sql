-- pgbench: one order with its lines, by key.
\set order random(1, :orders)
select o.id, o.user_id, o.status, o.total, o.currency, o.address, o.version, o.created_at,
       o.updated_at, l.id as line_id, l.product_id, l.name, l.quantity, l.unit_price
from orders o join order_lines l on l.order_id = o.id
where o.id = :order::bigint and o.deleted_at is null
order by l.position;
