-- Imports rows of the older application's tables into the engine's: called by copying and by the
-- triggers on the older tables. Trigger functions set `order_engine.mirroring`, which the triggers
-- of both sides check, so that no write is mirrored back. A row that breaks a rule never fails the
-- older application's statement; it becomes a finding.

create or replace function :"engine".legacy_int(id text) returns integer
language sql immutable as $$
    select case
        when id ~ '^(0|-?[1-9][0-9]{0,9})$'
            and id::bigint between -2147483648 and 2147483647
        then id::integer end
$$;

-- Whether an engine's consumer is running. Then only the engine writes stock numbers.
create or replace function :"engine".consumer_runs() returns boolean
language sql volatile as $$
    select exists (
        select from :"engine".leases
        where starts_with(name, 'consumer:') and expires_at > clock_timestamp()
          and expires_at <= clock_timestamp() + interval '35 seconds'
    )
$$;

-- Replaces the findings about some rows.
create or replace function :"engine".replace_findings(
    of_table text, ids bigint[], kinds text[], findings :"engine".adoption_findings[]
) returns void
language plpgsql as $$
begin
    delete from adoption_findings
    where row_table = of_table and row_id = any(ids::text[]) and kind = any(kinds);
    insert into adoption_findings (kind, row_table, row_id, value, outcome)
    select t.kind, t.row_table, t.row_id, t.value, t.outcome from unnest(findings) t
    on conflict (row_table, row_id, kind) do update
    set value = excluded.value, outcome = excluded.outcome, noted_at = excluded.noted_at;
end $$;

-- Imports the rows of orders; returns the ids of those that the engine did not have.
create or replace function :"engine".import_orders(ids bigint[], is_fresh boolean) returns bigint[]
language plpgsql as $$
declare
    added bigint[];
begin
    perform from orders where id = any(ids) order by id for update;
    with source as (
        select o.id::bigint as id, o.user_id::text as user_id, o.address,
               legacy_status(o.status) as status, legacy_amount(o.total_amount) as total,
               coalesce(legacy_time(o.created_at), now()) as created_at,
               coalesce(legacy_time(o.updated_at), legacy_time(o.created_at), now()) as updated_at
        from :"old".orders o
        where o.id = any(ids) and is_order(o.id, o.status, o.total_amount)
    ), placed as (
        insert into orders (
            id, user_id, status, total, currency, address, version, created_at, updated_at
        )
        select id, user_id, status, total, :'currency', address, 1, created_at, updated_at
        from source order by id
        on conflict (id) do nothing
        returning id, status, created_at
    ), history as (
        insert into order_history (
            order_id, version, event_id, changed_at, actor, action, previous_status, status, reason
        )
        select id, 1, gen_random_uuid(),
               case when is_fresh then clock_timestamp() else created_at end,
               'legacy', 'placed', null, status, null
        from placed
    )
    select coalesce(array_agg(id), '{}') into added from placed;
    with source as (
        select o.id::bigint as id, o.user_id::text as user_id, o.address,
               legacy_status(o.status) as status, legacy_amount(o.total_amount) as total
        from :"old".orders o
        where o.id = any(ids) and o.id <> all(added)
          and is_order(o.id, o.status, o.total_amount)
    ), changed as (
        update orders known
        set status = source.status, total = source.total, user_id = source.user_id,
            address = source.address, deleted_at = null,
            updated_at = greatest(clock_timestamp(), known.updated_at),
            version = known.version
                + (was.status <> source.status or was.deleted_at is not null)::integer
        from source join orders was on was.id = source.id
        where known.id = source.id
          and (was.status, was.total, was.user_id, was.address, was.deleted_at) is distinct from
              (source.status, source.total, source.user_id, source.address, null)
        returning known.id, known.version, known.status, known.updated_at, was.status as previous,
                  was.status <> source.status or was.deleted_at is not null as is_moved
    ), history as (
        insert into order_history (
            order_id, version, event_id, changed_at, actor, action, previous_status, status, reason
        )
        select id, version, gen_random_uuid(), updated_at, 'legacy', 'updated', previous, status,
               null
        from changed where is_moved
    ), published as (
        insert into legacy_outbox (order_id, version)
        select id, version from changed
        where is_moved and exists (select from adoption where announce)
    )
    insert into adoption_stock_changes (kind, order_id)
    select 'release', id from changed where status = 'cancelled' and previous <> 'cancelled';
    perform replace_findings(
        'orders', ids, '{id,status,total,rounded,time,error}',
        array(
            select row(t.kind, t.row_table, t.row_id, t.value, t.outcome, clock_timestamp())
                ::adoption_findings
            from check_orders(ids) t
        )
    );
    return added;
