-- Counts and sums of the old tables before an adoption.
with old_orders as (
    select id, :"home".legacy_exact(total_amount) as stated,
           :"home".legacy_amount(total_amount) as total,
           :"home".is_order(id, status, total_amount) as is_kept
    from :"old".orders
), old_items as (
    select i.quantity, i.quantity > 0 and coalesce(o.is_kept, false) as is_kept
    from :"old".order_items i left join old_orders o on o.id = i.order_id
), figures (place, what, old, not_imported, rounding) as (
    select 1, 'orders', count(*)::numeric, count(*) filter (where not is_kept), 0::numeric
    from old_orders
    union all
    select 2, 'totals', coalesce(sum(stated), 0),
           coalesce(sum(stated) filter (where not is_kept), 0),
           coalesce(sum(total - stated) filter (where is_kept), 0)
    from old_orders
    union all
    select 3, 'lines', count(*), count(*) filter (where not is_kept), 0 from old_items
    union all
    select 4, 'pieces', coalesce(sum(quantity), 0),
           coalesce(sum(quantity) filter (where not is_kept), 0), 0
    from old_items
    union all
    select 5, 'users', count(distinct user_id), 0, 0 from :"old".order_user
    union all
    select 6, 'products', count(distinct product_id), 0, 0 from :"old".product_catalog
)
select what, old::text, not_imported::text, rounding::text, null::text as engine_only,
       null::text as engine, true as is_equal
from figures
order by place
