-- Messages on their way out and in.

-- One series for both ways, so that a number names a message whichever way it was going.
create sequence message_ids as bigint;

-- What is still to be sent. A row goes when the broker has confirmed and routed it.
create table outbox (
    -- Which contract's transport carries it.
    destination text not null,
    id bigint not null default nextval('message_ids'),
    -- Orders are dealt to relays in sixteen shares.
    share smallint generated always as ((order_id & 15)::smallint) stored,
    order_id bigint not null,
    version integer not null,
    message_id uuid not null,
    topic text not null,
    body text not null,
    created_at timestamptz not null,
    -- How often the broker has refused this very message.
    attempts integer not null default 0,
    -- Set after a refusal: the order's stream waits until then.
    not_before timestamptz,
    -- Set after too many refusals: the order's stream waits for a person.
    dead_lettered_at timestamptz,
    last_error text,
    -- One index serves the claim, which reads along it (the oldest order first, and of each order
    -- the first message by version), and the mark.
    primary key (destination, order_id, version, id)
) with (
    -- Rows live for milliseconds; without this the dead ones slow the claim down.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0
);

-- The few that wait: the claim leaves out their whole orders.
create index outbox_waiting on outbox (destination, order_id)
where not_before is not null or dead_lettered_at is not null;

-- Dead letters are listed by age, and retried or skipped by id.
create index outbox_dead_letters_by_age on outbox (dead_lettered_at, id)
where dead_lettered_at is not null;

create index outbox_dead_letters on outbox (id) where dead_lettered_at is not null;

-- Who may do what only one process may do at a time. The token grows with every change of hands;
-- a late write by an earlier owner carries an older one and is refused.
create table leases (
    name text primary key,
    owner uuid not null,
    token bigint not null,
    expires_at timestamptz not null
);

-- What has been taken in, so that a repeated delivery does nothing.
create table inbox (
    consumer text not null,
    -- `id:` and the message id, or `body:` and the SHA-256 of topic and body.
    message_key text not null,
    received_at timestamptz not null,
    primary key (consumer, message_key)
);

create index inbox_by_time on inbox using brin (received_at);

-- What could not be understood: kept for a person, with the reason.
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
