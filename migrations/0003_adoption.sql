-- A database shared with an older application: where its adoption stands, and what could not be
-- carried over. docs/MIGRATION.md tells how these are used.

-- The numbers of orders and lines. While an older application shares the database, these draw from
-- its sequences, so that both sides have one series. Their bodies are text on purpose: a parsed body
-- would depend on the older application's sequence, and keep it from dropping its table.
create function next_order_id() returns bigint language sql volatile as
$$ select nextval('order_ids') $$;

create function next_order_line_id() returns bigint language sql volatile as
$$ select nextval('order_line_ids') $$;

-- Where the adoption stands; no row before the first one.
create table adoption (
    is_only boolean primary key default true check (is_only),
    step text not null,
    -- Where the older application's tables are.
    old_schema text not null,
    -- How its times, which carry no zone, are read.
    time_zone text not null,
    -- Whether what the older application does is announced by the engine as well.
    announce boolean not null,
    -- Which table is being copied, and its last number that was.
    copying text,
    copied_to bigint not null default 0,
    started_at timestamptz not null,
    finished_at timestamptz,
    undone_at timestamptz,
    constraint adoption_step_known check (step in ('copying', 'live', 'undone'))
);

-- What breaks a rule of one side: it stays where it is, and is told here.
create table adoption_findings (
    kind text not null,
    -- Whose number `row_id` is: a table of the older application, or `order_engine` for an order
    -- that its tables cannot show.
    row_table text not null,
    row_id text not null,
    found text not null,
    done text not null,
    noted_at timestamptz not null default clock_timestamp(),
    primary key (row_table, row_id, kind)
);

-- Rows that the engine made in the older application's tables of users and products. They give way
-- when the older application writes its own for the same user or product.
create table adoption_shown (
    old_table text not null,
    old_id bigint not null,
    primary key (old_table, old_id)
);

-- What the transaction under way means for the stock. Settled as the last thing before it commits,
-- all products in one order, so that nobody waits for each other.
create table adoption_due (
    xact xid8 not null default pg_current_xact_id(),
    n bigint generated always as identity,
    kind text not null,
    order_id bigint,
    product_id text,
    name text,
    price numeric(19, 4),
    quantity bigint,
    primary key (xact, n),
    constraint adoption_due_kind_known check (kind in ('hold', 'release', 'offer', 'report'))
);

-- What the older application did to orders and the engine is to announce. A row goes when its
-- messages are in the outbox.
create table unannounced (
    order_id bigint not null,
    version integer not null,
    primary key (order_id, version)
);
