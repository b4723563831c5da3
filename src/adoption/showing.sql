-- From the engine's tables to the older application's: what the triggers on the engine's tables
-- call. What the older tables cannot hold is told in adoption_findings, and the engine's statement
-- goes on.

create or replace function {engine}.note_unshown(of_kind text, ids text[], problem text)
returns void
language sql as $$
    insert into adoption_findings (kind, row_table, row_id, value, outcome)
    select of_kind, 'order_engine', id, problem, 'not in the older application''s tables'
    from unnest(ids) id
    on conflict (row_table, row_id, kind) do update
    set value = excluded.value, outcome = excluded.outcome, noted_at = excluded.noted_at
$$;

-- Orders are shown when their lines are there, which come in the same statement.
create or replace function {engine}.lines_placed() returns trigger
language plpgsql security definer
set search_path = {engine}, pg_temp set order_engine.mirroring = 'on' as $$
declare
    ids bigint[] := array(select distinct order_id from new_rows);
    foreign_ids bigint[];
begin
    foreign_ids := array(
        select o.id from orders o where o.id = any(ids) and (
            legacy_int(o.user_id) is null or exists (
                select from order_lines l
                where l.order_id = o.id and legacy_int(l.product_id) is null
            )
        )
    );
    if foreign_ids <> '{}' then
        perform note_unshown('order', foreign_ids::text[], 'an id that is no 32-bit integer');
    end if;
    insert into {old}.orders (
        id, user_id, total_amount, status, created_at, updated_at, address
    )
    select id, legacy_int(user_id), total::double precision, initcap(status),
           created_at at time zone {zone}, updated_at at time zone {zone}, left(address, 255)
    from orders where id = any(ids) and id <> all(foreign_ids);
    insert into {old}.order_items (id, product_id, quantity, order_id)
    select id, legacy_int(product_id), quantity, order_id
    from order_lines where order_id = any(ids) and order_id <> all(foreign_ids)
    order by order_id, position;
    return null;
exception when data_exception or not_null_violation or check_violation or foreign_key_violation
    or syntax_error_or_access_rule_violation
then
    perform note_unshown('order', ids::text[], sqlerrm);
    return null;
end $$;

-- A row that the older application has locked is waited for only briefly, so that in a deadlock the
-- engine gives way, and tries again: lock_timeout is below deadlock_timeout.
create or replace function {engine}.orders_changed() returns trigger
language plpgsql security definer
set search_path = {engine}, pg_temp set order_engine.mirroring = 'on' set lock_timeout = '500ms'
as $$
declare
    gone bigint[] := array(
        select n.id from new_rows n join old_rows o using (id)
        where n.deleted_at is not null and o.deleted_at is null
    );
begin
    update {old}.orders shown
    set status = initcap(n.status), updated_at = n.updated_at at time zone {zone}
    from new_rows n join old_rows o using (id)
    where shown.id = n.id and n.status <> o.status and n.deleted_at is null;
    if gone <> '{}' then
        delete from {old}.order_items where order_id = any(gone);
        delete from {old}.orders where id = any(gone);
    end if;
    return null;
exception when data_exception or not_null_violation or check_violation or foreign_key_violation
    or syntax_error_or_access_rule_violation
then
    perform note_unshown('change', array(select id::text from new_rows), sqlerrm);
    return null;
end $$;