end $$;

-- Makes the lines of orders equal to the items. The last line of an order stays, because the engine
-- has no orders without lines; the older application deletes an order's items before the order.
create or replace function :"engine".import_lines(ids bigint[]) returns void
language plpgsql as $$
begin
    with source as materialized (
        select l.*, row_number() over (partition by l.order_id order by l.id) as n
        from legacy_lines(ids) l join orders o on o.id = l.order_id
    ), gone as (
        delete from order_lines known
        where known.order_id = any(ids)
          and exists (select from source where source.order_id = known.order_id)
          and not exists (
              select from source where source.order_id = known.order_id and source.id = known.id
          )
    ), changed as (
        update order_lines known
        set quantity = source.quantity, product_id = source.product_id,
            name = case when known.product_id = source.product_id
                then known.name else source.name end,
            unit_price = case when known.product_id = source.product_id
                then known.unit_price else source.unit_price end
        from source
        where known.order_id = source.order_id and known.id = source.id
          and (known.quantity, known.product_id) is distinct from
              (source.quantity, source.product_id)
    )
    insert into order_lines (order_id, position, id, product_id, name, quantity, unit_price)
    select source.order_id,
           source.n + coalesce((
               select max(position) from order_lines l where l.order_id = source.order_id
           ), 0),
           source.id, source.product_id, source.name, source.quantity, source.unit_price
    from source
    where not exists (
        select from order_lines known
        where known.order_id = source.order_id and known.id = source.id
    );
    delete from adoption_findings
    where row_table = 'order_items' and kind in ('quantity', 'product')
      and row_id in (
          select i.id::text from :"old".order_items i where i.order_id in (select unnest(ids))
      );
    perform replace_findings(
        'orders', ids, '{prices,empty}',
        array(
            select row(t.kind, t.row_table, t.row_id, t.value, t.outcome, clock_timestamp())
                ::adoption_findings
            from check_lines(ids) t
        )
    );
end $$;

-- Deletes orders that the older application has deleted, and releases their reservations.
create or replace function :"engine".import_deletions(ids bigint[]) returns void
language plpgsql as $$
begin
    perform from orders where id = any(ids) order by id for update;
    with deleted as (
        update orders known
        set deleted_at = clock_timestamp(),
            updated_at = greatest(clock_timestamp(), known.updated_at),
            version = known.version + 1,
            status = case when known.status in ('pending', 'confirmed')
                then 'cancelled' else known.status end
        from orders was
        where known.id = any(ids) and was.id = known.id and known.deleted_at is null
        returning known.id, known.version, known.status, known.updated_at, was.status as previous
    ), history as (
        insert into order_history (
            order_id, version, event_id, changed_at, actor, action, previous_status, status, reason
        )
        select id, version, gen_random_uuid(), updated_at, 'legacy', 'deleted', previous, status,
               null
        from deleted
    ), published as (
        insert into legacy_outbox (order_id, version)
        select id, version from deleted where exists (select from adoption where announce)
    )
    insert into adoption_stock_changes (kind, order_id)
    select 'release', id from deleted where status = 'cancelled';
    delete from adoption_findings where row_table = 'orders' and row_id = any(ids::text[]);
end $$;

