-- The engine's tables. They live in the schema of the connection's search_path (`order_engine` by
-- default), apart from the tables of any older application in the same database.
--
-- A batch of orders is written by one statement. PostgreSQL checks the foreign keys of its rows at
-- the end of that statement.

----------------------------------------------------------------------------------------------------
-- Users and products: what other services publish
----------------------------------------------------------------------------------------------------

create table users (
    -- Opaque to the engine: contracts use integers or 24 hex digits.
    user_id text primary key,
    username text,
    email text,
    address text,
    contact text,
    -- The JSON object of the user service; null until it has sent one.
    preferences json,
    -- Extracted from preferences: whether they allow notifications of new orders; null if they do not
    -- say.
    allows_notifications boolean,
    updated_at timestamptz not null
);

-- Projections to other stores read the users that changed since their last run.
create index users_by_update on users (updated_at);

create table products (
    product_id text primary key,
    -- Null until the product service has announced the product; it cannot be ordered until then.
    name text,
    price numeric(19, 4),
    currency text not null,
    -- The absolute stock that the product service reported last; null before its first report.
    reported bigint,
    -- The sum of this product's reservations. Available stock is reported - reserved.
    reserved bigint not null default 0,
    -- Units by which answers that name their order have lowered `reported` ahead of the answers to
    -- other orders. Those answers do not lower it again.
    answered_ahead bigint not null default 0,
    -- Incremented with every change of the available stock, so that projections to other stores can
    -- tell the later of two values.
    projection_version bigint not null default 0,
    -- The sum of the changes that other services made to the projected stock and that were added to
    -- `reported`.
    external_adjustment bigint not null default 0,
    -- Incremented with every report of price or stock. A process that has asked the product service
    -- compares it to detect that the answer is no longer the latest report.
    stock_revision bigint not null default 0,
    -- When an answer of the product service last set the stock; null when a message did. A message
    -- sent before such an answer must not look like a restock.
    upstream_checked_at timestamptz,
    updated_at timestamptz not null,
    constraint products_price_not_negative check (price >= 0),
    constraint products_currency_valid check (currency ~ '^[A-Z]{3}$'),
    constraint products_reserved_not_negative check (reserved >= 0),
    constraint products_answered_ahead_not_negative check (answered_ahead >= 0),
    constraint products_counters_not_negative check (
        projection_version >= 0 and stock_revision >= 0
    )
) with (
    -- Every order updates `reserved`; free space in each page keeps these updates heap-only.
    fillfactor = 70
);

-- Triggers count the changes because not only the engine writes: while an older application shares
-- the database, its triggers write too.
create function products_count_projection() returns trigger language plpgsql as $$
begin
    new.projection_version := old.projection_version + 1;
    return new;
end $$;

create trigger products_count_projection before update of reported, reserved on products
for each row when ((old.reported, old.reserved) is distinct from (new.reported, new.reserved))
execute function products_count_projection();

create function products_count_report() returns trigger language plpgsql as $$
begin
    new.stock_revision := old.stock_revision + 1;
    return new;
end $$;

-- Orders update only `reserved`, so this trigger does not run for them.
create trigger products_count_report before update of price, reported on products
for each row execute function products_count_report();

----------------------------------------------------------------------------------------------------
-- Orders
----------------------------------------------------------------------------------------------------

-- Ids are drawn before the rows are written, because the messages that contain them are written in
-- the same statement.
create sequence order_ids as bigint;
create sequence order_line_ids as bigint;

-- The engine draws ids through these functions. While an older application shares the database,
-- they are replaced by functions that draw from its sequences, so that both sides share one series.
-- The bodies are strings on purpose: a parsed body would depend on the older application's sequence
-- and keep it from dropping its table.
create function next_order_id() returns bigint language sql volatile as
$$ select nextval('order_ids') $$;

create function next_order_line_id() returns bigint language sql volatile as
$$ select nextval('order_line_ids') $$;

