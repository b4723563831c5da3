-- Mirrors the engine's writes to the older application's tables: the functions of the triggers on
-- the engine's tables. What the older tables cannot represent becomes a finding, and the engine's
-- statement succeeds.

create or replace function :"engine".record_unmirrored(of_kind text, ids text[], problem text)
returns void
language sql as $$
    insert into adoption_findings (kind, row_table, row_id, value, outcome)
    select of_kind, 'order_engine', id, problem, 'not in the older application''s tables'
    from unnest(ids) id
    on conflict (row_table, row_id, kind) do update
    set value = excluded.value, outcome = excluded.outcome, noted_at = excluded.noted_at
$$;

-- Orders are mirrored with their lines, which the same statement inserts.
create or replace function :"engine".mirror_lines() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp set order_engine.mirroring = 'on' as $$
declare
    ids bigint[] := array(select distinct order_id from new_rows);
    unmirrorable_ids bigint[];
begin
    unmirrorable_ids := array(
        select o.id from orders o where o.id = any(ids) and (
            legacy_int(o.user_id) is null or exists (
                select from order_lines l
                where l.order_id = o.id and legacy_int(l.product_id) is null
            )
        )
    );
    if unmirrorable_ids <> '{}' then
        perform record_unmirrored(
            'order', unmirrorable_ids::text[], 'the id is not a 32-bit integer'
        );
    end if;
    insert into :"old".orders (
        id, user_id, total_amount, status, created_at, updated_at, address
    )
    select id, legacy_int(user_id), total::double precision, initcap(status),
           created_at at time zone :'zone', updated_at at time zone :'zone', left(address, 255)
    from orders where id = any(ids) and id <> all(unmirrorable_ids);
    insert into :"old".order_items (id, product_id, quantity, order_id)
    select id, legacy_int(product_id), quantity, order_id
    from order_lines where order_id = any(ids) and order_id <> all(unmirrorable_ids)
    order by order_id, position;
    return null;
exception when data_exception or not_null_violation or check_violation or foreign_key_violation
    or syntax_error_or_access_rule_violation
then
    perform record_unmirrored('order', ids::text[], sqlerrm);
    return null;
end $$;

-- lock_timeout is below deadlock_timeout: in a deadlock with the older application the engine's
-- transaction fails and is retried, not the older application's.
create or replace function :"engine".mirror_orders() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp set order_engine.mirroring = 'on' set lock_timeout = '500ms'
as $$
declare
    deleted bigint[] := array(
        select n.id from new_rows n join old_rows o using (id)
        where n.deleted_at is not null and o.deleted_at is null
    );
begin
    update :"old".orders mirrored
    set status = initcap(n.status), updated_at = n.updated_at at time zone :'zone'
    from new_rows n join old_rows o using (id)
    where mirrored.id = n.id and n.status <> o.status and n.deleted_at is null;
    if deleted <> '{}' then
        delete from :"old".order_items where order_id = any(deleted);
        delete from :"old".orders where id = any(deleted);
    end if;
    return null;
exception when data_exception or not_null_violation or check_violation or foreign_key_violation
    or syntax_error_or_access_rule_violation
then
    perform record_unmirrored('change', array(select id::text from new_rows), sqlerrm);
    return null;
end $$;

create or replace function :"engine".mirror_user_rows(new_values :"engine".users[]) returns void
language plpgsql as $$
begin
    update :"old".order_user mirrored
    set email = left(coalesce(n.email, ''), 150), contact = left(coalesce(n.contact, ''), 15),
        address = left(coalesce(n.address, ''), 255)
    from unnest(new_values) n
    where mirrored.user_id = legacy_int(n.user_id)
      and (mirrored.email, mirrored.contact, mirrored.address) is distinct from (
          left(coalesce(n.email, ''), 150), left(coalesce(n.contact, ''), 15),
          left(coalesce(n.address, ''), 255)
      );
    with inserted as (
        insert into :"old".order_user (user_id, email, contact, address)
        select legacy_int(n.user_id), left(coalesce(n.email, ''), 150),
               left(coalesce(n.contact, ''), 15), left(coalesce(n.address, ''), 255)
        from unnest(new_values) n
        where legacy_int(n.user_id) is not null and not exists (
            select from :"old".order_user mirrored where mirrored.user_id = legacy_int(n.user_id)
        )
        returning id
    )
    insert into adoption_mirrored_rows (old_table, old_id) select 'order_user', id from inserted;
    perform record_unmirrored('user', array(
        select n.user_id from unnest(new_values) n where legacy_int(n.user_id) is null
    ), 'the id is not a 32-bit integer');
