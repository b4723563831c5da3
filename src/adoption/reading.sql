-- What the older application's rows mean to the engine, and which of them break a rule. Reads only.
-- {home} is the engine's schema, or the session's own for a dry run; {old} has the older tables;
-- {catalogue} is what products are called and cost; {zone} is how times without a zone are read.
-- Callers set extra_float_digits, so that a float is written with the digits that name it exactly.

create or replace function {home}.legacy_status(word text) returns text
language sql immutable as $$
    select case
        when lower(btrim(word)) = 'canceled' then 'cancelled'
        when lower(btrim(word)) in
            ('pending', 'confirmed', 'shipped', 'delivered', 'cancelled', 'returned')
            then lower(btrim(word))
    end
$$;

-- The decimal that a float was written from: the shortest that names it. PostgreSQL's own cast
-- keeps 15 digits.
create or replace function {home}.legacy_exact(amount double precision) returns numeric
language sql stable as $$
    select case
        when amount <> 'NaN' and amount < 'Infinity' and amount > '-Infinity'
            then amount::text::numeric
    end
$$;

-- An amount as the engine keeps it; null where it can keep none.
create or replace function {home}.legacy_amount(amount double precision) returns numeric
language sql stable as $$
    select case when amount >= 0 and amount < 1e15 then nullif(
        round({home}.legacy_exact(amount), 4), 1e15
    ) end
$$;

create or replace function {home}.legacy_time(moment timestamp) returns timestamptz
language sql stable as $$
    select case when isfinite(moment) then moment at time zone {zone} end
$$;

-- The lines of orders as the engine would keep them. `in (select unnest(…))` is a hash join: the old
-- items have no index by order, and `= any(…)` would compare each of them with every number. What an old order was priced with was not
-- written down: today's catalogue, where it explains the order's total; else the total of a single
-- line; else today's catalogue all the same.
create or replace function {home}.legacy_lines(ids bigint[])
returns table (
    order_id bigint, id bigint, product_id text, quantity integer, name text, unit_price numeric,
    is_offered boolean, is_explained boolean
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
               offered.name, offered.price, {home}.legacy_amount(o.total_amount) as total,
               count(*) over whole as lines,
               case when bool_and(offered.price is not null) over whole
                   then sum(item.quantity * offered.price) over whole end as explained
        from {old}.order_items item
        join {old}.orders o on o.id = item.order_id
        left join {catalogue} offered on offered.product_id = item.product_id::text
        where item.order_id in (select unnest(ids)) and item.quantity > 0
        window whole as (partition by item.order_id)
    ) i
$$;

-- Rules that an order's own row breaks. Those of the first three kinds are no orders of the engine.
create or replace function {home}.judge_orders(ids bigint[])
returns table (kind text, row_table text, row_id text, value text, outcome text)
language sql stable as $$
    select told.kind, 'orders', o.id::text, told.value, told.outcome
    from {old}.orders o
    cross join lateral (values
        (o.id < 1, 'id', o.id::text, 'not carried over'),
        ({home}.legacy_status(o.status) is null, 'status', coalesce(o.status, 'null'),
            'not carried over'),
        ({home}.legacy_amount(o.total_amount) is null, 'total', o.total_amount::text,
            'not carried over'),
        ({home}.legacy_amount(o.total_amount) <> {home}.legacy_exact(o.total_amount), 'rounded',
            o.total_amount::text, {home}.legacy_amount(o.total_amount)::text),
        ({home}.legacy_time(o.created_at) is null, 'time', coalesce(o.created_at::text, 'null'),
            'taken as placed when it was carried over')
    ) as told (is_so, kind, value, outcome)
    where o.id = any(ids) and told.is_so
$$;

-- Whether the engine can keep it.
create or replace function {home}.is_order(id bigint, status text, total double precision)
returns boolean
language sql stable as $$
    select id >= 1 and {home}.legacy_status(status) is not null
        and {home}.legacy_amount(total) is not null
$$;

-- Rules that the items of orders break.
create or replace function {home}.judge_lines(ids bigint[])
returns table (kind text, row_table text, row_id text, value text, outcome text)
language sql stable as $$
    select 'quantity', 'order_items', i.id::text, i.quantity::text, 'not carried over'
    from {old}.order_items i
    where i.order_id in (select unnest(ids)) and i.quantity <= 0
    union all
    select 'product', 'order_items', l.id::text, l.product_id,
           'not in the catalogue: carried over without a name, price ' || l.unit_price
    from {home}.legacy_lines(ids) l
    where not l.is_offered
    union all
    select 'prices', 'orders', o.id::text, o.total_amount::text,
           'the catalogue''s prices do not explain the total: both are kept'
    from {old}.orders o
    where {home}.is_order(o.id, o.status, o.total_amount)
      and o.id in (
          select l.order_id from {home}.legacy_lines(ids) l
          where l.is_offered and not l.is_explained
      )
    union all
    select 'empty', 'orders', o.id::text, 'no items', 'the engine does not show it'
    from {old}.orders o
    where o.id = any(ids) and {home}.is_order(o.id, o.status, o.total_amount)
      and o.id not in (
          select i.order_id from {old}.order_items i
          where i.order_id in (select unnest(ids)) and i.quantity > 0
      )
$$;

create or replace function {home}.judge_products(ids bigint[])
returns table (kind text, row_table text, row_id text, value text, outcome text)
language sql stable as $$
    select told.kind, 'product_catalog', c.id::text, told.value, told.outcome
    from {old}.product_catalog c
    cross join lateral (values
        ({home}.legacy_amount(c.price) is null, 'price', c.price::text,
            'carried over without a price: not sold'),
        ({home}.legacy_amount(c.price) <> {home}.legacy_exact(c.price), 'rounded',
            c.price::text, {home}.legacy_amount(c.price)::text)
    ) as told (is_so, kind, value, outcome)
    where c.id = any(ids) and told.is_so
    union all
    select 'twice', 'product_catalog', c.id::text, 'product ' || c.product_id,
           'the first row counted when it was copied, since then the one written last'
    from {old}.product_catalog c
    where c.id = any(ids) and exists (
        select from {old}.product_catalog e where e.product_id = c.product_id and e.id < c.id
    )
$$;

create or replace function {home}.judge_users(ids bigint[])
returns table (kind text, row_table text, row_id text, value text, outcome text)
language sql stable as $$
    select 'twice', 'order_user', u.id::text, 'user ' || u.user_id,
           'the first row counted when it was copied, since then the one written last'
    from {old}.order_user u
    where u.id = any(ids) and exists (
        select from {old}.order_user e where e.user_id = u.user_id and e.id < u.id
    )
$$;
