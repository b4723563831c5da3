-- What users want to hear of, and lists of their orders that are to be told.

alter table users
    -- A JSON object as the user service tells it. Absent before it has told any.
    add column preferences json,
    -- Whether they say that the user wants no notifications of new orders.
    add column opted_out boolean not null default false;

-- What is shown outside the database is looked for by the time of its change.
create index users_by_time on users (updated_at);

-- Users the list of whose orders is to be told. A row goes when the list is in the outbox; it is
-- composed only then, so that what waits here is small, and however often it is asked for, is one.
create table lists_due (
    user_id text primary key,
    -- Under which number the list waits in the outbox: below 0, so it is no order's.
    stream bigint not null check (stream < 0),
    due_at timestamptz not null
);

-- Lists that have not left yet.
create index outbox_lists on outbox (order_id) where order_id < 0;
