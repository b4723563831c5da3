-- The engine's tables. They live in the schema that the connection's search_path names
-- (`order_engine` by default), apart from anything an older application owns.

-- Numbers are drawn before the rows are written, because messages that name them are written in
-- the same statement.
create sequence order_ids as bigint;
create sequence order_line_ids as bigint;

create table orders (
    id bigint primary key,
    -- Opaque to the engine: contracts speak integers or 24 hex digits.
    user_id text not null,
    status text not null,
    total numeric(19, 4) not null,
    currency text not null,
    -- Copied from the user's record when the order is placed; absent where no event announced one.
    address text,
    -- 1 when placed, one more with every change, assigned under the row's lock: the only truth
    -- about the order of events.
    version integer not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- A tombstone: the row stays for history and audit, nobody sees it.
    deleted_at timestamptz,
    constraint orders_status_known check (
        status in ('pending', 'confirmed', 'shipped', 'delivered', 'cancelled', 'returned')
    ),
    constraint orders_total_not_negative check (total >= 0)
);

-- Lists are keyset pages by number, newest first: all of them by the primary key, one user's here.
create index orders_by_user on orders (user_id, id desc) where deleted_at is null;

create table order_lines (
    order_id bigint not null references orders (id),
    position integer not null,
    -- Legacy consumers read a number per line that is unique over all orders.
    id bigint not null,
    product_id text not null,
    -- Name and price as they were when the order was placed.
    name text not null,
    quantity integer not null,
    unit_price numeric(19, 4) not null,
    primary key (order_id, position),
    constraint order_lines_quantity_positive check (quantity > 0)
);

-- One row per change of an order: the canonical facts, from which any contract's messages can be
-- written again.
create table order_history (
    order_id bigint not null references orders (id),
    version integer not null,
    -- Names the event in every message about it, on every attempt.
    event_id uuid not null,
    at timestamptz not null,
    actor text not null,
    action text not null,
    previous_status text,
    status text not null,
    reason text,
    primary key (order_id, version),
    constraint order_history_action_known check (action in ('placed', 'updated', 'deleted'))
);

-- Rows arrive in the order of time, so a block range index finds the latest at next to no cost.
create index order_history_by_time on order_history using brin (at) with (pages_per_range = 8);

create table users (
    user_id text primary key,
    username text,
    email text,
    address text,
    contact text,
    updated_at timestamptz not null
);

create table products (
    product_id text primary key,
    -- Absent while only stock numbers have been heard of it; such a product is not sold.
    name text,
    price numeric(19, 4),
    currency text not null,
    -- What the product service last said is there, absolute. Absent before the first report.
    reported bigint,
    -- The sum of this product's reservations.
    reserved bigint not null default 0,
    updated_at timestamptz not null,
    constraint products_price_not_negative check (price >= 0),
    constraint products_reserved_not_negative check (reserved >= 0)
) with (fillfactor = 70);

-- What an order holds and the product service has not subtracted yet. The row goes when it is
-- acknowledged or released.
create table reservations (
    product_id text not null,
    order_id bigint not null,
    quantity bigint not null,
    -- By product first: acknowledgements take the oldest of a product.
    primary key (product_id, order_id),
    constraint reservations_quantity_positive check (quantity > 0)
);

-- Releasing asks by order.
create index reservations_by_order on reservations (order_id);

-- The answer to a request that named itself. Written with the order, so no half-done state exists.
create table idempotency (
    caller text not null,
    key text not null,
    fingerprint bytea not null,
    order_id bigint not null,
    created_at timestamptz not null,
    primary key (caller, key)
);

create index idempotency_by_time on idempotency using brin (created_at);