-- Users, from rows that were written (the latest counts) or are copied (the first counts).
create or replace function :"engine".import_users(ids bigint[], is_fresh boolean) returns void
language plpgsql as $$
begin
    insert into users as known (user_id, email, address, contact, updated_at)
    select distinct on (u.user_id) u.user_id::text, nullif(u.email, ''), nullif(u.address, ''),
           nullif(u.contact, ''), clock_timestamp()
    from :"old".order_user u
    where u.id = any(ids)
      and (is_fresh or not exists (
          select from :"old".order_user e where e.user_id = u.user_id and e.id < u.id
      ))
      -- Unchanged users are not locked.
      and not exists (
          select from users k
          where k.user_id = u.user_id::text
            and (coalesce(k.email, ''), coalesce(k.address, ''), coalesce(k.contact, ''))
                = (u.email, u.address, u.contact)
      )
    order by u.user_id, u.id
    on conflict (user_id) do update
    set email = coalesce(excluded.email, known.email),
        address = coalesce(excluded.address, known.address),
        contact = coalesce(excluded.contact, known.contact),
        updated_at = excluded.updated_at;
    perform replace_findings(
        'order_user', ids, '{twice,error}',
        array(
            select row(t.kind, t.row_table, t.row_id, t.value, t.outcome, clock_timestamp())
                ::adoption_findings
            from check_users(ids) t
        )
    );
end $$;

-- Products, from rows that were written (the latest counts) or are copied (the first counts).
create or replace function :"engine".import_products(ids bigint[], is_fresh boolean) returns void
language plpgsql as $$
begin
    insert into products (product_id, name, price, currency, reported, updated_at)
    select distinct on (c.product_id) c.product_id::text, c.name, legacy_amount(c.price),
           :'currency', c.quantity, clock_timestamp()
    from :"old".product_catalog c
    where c.id = any(ids)
      and (is_fresh or not exists (
          select from :"old".product_catalog e where e.product_id = c.product_id and e.id < c.id
      ))
    order by c.product_id, c.id
    on conflict (product_id) do nothing;
    with source as (
        select distinct on (c.product_id) c.product_id::text as product_id, c.name,
               legacy_amount(c.price) as price, c.quantity
        from :"old".product_catalog c
        where c.id = any(ids)
          and (is_fresh or not exists (
              select from :"old".product_catalog e where e.product_id = c.product_id and e.id < c.id
          ))
        order by c.product_id, c.id
    ), catalog_changes as (
        insert into adoption_stock_changes (kind, product_id, name, price)
        select 'catalog', s.product_id, s.name, s.price
        from source s join products known using (product_id)
        where (s.name, s.price) is distinct from (known.name, known.price)
        order by s.product_id
    )
    insert into adoption_stock_changes (kind, product_id, quantity)
    select 'stock', s.product_id, s.quantity
    from source s join products known using (product_id)
    where s.quantity is not null and s.quantity is distinct from known.reported
    order by s.product_id;
    perform replace_findings(
        'product_catalog', ids, '{price,rounded,twice,error}',
        array(
            select row(t.kind, t.row_table, t.row_id, t.value, t.outcome, clock_timestamp())
                ::adoption_findings
            from check_products(ids) t
        )
    );
end $$;

-- Applies a reported stock number that names no order, as `reconcile` in src/domain/stock.rs does;
-- a test compares the two. The caller has locked the product.
create or replace function :"engine".reconcile_stock(product text, number bigint) returns void
language sql as $$
    with reserved as (
        select r.order_id, r.quantity,
               coalesce(p.reported, number) - number
                   - (sum(r.quantity) over (order by r.order_id) - r.quantity) as open
        from reservations r join products p on p.product_id = r.product_id
        where r.product_id = product
    ), taken as (
        select order_id, quantity, least(quantity, open)::bigint as part
        from reserved where open > 0
    ), gone as (
        delete from reservations r using taken t
        where r.product_id = product and r.order_id = t.order_id and t.part = t.quantity
    ), shrunk as (
        update reservations r set quantity = r.quantity - t.part from taken t
        where r.product_id = product and r.order_id = t.order_id and t.part < t.quantity
    )
    update products
    set reported = number, updated_at = clock_timestamp(),
        reserved = reserved - coalesce((select sum(part) from taken), 0)::bigint
    where product_id = product
$$;

