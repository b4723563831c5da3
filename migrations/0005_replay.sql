-- Events of the past, told again.

-- Consumers can tell a message that is told again from one that is news.
alter table outbox add column replayed boolean not null default false;

-- How many of them wait is asked many times while they are written; live ones are not in here.
create index outbox_replayed on outbox (destination) where replayed;