create or replace function {engine}.show_users(now_is {engine}.users[]) returns void
language plpgsql as $$
begin
    update {old}.order_user shown
    set email = left(coalesce(n.email, ''), 150), contact = left(coalesce(n.contact, ''), 15),
        address = left(coalesce(n.address, ''), 255)
    from unnest(now_is) n
    where shown.user_id = legacy_int(n.user_id)
      and (shown.email, shown.contact, shown.address) is distinct from (
          left(coalesce(n.email, ''), 150), left(coalesce(n.contact, ''), 15),
          left(coalesce(n.address, ''), 255)
      );
    with made as (
        insert into {old}.order_user (user_id, email, contact, address)
        select legacy_int(n.user_id), left(coalesce(n.email, ''), 150),
               left(coalesce(n.contact, ''), 15), left(coalesce(n.address, ''), 255)
        from unnest(now_is) n
        where legacy_int(n.user_id) is not null and not exists (
            select from {old}.order_user shown where shown.user_id = legacy_int(n.user_id)
        )
        returning id
    )
    insert into adoption_mirrored_rows (old_table, old_id) select 'order_user', id from made;
    perform note_unshown('user', array(
        select n.user_id from unnest(now_is) n where legacy_int(n.user_id) is null
    ), 'an id that is no 32-bit integer');
exception when data_exception or not_null_violation or check_violation or foreign_key_violation
    or syntax_error_or_access_rule_violation
then
    perform note_unshown('user', array(select n.user_id from unnest(now_is) n), sqlerrm);
end $$;

create or replace function {engine}.users_changed() returns trigger
language plpgsql security definer
set search_path = {engine}, pg_temp set order_engine.mirroring = 'on' set lock_timeout = '500ms'
as $$
begin
    perform show_users(array(select row(n.*)::users from new_rows n));
    return null;
end $$;

-- The older application sees the reported number, not what is left of it: it would otherwise be
-- written by its consumer as it stands already, and SQLAlchemy writes nothing that is unchanged.
create or replace function {engine}.show_products(
    now_is {engine}.products[], was {engine}.products[]
) returns void
language plpgsql as $$
begin
    update {old}.product_catalog shown
    set name = case when n.name is distinct from o.name then n.name else shown.name end,
        price = case when n.price is distinct from o.price
            then n.price::double precision else shown.price end,
        quantity = case when n.reported is distinct from o.reported
            then least(greatest(n.reported, -2147483648), 2147483647) else shown.quantity end
    from unnest(now_is) n left join unnest(was) o on o.product_id = n.product_id
    where shown.product_id = legacy_int(n.product_id)
      and n.name is not null and n.price is not null
      and (n.name, n.price, n.reported) is distinct from (o.name, o.price, o.reported);
    with made as (
        insert into {old}.product_catalog (product_id, name, price, quantity)
        select legacy_int(n.product_id), n.name, n.price::double precision,
               least(greatest(n.reported, -2147483648), 2147483647)
        from unnest(now_is) n
        where legacy_int(n.product_id) is not null and n.name is not null and n.price is not null
          and not exists (
              select from {old}.product_catalog shown
              where shown.product_id = legacy_int(n.product_id)
          )
        returning id
    )
    insert into adoption_mirrored_rows (old_table, old_id) select 'product_catalog', id from made;
    perform note_unshown('product', array(
        select n.product_id from unnest(now_is) n where legacy_int(n.product_id) is null
    ), 'an id that is no 32-bit integer');
exception when data_exception or not_null_violation or check_violation or foreign_key_violation
    or syntax_error_or_access_rule_violation
then
    perform note_unshown('product', array(select n.product_id from unnest(now_is) n), sqlerrm);
end $$;

-- Orders only move what is reserved, which the older tables do not show: nothing to do then.
create or replace function {engine}.products_changed() returns trigger
language plpgsql security definer
set search_path = {engine}, pg_temp set order_engine.mirroring = 'on' set lock_timeout = '500ms'
as $$
begin
    if tg_op = 'INSERT' then
        perform show_products(array(select row(n.*)::products from new_rows n), '{}');
    elsif exists (
        select from new_rows n join old_rows o using (product_id)
        where (n.name, n.price, n.reported) is distinct from (o.name, o.price, o.reported)
    ) then
        perform show_products(
            array(
                select row(n.*)::products from new_rows n join old_rows o using (product_id)
                where (n.name, n.price, n.reported) is distinct from (o.name, o.price, o.reported)
            ),
            array(select row(o.*)::products from old_rows o)
        );
    end if;
    return null;
end $$;