-- Adds reservations of orders, or removes at most what they reserve.
create or replace function :"engine".apply_reservation_changes(mine xid8) returns void
language plpgsql as $$
begin
    with net as (
        select d.order_id, d.product_id, sum(d.quantity)::bigint as quantity
        from adoption_stock_changes d
        join orders o on o.id = d.order_id and o.deleted_at is null and o.status <> 'cancelled'
        join products p on p.product_id = d.product_id
        where d.transaction_id = mine and d.kind = 'reserve'
        group by d.order_id, d.product_id
    ), less as (
        select r.order_id, r.product_id, r.quantity, least(r.quantity, -net.quantity) as part
        from net join reservations r using (order_id, product_id)
        where net.quantity < 0
    ), gone as (
        delete from reservations r using less l
        where r.product_id = l.product_id and r.order_id = l.order_id and l.part = l.quantity
    ), shrunk as (
        update reservations r set quantity = r.quantity - l.part from less l
        where r.product_id = l.product_id and r.order_id = l.order_id and l.part < l.quantity
    ), more as (
        insert into reservations as known (product_id, order_id, quantity)
        select product_id, order_id, quantity from net where quantity > 0
        on conflict (product_id, order_id) do update
        set quantity = known.quantity + excluded.quantity
    ), moved as (
        select product_id, sum(quantity)::bigint as quantity from (
            select product_id, quantity from net where quantity > 0
            union all
            select product_id, -part from less
        ) each group by product_id
    )
    update products p
    set reserved = p.reserved + moved.quantity, updated_at = clock_timestamp()
    from moved where p.product_id = moved.product_id;
    insert into cancelled_lines (product_id, order_id, quantity, reserved, cancelled_at)
    select l.product_id, l.order_id, sum(l.quantity), coalesce(min(r.quantity), 0),
           clock_timestamp()
    from (
        select distinct order_id from adoption_stock_changes
        where transaction_id = mine and kind = 'release'
    ) d
    join order_lines l on l.order_id = d.order_id
    left join reservations r on r.order_id = l.order_id and r.product_id = l.product_id
    group by l.product_id, l.order_id
    having sum(l.quantity) >= coalesce(min(r.quantity), 0)
    on conflict (product_id, order_id) do nothing;
    with released as (
        delete from reservations r using adoption_stock_changes d, orders o
        where d.transaction_id = mine and d.order_id is not null and r.order_id = d.order_id
          and o.id = d.order_id and (o.deleted_at is not null or o.status = 'cancelled')
        returning r.product_id, r.order_id, r.quantity
    ), freed as (
        select product_id, sum(quantity)::bigint as quantity from released group by product_id
    )
    update products p
    set reserved = p.reserved - freed.quantity, updated_at = clock_timestamp()
    from freed where p.product_id = freed.product_id;
end $$;

-- Applies the stock changes of the current transaction.
create or replace function :"engine".apply_stock_changes() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp set order_engine.mirroring = 'on' as $$
declare
    mine xid8 := pg_current_xact_id();
    change record;
begin
    if not exists (select from adoption_stock_changes where transaction_id = mine) then
        return null;
    end if;
    perform from products
    where product_id in (
        select product_id from adoption_stock_changes
        where transaction_id = mine and product_id is not null
        union
        select r.product_id
        from adoption_stock_changes d join reservations r on r.order_id = d.order_id
        where d.transaction_id = mine and d.kind = 'release'
    )
    order by product_id
    for update;
    perform apply_reservation_changes(mine);
    for change in
        select kind, product_id, name, price, quantity from adoption_stock_changes
        where transaction_id = mine and kind in ('catalog', 'stock') order by sequence_number
    loop
        if change.kind = 'catalog' then
            update products
            set name = change.name, price = change.price, updated_at = clock_timestamp()
            where product_id = change.product_id;
        elsif not consumer_runs()
            or (select reported is null from products where product_id = change.product_id)
        then
            perform reconcile_stock(change.product_id, change.quantity);
        end if;
    end loop;
    delete from adoption_stock_changes where transaction_id = mine;
    return null;
end $$;
