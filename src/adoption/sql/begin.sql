-- Begins an adoption, in one transaction. The first lock waits until no order is between drawing
-- its id and its commit: placing reads `idempotency` before it draws an id.
lock table :"engine".idempotency in access exclusive mode;
lock table :"engine".orders, :"engine".order_lines, :"engine".products, :"engine".users
    in share row exclusive mode;

do $$
declare
    known :"engine".adoption;
    strangers bigint;
begin
    select * into known from :"engine".adoption;
    if known.step = 'undone' then
        select count(distinct order_id) into strangers
        from :"engine".order_history where changed_at > known.undone_at;
        if strangers > 0 then
            raise exception using errcode = 'OE001', message = format(
                'The engine has placed or changed %s orders since the adoption was undone, which '
                'the older application''s tables do not have. Move the engine''s tables away '
                '(alter schema %I rename to …), adopt again, and add those orders by hand.',
                strangers, :'engine_name'
            );
        end if;
    elsif known is null then
        select count(*) into strangers from :"engine".orders;
        if strangers > 0 then
            raise exception using errcode = 'OE001', message = format(
                'The engine has %s orders of its own on this database, with ids that the older '
                'application''s orders have or will have. Adopt into an empty schema: set '
                'ORDER_ENGINE_DATABASE_SCHEMA to a new name, or move %I away.',
                strangers, :'engine_name'
            );
        end if;
    elsif known.old_schema <> :'old_name' then
        raise exception using errcode = 'OE001', message = format(
            'The tables of %I are adopted already; those of %I cannot be as well.',
            known.old_schema, :'old_name'
        );
    end if;
end $$;

insert into :"engine".adoption as known
    (step, old_schema, time_zone, announce, status_map, started_at)
values
    ('copying', :'old_name', :'zone', :announce, :'statuses'::jsonb, clock_timestamp())
on conflict (singleton) do update
set step = 'copying', old_schema = excluded.old_schema, time_zone = excluded.time_zone,
    announce = excluded.announce, status_map = excluded.status_map, undone_at = null, finished_at = null,
    started_at = case when known.step = 'copying' then known.started_at
        else excluded.started_at end,
    copying_table = case when known.step = 'copying' then known.copying_table end,
    copied_to_id = case when known.step = 'copying' then known.copied_to_id else 0 end;

create or replace function :"engine".next_order_id() returns bigint language sql volatile as
$$ select nextval(:'order_ids') $$;
create or replace function :"engine".next_order_line_id() returns bigint language sql volatile as
$$ select nextval(:'item_ids') $$;

-- Advance the shared sequences beyond the ids that the engine has drawn from its own.
select nextval(:'order_ids')
from pg_sequence_last_value(:'order_ids'::regclass) as theirs,
     pg_sequence_last_value(:'engine_order_ids'::regclass) as own,
     generate_series(coalesce(theirs, 0) + 1, coalesce(own, 0));
select nextval(:'item_ids')
from pg_sequence_last_value(:'item_ids'::regclass) as theirs,
     pg_sequence_last_value(:'engine_line_ids'::regclass) as own,
     generate_series(coalesce(theirs, 0) + 1, coalesce(own, 0));

drop trigger if exists apply_stock_changes on :"engine".adoption_stock_changes;
create constraint trigger apply_stock_changes after insert on :"engine".adoption_stock_changes
deferrable initially deferred for each row execute function :"engine".apply_stock_changes();