create table orders (
    id bigint primary key,
    -- No foreign key: a setting allows orders of users that no event has announced.
    user_id text not null,
    status text not null,
    total numeric(19, 4) not null,
    currency text not null,
    -- Copied from the user when the order is placed; null where no event announced one.
    address text,
    -- 1 when placed, incremented with every change under the row's lock. It orders the events of an
    -- order; times do not.
    version integer not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- Set by a deletion. The row stays for history and audit; no read returns it.
    deleted_at timestamptz,
    constraint orders_id_positive check (id > 0),
    constraint orders_status_known check (
        status in ('pending', 'confirmed', 'shipped', 'delivered', 'cancelled', 'returned')
    ),
    constraint orders_total_not_negative check (total >= 0),
    constraint orders_currency_valid check (currency ~ '^[A-Z]{3}$'),
    constraint orders_version_positive check (version > 0)
);

-- Lists are keyset pages by id, newest first: of all orders by the primary key, of one user by this.
create index orders_by_user on orders (user_id, id desc) where deleted_at is null;

create table order_lines (
    order_id bigint not null references orders (id),
    position integer not null,
    -- Consumers of the older services read an id per line that is unique over all orders.
    id bigint not null,
    -- No foreign key: an adopted order may name a product that its catalog no longer has.
    product_id text not null,
    -- Name and price when the order was placed.
    name text not null,
    quantity integer not null,
    unit_price numeric(19, 4) not null,
    primary key (order_id, position),
    constraint order_lines_position_positive check (position > 0),
    constraint order_lines_quantity_positive check (quantity > 0),
    constraint order_lines_unit_price_not_negative check (unit_price >= 0)
);

-- Numbers the changes of all orders. Unlike the clock of the database it never goes back.
create sequence change_numbers as bigint;

-- One row for each change of an order. Any contract's messages can be rebuilt from it.
create table order_history (
    order_id bigint not null references orders (id),
    version integer not null,
    -- Identifies the event in every message about it, on every attempt.
    event_id uuid not null,
    -- Subscriptions read the changes by this number.
    change_number bigint not null default nextval('change_numbers'),
    changed_at timestamptz not null,
    actor text not null,
    action text not null,
    previous_status text,
    status text not null,
    reason text,
    primary key (order_id, version),
    constraint order_history_version_positive check (version > 0),
    constraint order_history_action_known check (action in ('placed', 'updated', 'deleted')),
    constraint order_history_status_known check (
        status in ('pending', 'confirmed', 'shipped', 'delivered', 'cancelled', 'returned')
    ),
    constraint order_history_previous_status_known check (
        previous_status in
            ('pending', 'confirmed', 'shipped', 'delivered', 'cancelled', 'returned')
    )
);

-- Rows are inserted in the order of time and number, so block range indexes find the latest at
-- little cost.
create index order_history_by_time on order_history
using brin (changed_at) with (pages_per_range = 8);

create index order_history_by_number on order_history
using brin (change_number) with (pages_per_range = 8);

-- What an order reserves and the product service has not subtracted yet. The row is deleted when
-- the service acknowledges it or the order is cancelled.
create table reservations (
    -- No foreign key: the inserting statement has just locked the product, and products are never
    -- deleted. The check would cost 13 microseconds per line, twice that of order_id, because it
    -- locks the product's new row version, which every order of the product has just written.
    product_id text not null,
    order_id bigint not null references orders (id),
    quantity bigint not null,
    -- By product first: an acknowledgement takes the oldest reservations of a product.
    primary key (product_id, order_id),
    constraint reservations_quantity_positive check (quantity > 0)
);

-- A cancellation releases the reservations of an order.
create index reservations_by_order on reservations (order_id);

