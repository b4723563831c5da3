-- Counts and sums on both sides, and what explains a difference, in one snapshot. A row that breaks
-- a rule counts as not imported; what only the engine has, as engine_only.
with old_orders as (
    select id, status, legacy_exact(total_amount) as stated, legacy_amount(total_amount) as total,
           user_id, is_order(id, status, total_amount) as is_kept
    from :"old".orders
), own_orders as (
    select o.id, o.total, coalesce(old.is_kept, false) as is_mirrored,
           old.is_kept and (
               old.total <> o.total or old.user_id::text <> o.user_id
               or legacy_status(old.status) <> o.status
           ) as is_different
    from orders o left join old_orders old on old.id = o.id
    where o.deleted_at is null
), old_items as (
    select i.id, i.order_id, i.quantity,
           i.quantity > 0 and coalesce(o.is_kept, false) as is_kept
    from :"old".order_items i left join old_orders o on o.id = i.order_id
), own_lines as (
    select l.id, l.quantity, i.id is not null as is_mirrored,
           i.id is not null and (i.quantity, i.order_id) is distinct from (l.quantity, l.order_id)
               as is_different
    from order_lines l
    join own_orders o on o.id = l.order_id
    left join old_items i on i.id = l.id and i.is_kept
), old_users as (
    select distinct user_id::text as user_id from :"old".order_user
), own_users as (
    select k.user_id, o.user_id is not null as is_mirrored
    from users k left join old_users o on o.user_id = k.user_id
), old_products as (
    select product_id::text as product_id,
           array_agg(legacy_amount(price)) as prices, array_agg(quantity::bigint) as numbers
    from :"old".product_catalog group by product_id
), own_products as (
    select p.product_id, o.product_id is not null as is_mirrored,
           o.product_id is not null and not (
               array_position(o.prices, p.price) is not null
               and array_position(o.numbers, p.reported) is not null
           ) as is_different
    from products p left join old_products o on o.product_id = p.product_id
    -- A product that never had a price or a stock number is not compared.
    where o.product_id is not null or p.price is not null
), figures (place, what, old, not_imported, rounding, engine_only, engine, other) as (
    select 1, 'orders', count(*)::numeric, count(*) filter (where not is_kept), 0,
           (select count(*) from own_orders where not is_mirrored),
           (select count(*) from own_orders)::numeric,
           (select count(*) from own_orders where is_different)
               + (select count(*) from old_orders o where o.is_kept
                  and not exists (select from own_orders w where w.id = o.id))
    from old_orders
    union all
    select 2, 'totals', coalesce(sum(stated), 0),
           coalesce(sum(stated) filter (where not is_kept), 0),
           coalesce(sum(total - stated) filter (where is_kept), 0),
           (select coalesce(sum(total), 0) from own_orders where not is_mirrored),
           (select coalesce(sum(total), 0) from own_orders), 0
    from old_orders
    union all
    select 3, 'lines', count(*), count(*) filter (where not is_kept), 0,
           (select count(*) from own_lines where not is_mirrored),
           (select count(*) from own_lines), (select count(*) from own_lines where is_different)
               + (select count(*) from old_items i where i.is_kept
                  and not exists (select from own_lines l where l.id = i.id))
    from old_items
    union all
    select 4, 'pieces', coalesce(sum(quantity), 0),
           coalesce(sum(quantity) filter (where not is_kept), 0), 0,
           (select coalesce(sum(quantity), 0) from own_lines where not is_mirrored),
           (select coalesce(sum(quantity), 0) from own_lines), 0
    from old_items
    union all
    select 5, 'users', count(*), 0, 0, (select count(*) from own_users where not is_mirrored),
           (select count(*) from own_users), 0
    from old_users
    union all
    select 6, 'products', count(*), 0, 0, (select count(*) from own_products where not is_mirrored),
           (select count(*) from own_products),
           (select count(*) from own_products where is_different)
    from old_products
)
select what, old::text, not_imported::text, rounding::text, engine_only::text, engine::text,
       other::bigint, old - not_imported + rounding + engine_only = engine and other = 0 as is_equal
from figures
order by place
