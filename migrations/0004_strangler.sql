-- Who answers what while a service is moved over, and what its rehearsals have shown.

-- Which code answers an operation: a GraphQL field such as createOrder, a route such as GET /, or
-- * for all that have no row of their own. No stage: the stage of *, else the program's.
create table switches (
    operation text primary key check (operation <> ''),
    stage text check (stage in ('legacy', 'shadow', 'engine')),
    -- The share of users for whom the stage holds; the others get the stage before it. Neither a
    -- share nor users: it holds for everybody.
    percent integer check (percent between 0 and 100),
    users text[] not null default '{}',
    -- Fields that are not compared: a name anywhere, or a path with dots.
    ignored text[] not null default '{}',
    updated_at timestamptz not null default now()
);

-- What became of shadowed requests, of all processes, since the last clearing.
create table shadow_counts (
    operation text primary key,
    matched bigint not null default 0,
    differed bigint not null default 0,
    unsettled bigint not null default 0,
    failed bigint not null default 0,
    skipped bigint not null default 0,
    since timestamptz not null default now()
);

-- Requests that the engine would have answered otherwise: the newest of each operation.
create table shadow_differences (
    id bigint generated always as identity primary key,
    operation text not null,
    at timestamptz not null,
    -- The GraphQL document and its variables, without headers.
    request text not null,
    legacy_status integer not null,
    legacy text not null,
    engine_status integer not null,
    engine text not null,
    -- Where the answers differ: createOrder.orders.0.total_amount.
    paths text[] not null
);

create index shadow_differences_of_operation on shadow_differences (operation, id);
