-- The functions of the triggers on the older application's tables. Each runs once per statement, as
-- the engine's role, with only the engine's schema in its search path. An error in the data or in
-- the tables' columns becomes a finding; only lock timeouts and deadlocks reach the older
-- application.

create or replace function :"engine".record_error(of_table text, ids bigint[], problem text)
returns void
language sql as $$
    insert into adoption_findings (kind, row_table, row_id, value, outcome)
    select 'error', of_table, id::text, problem, 'not imported; run order-engine adopt again'
    from unnest(ids) id
    on conflict (row_table, row_id, kind) do update
    set value = excluded.value, outcome = excluded.outcome, noted_at = excluded.noted_at
$$;

create or replace function :"engine".old_orders_written() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp set order_engine.mirroring = 'on' set extra_float_digits = 1
as $$
declare
    ids bigint[] := array(select id from new_rows order by id);
    added bigint[];
begin
    added := import_orders(ids, tg_op = 'INSERT');
    -- A new order has no items yet. A changed one that is imported only now may have.
    if tg_op = 'UPDATE' and added <> '{}' then
        perform import_lines(added);
        insert into legacy_outbox (order_id, version)
        select id, 1 from unnest(added) id where exists (select from adoption where announce);
    end if;
    return null;
exception when data_exception or integrity_constraint_violation
    or syntax_error_or_access_rule_violation
then
    perform record_error('orders', ids, sqlerrm);
    return null;
end $$;

create or replace function :"engine".old_orders_deleted() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp set order_engine.mirroring = 'on' as $$
declare
    ids bigint[];
begin
    if tg_op = 'TRUNCATE' then
        ids := array(select id from orders where deleted_at is null);
    else
        ids := array(select id from old_rows);
    end if;
    perform import_deletions(ids);
    return null;
end $$;

create or replace function :"engine".old_items_inserted() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp set order_engine.mirroring = 'on' as $$
declare
    ids bigint[] := array(select distinct order_id from new_rows);
    begun bigint[];
begin
    perform from orders where id = any(ids) order by id for update;
    begun := array(
        select id from orders o
        where id = any(ids) and not exists (select from order_lines l where l.order_id = o.id)
    );
    insert into order_lines (order_id, position, id, product_id, name, quantity, unit_price)
    select n.order_id,
           coalesce((select max(l.position) from order_lines l where l.order_id = n.order_id), 0)
               + row_number() over (partition by n.order_id order by n.id),
           n.id, n.product_id::text, coalesce(p.name, ''), n.quantity, coalesce(p.price, 0)
    from new_rows n
    join orders o on o.id = n.order_id
    left join products p on p.product_id = n.product_id::text
    where n.quantity > 0;
    insert into adoption_stock_changes (kind, order_id, product_id, quantity)
    select 'reserve', order_id, product_id::text, sum(quantity)
    from new_rows where quantity > 0 and order_id in (select id from orders where id = any(ids))
    group by order_id, product_id;
    insert into legacy_outbox (order_id, version)
    select order_id, version from order_history
    where order_id = any(begun) and exists (select from adoption where announce)
      and exists (select from order_lines l where l.order_id = order_history.order_id)
    on conflict do nothing;
    insert into adoption_findings (kind, row_table, row_id, value, outcome)
    select 'quantity', 'order_items', id::text, quantity::text, 'not imported'
    from new_rows where quantity <= 0
    union all
    select 'product', 'order_items', n.id::text, n.product_id::text,
           'not in the catalogue: imported without a name, price 0'
    from new_rows n left join products p on p.product_id = n.product_id::text
    where n.quantity > 0 and p.price is null
    on conflict (row_table, row_id, kind) do nothing;
    return null;
exception when data_exception or integrity_constraint_violation
    or syntax_error_or_access_rule_violation
then
    perform record_error('order_items', array(select id from new_rows), sqlerrm);
    return null;
end $$;