-- What a cancelled order had of a product. The product service may answer the cancellation with the
-- number after it has put the units back: such an answer raises the stock, once.
create table cancelled_lines (
    -- No foreign key, as for reservations.
    product_id text not null,
    order_id bigint not null references orders (id),
    quantity bigint not null,
    -- Units that were still reserved at the cancellation. For these the service sends two answers:
    -- to the order and to its cancellation.
    reserved bigint not null,
    progress text not null default 'unanswered',
    -- The newest order when the units were put back. Answers to this and older orders may not
    -- include them.
    put_back_after_order bigint,
    cancelled_at timestamptz not null,
    primary key (product_id, order_id),
    constraint cancelled_lines_quantity_positive check (quantity > 0),
    constraint cancelled_lines_reserved_in_range check (reserved between 0 and quantity),
    constraint cancelled_lines_progress_known check (
        progress in ('unanswered', 'half_answered', 'answered')
    )
);

create index cancelled_lines_unanswered on cancelled_lines (product_id)
where reserved > 0 and progress <> 'answered';

create index cancelled_lines_put_back on cancelled_lines (product_id, put_back_after_order)
where put_back_after_order is not null;

create index cancelled_lines_by_time on cancelled_lines using brin (cancelled_at);

-- The result of a request that carried an idempotency key. Written in the order's transaction.
create table idempotency (
    caller text not null,
    key text not null,
    -- The hash of the request: the same key with another request is an error.
    fingerprint bytea not null,
    order_id bigint not null references orders (id),
    created_at timestamptz not null,
    primary key (caller, key)
);

create index idempotency_by_time on idempotency using brin (created_at);

----------------------------------------------------------------------------------------------------
-- Messages
----------------------------------------------------------------------------------------------------

-- One series for outgoing and incoming messages, so that an id names one message of either kind.
create sequence message_ids as bigint;

-- The sequences in which messages are published: the events of an order, and the order lists of a
-- user. The claim reads them in the order of this type, so the few lists come first.
create type stream_kind as enum ('user_list', 'order');

-- Messages to be published. A row is deleted when the broker has confirmed and routed it. There is
-- no foreign key: a row usually lives for milliseconds.
create table outbox (
    -- The contract whose transport publishes it.
    destination text not null,
    id bigint not null default nextval('message_ids'),
    -- Relays divide the streams among themselves by sixteen partitions.
    partition smallint generated always as ((stream_id & 15)::smallint) stored,
    stream_kind stream_kind not null default 'order',
    -- The order's id, or a hash of the user's.
    stream_id bigint not null,
    -- The order's version; 0 for a list.
    version integer not null,
    message_id uuid not null,
    topic text not null,
    -- A Kafka record's key or a job's name; null for other transports.
    key text,
    body text not null,
    -- Republished from the history, so that consumers can tell it from a new event.
    replayed boolean not null default false,
    created_at timestamptz not null,
    -- Times that the broker rejected this message.
    attempts integer not null default 0,
    -- Set after a rejection: the messages of this stream wait until then.
    not_before timestamptz,
    -- Set after too many rejections: the messages of this stream wait for an operator.
    dead_lettered_at timestamptz,
    last_error text,
    -- One index serves the claim, which reads along it (the oldest order first, and of each stream
    -- the first message by version), and the deletion by key.
    primary key (destination, stream_kind, stream_id, version, id),
    constraint outbox_stream_id_not_negative check (stream_id >= 0),
    constraint outbox_version_not_negative check (version >= 0),
    constraint outbox_attempts_not_negative check (attempts >= 0)
) with (
    -- Rows live for milliseconds. With the defaults, dead rows would slow the claim down.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);

-- The claim skips every stream that has a waiting message.
create index outbox_waiting on outbox (destination, stream_kind, stream_id)
where not_before is not null or dead_lettered_at is not null;

-- Dead letters are listed by age, and retried or skipped by id.
create index outbox_dead_letters_by_age on outbox (dead_lettered_at, id)
where dead_lettered_at is not null;

create index outbox_dead_letters_by_id on outbox (id) where dead_lettered_at is not null;