exception when data_exception or not_null_violation or check_violation or foreign_key_violation
    or syntax_error_or_access_rule_violation
then
    perform record_unmirrored('user', array(select n.user_id from unnest(new_values) n), sqlerrm);
end $$;

create or replace function :"engine".mirror_users() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp set order_engine.mirroring = 'on' set lock_timeout = '500ms'
as $$
begin
    perform mirror_user_rows(array(select row(n.*)::users from new_rows n));
    return null;
end $$;

-- The older application's quantity is the reported stock, not the available stock. Otherwise its
-- consumer could find the value that it is about to write already there, and SQLAlchemy does not
-- write unchanged values.
create or replace function :"engine".mirror_product_rows(
    new_values :"engine".products[], was :"engine".products[]
) returns void
language plpgsql as $$
begin
    update :"old".product_catalog mirrored
    set name = case when n.name is distinct from o.name then n.name else mirrored.name end,
        price = case when n.price is distinct from o.price
            then n.price::double precision else mirrored.price end,
        quantity = case when n.reported is distinct from o.reported
            then least(greatest(n.reported, -2147483648), 2147483647) else mirrored.quantity end
    from unnest(new_values) n left join unnest(was) o on o.product_id = n.product_id
    where mirrored.product_id = legacy_int(n.product_id)
      and n.name is not null and n.price is not null
      and (n.name, n.price, n.reported) is distinct from (o.name, o.price, o.reported);
    with inserted as (
        insert into :"old".product_catalog (product_id, name, price, quantity)
        select legacy_int(n.product_id), n.name, n.price::double precision,
               least(greatest(n.reported, -2147483648), 2147483647)
        from unnest(new_values) n
        where legacy_int(n.product_id) is not null and n.name is not null and n.price is not null
          and not exists (
              select from :"old".product_catalog mirrored
              where mirrored.product_id = legacy_int(n.product_id)
          )
        returning id
    )
    insert into adoption_mirrored_rows (old_table, old_id)
    select 'product_catalog', id from inserted;
    perform record_unmirrored('product', array(
        select n.product_id from unnest(new_values) n where legacy_int(n.product_id) is null
    ), 'the id is not a 32-bit integer');
exception when data_exception or not_null_violation or check_violation or foreign_key_violation
    or syntax_error_or_access_rule_violation
then
    perform record_unmirrored(
        'product', array(select n.product_id from unnest(new_values) n), sqlerrm
    );
end $$;

-- Orders update only `reserved`, which the older tables do not have.
create or replace function :"engine".mirror_products() returns trigger
language plpgsql security definer
set search_path = :"engine", pg_temp set order_engine.mirroring = 'on' set lock_timeout = '500ms'
as $$
begin
    if tg_op = 'INSERT' then
        perform mirror_product_rows(array(select row(n.*)::products from new_rows n), '{}');
    elsif exists (
        select from new_rows n join old_rows o using (product_id)
        where (n.name, n.price, n.reported) is distinct from (o.name, o.price, o.reported)
    ) then
        perform mirror_product_rows(
            array(
                select row(n.*)::products from new_rows n join old_rows o using (product_id)
                where (n.name, n.price, n.reported) is distinct from (o.name, o.price, o.reported)
            ),
            array(select row(o.*)::products from old_rows o)
        );
    end if;
    return null;
end $$;
