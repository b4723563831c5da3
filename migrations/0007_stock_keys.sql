-- Stock that other services see and change in Redis.

alter table products
-- One more with every change of what is available: of two numbers, the later one.
add column level_version bigint not null default 0,
-- The sum of the changes that others made to the number in Redis and that were taken in here.
add column adopted bigint not null default 0;

-- Whoever changes the level, an older application's triggers included.
create function count_level() returns trigger language plpgsql as
$$ begin new.level_version := old.level_version + 1; return new; end $$;

create trigger products_count_level before update of reported, reserved on products
for each row when (
    (old.reported, old.reserved) is distinct from (new.reported, new.reserved)
) execute function count_level();