-- A replay limits how many of its messages wait.
create index outbox_replayed on outbox (destination) where replayed;

-- The number of lists in the outbox is limited, to one per user and in all.
create index outbox_lists on outbox (stream_id) where stream_kind = 'user_list';

-- Users whose list of orders is to be published. A row is deleted when the list is in the outbox,
-- and the list is composed only then: any number of requests in between are one row.
create table pending_list_publications (
    user_id text primary key,
    -- The stream of the list's messages in the outbox.
    stream_id bigint not null,
    requested_at timestamptz not null,
    constraint pending_list_publications_stream_id_not_negative check (stream_id >= 0)
);

-- Locks that a process holds for a limited time, such as on an outbox partition or a queue.
create table leases (
    name text primary key,
    owner uuid not null,
    -- The fencing token: incremented with every change of the owner. A write by a former owner
    -- carries an older token and changes nothing.
    token bigint not null,
    expires_at timestamptz not null
);

-- Incoming messages that were applied, so that a repeated delivery changes nothing.
create table inbox (
    consumer text not null,
    identity_kind text not null,
    -- The sender's message id in UTF-8, or the SHA-256 of topic and body where it gave none.
    identity bytea not null,
    received_at timestamptz not null,
    primary key (consumer, identity, identity_kind),
    constraint inbox_identity_kind_known check (identity_kind in ('message_id', 'body_hash'))
);

create index inbox_by_time on inbox using brin (received_at);

-- Incoming messages that could not be applied. They wait for an operator.
create table inbox_dead_letters (
    id bigint primary key default nextval('message_ids'),
    consumer text not null,
    topic text not null,
    body bytea not null,
    message_id text,
    reason text not null,
    received_at timestamptz not null
);

create index inbox_dead_letters_by_age on inbox_dead_letters (received_at, id);

----------------------------------------------------------------------------------------------------
-- The cache of orders
----------------------------------------------------------------------------------------------------

-- Whether orders may be read from the shared cache. The database decides, because every process that
-- reads or changes orders reaches it, and not every one may reach the cache.
create table cache_state (
    singleton boolean primary key default true,
    -- Names the entries of this epoch. It is random, so that a database that was restored to an
    -- earlier time never names entries that were written after that time.
    namespace uuid not null default gen_random_uuid(),
    -- Incremented whenever the cache is used again; entries of earlier epochs are never read. 0: the
    -- cache was never used.
    epoch bigint not null default 0,
    -- The run_id of the Redis that this epoch began with; empty where Redis does not say. After a
    -- restart or a failover Redis has another one, and may have lost changes.
    server text not null default '',
    -- Set while the cache is not read, until a new epoch begins.
    bypass_until timestamptz,
    -- Whether this is only because a process started. Changes then go on invalidating entries, so
    -- that they need not wait for readers.
    is_renewal boolean not null default false,
    -- When reads may begin. Changes are written to the cache from the start of the epoch.
    readable_from timestamptz,
    constraint cache_state_one_row check (singleton),
    constraint cache_state_epoch_not_negative check (epoch >= 0)
);

insert into cache_state default values;

----------------------------------------------------------------------------------------------------
-- The migration router: which code answers an operation while a service is moved over
----------------------------------------------------------------------------------------------------

-- One row for a GraphQL field such as createOrder, a route such as GET /, or * for every operation
-- without a row of its own.
create table routing_rules (
    operation text primary key,
    -- Null: the stage of *, else the one in the settings.
    stage text,
    -- The share of users for whom the stage holds; for the others it is the stage before. With
    -- neither a percentage nor users, it holds for everybody.
    percent integer,
    users text[] not null default '{}',
    -- Response fields that are not compared: a name anywhere, or a path with dots.
    ignored_fields text[] not null default '{}',
    updated_at timestamptz not null default now(),
    constraint routing_rules_operation_not_empty check (operation <> ''),
    constraint routing_rules_stage_known check (stage in ('legacy', 'shadow', 'engine')),
    constraint routing_rules_percent_in_range check (percent between 0 and 100)
);

