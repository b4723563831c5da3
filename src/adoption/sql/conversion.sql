-- Converts the older application's values, and finds the rows that break a rule. Reads only.
-- :"home" is the engine's schema, or pg_temp for a dry run; :"old" has the older tables; :catalog
-- has names and prices of products; :'zone' is the time zone of timestamps without one. Callers set
-- extra_float_digits = 1, so that a float is printed with the digits that identify it.

-- :'statuses' is what the operator says that the application's own words mean.
create or replace function :"home".legacy_status(word text) returns text
language sql immutable as $$
    select coalesce(
        :'statuses'::jsonb ->> lower(btrim(coalesce(word, 'null'))),
        case
            when lower(btrim(word)) = 'canceled' then 'cancelled'
            when lower(btrim(word)) in
                ('pending', 'confirmed', 'shipped', 'delivered', 'cancelled', 'returned')
                then lower(btrim(word))
        end
    )
$$;

-- The decimal that a float was written from: the shortest that identifies it. PostgreSQL's cast to
-- numeric keeps only 15 digits.
create or replace function :"home".legacy_exact(amount double precision) returns numeric
language sql stable as $$
    select case
        when amount <> 'NaN' and amount < 'Infinity' and amount > '-Infinity'
            then amount::text::numeric
    end
$$;

-- An amount with four decimals; null where the engine cannot represent it.
create or replace function :"home".legacy_amount(amount double precision) returns numeric
language sql stable as $$
    select case when amount >= 0 and amount < 1e15 then nullif(
        round(:"home".legacy_exact(amount), 4), 1e15
    ) end
$$;

create or replace function :"home".legacy_time(moment timestamp) returns timestamptz
language sql stable as $$
    select case when isfinite(moment) then moment at time zone :'zone' end
$$;

-- The lines of orders. The older application did not store the prices of an order. They are taken
-- from today's catalog where it explains the order's total; else from the total of a single line;
-- else from today's catalog all the same. `in (select unnest(…))` is a hash join: the old items
-- have no index by order, and `= any(…)` would compare each item with every id.
create or replace function :"home".legacy_lines(ids bigint[])
returns table (
    order_id bigint, id bigint, product_id text, quantity integer, name text, unit_price numeric,
    is_in_catalog boolean, is_explained boolean
)
language sql stable as $$
    select i.order_id, i.id, i.product_id, i.quantity, coalesce(i.name, ''),
           case
               when i.explained = i.total then i.price
               when i.lines = 1 and round(i.total / i.quantity, 4) * i.quantity = i.total
                   then round(i.total / i.quantity, 4)
               else coalesce(i.price, 0)
           end,
           i.price is not null,
           coalesce(i.explained = i.total, false)
               or i.lines = 1 and round(i.total / i.quantity, 4) * i.quantity = i.total
    from (
        select item.order_id::bigint, item.id::bigint, item.product_id::text, item.quantity,
               product.name, product.price, :"home".legacy_amount(o.total_amount) as total,
               count(*) over whole as lines,
               case when bool_and(product.price is not null) over whole
                   then sum(item.quantity * product.price) over whole end as explained
        from :"old".order_items item
        join :"old".orders o on o.id = item.order_id
        left join :catalog product on product.product_id = item.product_id::text
        where item.order_id in (select unnest(ids)) and item.quantity > 0
        window whole as (partition by item.order_id)
    ) i
$$;

-- Rules that an order's own row breaks. An order that breaks one of the first three is not
-- imported.
create or replace function :"home".check_orders(ids bigint[])
returns table (kind text, row_table text, row_id text, value text, outcome text)
language sql stable as $$
    select rule.kind, 'orders', o.id::text, rule.value, rule.outcome
    from :"old".orders o
    cross join lateral (values
        (o.id < 1, 'id', o.id::text, 'not imported'),
        (:"home".legacy_status(o.status) is null, 'status', coalesce(o.status, 'null'),
            'not imported'),
        (:"home".legacy_amount(o.total_amount) is null, 'total', o.total_amount::text,
            'not imported'),
        (:"home".legacy_amount(o.total_amount) <> :"home".legacy_exact(o.total_amount), 'rounded',
            o.total_amount::text, :"home".legacy_amount(o.total_amount)::text),
        (:"home".legacy_time(o.created_at) is null, 'time', coalesce(o.created_at::text, 'null'),
            'taken as placed when it was imported')
    ) as rule (is_broken, kind, value, outcome)
    where o.id = any(ids) and rule.is_broken
$$;

-- Whether the engine can represent an order.
create or replace function :"home".is_order(id bigint, status text, total double precision)
returns boolean
language sql stable as $$
    select id >= 1 and :"home".legacy_status(status) is not null
        and :"home".legacy_amount(total) is not null
$$;

-- Rules that the items of orders break.
create or replace function :"home".check_lines(ids bigint[])
returns table (kind text, row_table text, row_id text, value text, outcome text)
language sql stable as $$
    select 'quantity', 'order_items', i.id::text, i.quantity::text, 'not imported'
    from :"old".order_items i
    where i.order_id in (select unnest(ids)) and i.quantity <= 0
    union all
    select 'product', 'order_items', l.id::text, l.product_id,
           'not in the catalogue: imported without a name, price ' || l.unit_price
    from :"home".legacy_lines(ids) l
    where not l.is_in_catalog
    union all
    select 'prices', 'orders', o.id::text, o.total_amount::text,
           'the catalogue''s prices do not explain the total: both are kept'
    from :"old".orders o
    where :"home".is_order(o.id, o.status, o.total_amount)
      and o.id in (
          select l.order_id from :"home".legacy_lines(ids) l
          where l.is_in_catalog and not l.is_explained
      )
    union all
    select 'empty', 'orders', o.id::text, 'no items', 'the engine does not show it'
    from :"old".orders o
    where o.id = any(ids) and :"home".is_order(o.id, o.status, o.total_amount)
      and o.id not in (
          select i.order_id from :"old".order_items i
          where i.order_id in (select unnest(ids)) and i.quantity > 0
      )
$$;

create or replace function :"home".check_products(ids bigint[])
returns table (kind text, row_table text, row_id text, value text, outcome text)
language sql stable as $$
    select rule.kind, 'product_catalog', c.id::text, rule.value, rule.outcome
    from :"old".product_catalog c
    cross join lateral (values
        (:"home".legacy_amount(c.price) is null, 'price', c.price::text,
            'imported without a price: not sold'),
        (:"home".legacy_amount(c.price) <> :"home".legacy_exact(c.price), 'rounded',
            c.price::text, :"home".legacy_amount(c.price)::text)
    ) as rule (is_broken, kind, value, outcome)
    where c.id = any(ids) and rule.is_broken
    union all
    select 'twice', 'product_catalog', c.id::text, 'product ' || c.product_id,
           'the first row counted when it was copied, since then the one written last'
    from :"old".product_catalog c
    where c.id = any(ids) and exists (
        select from :"old".product_catalog e where e.product_id = c.product_id and e.id < c.id
    )
$$;

create or replace function :"home".check_users(ids bigint[])
returns table (kind text, row_table text, row_id text, value text, outcome text)
language sql stable as $$
    select 'twice', 'order_user', u.id::text, 'user ' || u.user_id,
           'the first row counted when it was copied, since then the one written last'
    from :"old".order_user u
    where u.id = any(ids) and exists (
        select from :"old".order_user e where e.user_id = u.user_id and e.id < u.id
    )
$$;
