-- Ends an adoption, in one transaction, while no order is being placed: see begin.sql.
lock table :"engine".idempotency in access exclusive mode;
lock table :"engine".orders, :"engine".order_lines, :"engine".products, :"engine".users
    in access exclusive mode;

select setval(:'engine_order_ids', greatest(
    pg_sequence_last_value(:'engine_order_ids'::regclass),
    pg_sequence_last_value(:'order_ids'::regclass),
    (select max(id) from :"engine".orders), 1
));
select setval(:'engine_line_ids', greatest(
    pg_sequence_last_value(:'engine_line_ids'::regclass),
    pg_sequence_last_value(:'item_ids'::regclass), 1
));

create or replace function :"engine".next_order_id() returns bigint language sql volatile as
$$ select nextval('order_ids') $$;
create or replace function :"engine".next_order_line_id() returns bigint language sql volatile as
$$ select nextval('order_line_ids') $$;

update :"engine".adoption set step = 'undone', undone_at = clock_timestamp();
delete from :"engine".adoption_mirrored_rows;