-- Results of shadowed requests, of all processes, since the counts were cleared.
create table shadow_counts (
    operation text primary key,
    matched bigint not null default 0,
    differed bigint not null default 0,
    unsettled bigint not null default 0,
    failed bigint not null default 0,
    skipped bigint not null default 0,
    counted_since timestamptz not null default now(),
    constraint shadow_counts_not_negative check (
        matched >= 0 and differed >= 0 and unsettled >= 0 and failed >= 0 and skipped >= 0
    )
);

-- Requests that the engine would have answered differently: the newest of each operation.
create table shadow_differences (
    id bigint generated always as identity primary key,
    operation text not null,
    requested_at timestamptz not null,
    -- The GraphQL document and its variables, without headers.
    request text not null,
    legacy_status integer not null,
    legacy_body text not null,
    engine_status integer not null,
    engine_body text not null,
    -- Where the responses differ, such as createOrder.orders.0.total_amount.
    paths text[] not null
);

create index shadow_differences_by_operation on shadow_differences (operation, id);

----------------------------------------------------------------------------------------------------
-- Adoption: a database shared with an older application. See docs/MIGRATION.md
----------------------------------------------------------------------------------------------------

-- The state of the adoption; no row before the first one.
create table adoption (
    singleton boolean primary key default true,
    step text not null,
    -- The schema of the older application's tables.
    old_schema text not null,
    -- The time zone of its timestamps, which carry none.
    time_zone text not null,
    -- Whether the engine publishes the older application's changes.
    announce boolean not null,
    -- What its own words for a status mean, such as {"paid": "confirmed"}.
    status_map jsonb not null default '{}',
    -- The triggers on the older application's tables when the adoption was finished.
    old_triggers bigint not null default 0,
    -- The table that is being copied, and the last id that was copied.
    copying_table text,
    copied_to_id bigint not null default 0,
    started_at timestamptz not null,
    finished_at timestamptz,
    undone_at timestamptz,
    constraint adoption_one_row check (singleton),
    constraint adoption_status_map_is_object check (jsonb_typeof(status_map) = 'object'),
    constraint adoption_step_known check (step in ('copying', 'live', 'undone'))
);

-- Rows that break a rule of one side. They stay where they are and are reported here.
create table adoption_findings (
    kind text not null,
    -- The table of `row_id`: one of the older application, or `order_engine` for a row that the
    -- older tables cannot represent.
    row_table text not null,
    row_id text not null,
    -- What the row contains, and what was done about it.
    value text not null,
    outcome text not null,
    noted_at timestamptz not null default clock_timestamp(),
    primary key (row_table, row_id, kind)
);

-- Rows of users and products that the engine inserted into the older application's tables. When the
-- older application inserts its own row for the same user or product, the engine's is deleted.
create table adoption_mirrored_rows (
    old_table text not null,
    old_id bigint not null,
    primary key (old_table, old_id)
);

-- Changes of stock and catalog that the current transaction of the older application implies. They
-- are applied just before its commit, in the order of products, so that two transactions cannot
-- deadlock.
create table adoption_stock_changes (
    transaction_id xid8 not null default pg_current_xact_id(),
    sequence_number bigint generated always as identity,
    kind text not null,
    order_id bigint,
    product_id text,
    name text,
    price numeric(19, 4),
    quantity bigint,
    primary key (transaction_id, sequence_number),
    constraint adoption_stock_changes_kind_known check (
        kind in ('reserve', 'release', 'catalog', 'stock')
    )
);

-- Changes by the older application that the engine has still to publish. A row is deleted when its
-- messages are in the outbox.
create table legacy_outbox (
    order_id bigint not null references orders (id),
    version integer not null,
    primary key (order_id, version)
);