create or replace function :"engine".old_items_changed() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp set order_engine.mirroring = 'on' set extra_float_digits = 1
as $$
begin
    -- The old quantity is no longer reserved.
    insert into adoption_stock_changes (kind, order_id, product_id, quantity)
    select 'reserve', order_id, product_id::text, -quantity from old_rows where quantity > 0;
    if tg_op = 'UPDATE' then
        insert into adoption_stock_changes (kind, order_id, product_id, quantity)
        select 'reserve', order_id, product_id::text, quantity from new_rows where quantity > 0;
        perform from orders
        where id in (select order_id from old_rows union select order_id from new_rows)
        order by id for update;
        perform import_lines(array(
            select order_id from old_rows union select order_id from new_rows
        )::bigint[]);
    else
        perform from orders where id in (select order_id from old_rows) order by id for update;
        perform import_lines(array(select distinct order_id from old_rows)::bigint[]);
    end if;
    return null;
exception when data_exception or integrity_constraint_violation
    or syntax_error_or_access_rule_violation
then
    perform record_error('order_items', array(select id from old_rows), sqlerrm);
    return null;
end $$;

-- A row that the engine inserted for the same user is replaced by the application's own.
create or replace function :"engine".old_users_written() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp set order_engine.mirroring = 'on' as $$
declare
    ids bigint[] := array(select id from new_rows);
begin
    perform import_users(ids, true);
    if tg_op = 'INSERT' then
        with twins as (
            delete from :"old".order_user u using adoption_mirrored_rows s, new_rows n
            where s.old_table = 'order_user' and u.id = s.old_id and u.user_id = n.user_id
              and u.id <> all(ids)
            returning u.id
        )
        delete from adoption_mirrored_rows
        where old_table = 'order_user' and old_id in (select id from twins);
    end if;
    return null;
exception when data_exception or integrity_constraint_violation
    or syntax_error_or_access_rule_violation
then
    perform record_error('order_user', ids, sqlerrm);
    return null;
end $$;

create or replace function :"engine".old_users_deleted() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp set order_engine.mirroring = 'on' as $$
begin
    if tg_op = 'TRUNCATE' then
        delete from users where legacy_int(user_id) is not null;
    else
        delete from users
        where user_id in (select user_id::text from old_rows)
          and legacy_int(user_id) not in (
              select u.user_id from :"old".order_user u join old_rows r on r.user_id = u.user_id
          );
    end if;
    return null;
end $$;

create or replace function :"engine".old_products_written() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp set order_engine.mirroring = 'on' set extra_float_digits = 1
as $$
declare
    ids bigint[] := array(select id from new_rows);
begin
    perform import_products(ids, true);
    if tg_op = 'INSERT' then
        with twins as (
            delete from :"old".product_catalog c using adoption_mirrored_rows s, new_rows n
            where s.old_table = 'product_catalog' and c.id = s.old_id
              and c.product_id = n.product_id and c.id <> all(ids)
            returning c.id
        )
        delete from adoption_mirrored_rows
        where old_table = 'product_catalog' and old_id in (select id from twins);
    end if;
    return null;
exception when data_exception or integrity_constraint_violation
    or syntax_error_or_access_rule_violation
then
    perform record_error('product_catalog', ids, sqlerrm);
    return null;
end $$;

-- A product that the older application has deleted loses its price and cannot be ordered.
create or replace function :"engine".old_products_deleted() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp set order_engine.mirroring = 'on' as $$
begin
    if tg_op = 'TRUNCATE' then
        insert into adoption_stock_changes (kind, product_id, name)
        select 'catalog', product_id, name from products where legacy_int(product_id) is not null;
    else
        insert into adoption_stock_changes (kind, product_id, name)
        select 'catalog', product_id, name from products
        where product_id in (select product_id::text from old_rows)
          and legacy_int(product_id) not in (
              select c.product_id from :"old".product_catalog c
              join old_rows r on r.product_id = c.product_id
          );
    end if;
    return null;
end $$;

-- While an engine's consumer runs, only the engine writes stock numbers: the trigger replaces the
-- older application's value by the engine's.
create or replace function :"engine".old_stock_written() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp as $$
declare
    known bigint;
begin
    if consumer_runs() then
        select reported into known from products where product_id = new.product_id::text;
        new.quantity := coalesce(least(greatest(known, -2147483648), 2147483647), new.quantity);
    end if;
    return new;
end $$;
