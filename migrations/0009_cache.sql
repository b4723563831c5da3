-- Whether orders may be read from a cache. The database says so, because every process reaches it
-- that reads or changes orders, and not every one may reach the cache.

create table cache_state (
    is_only boolean primary key default true check (is_only),
    -- Keeps databases apart that share a cache.
    space uuid not null default gen_random_uuid(),
    -- Grows whenever the cache is used again: what was kept before is never looked at.
    generation bigint not null default 0,
    -- Set while the cache must not be used: somebody could not tell it of a change.
    off_until timestamptz,
    -- From when on it is read. Those who change orders tell it before, from when it is used again.
    read_from timestamptz
);

insert into cache_state default values;
