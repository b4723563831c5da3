-- Product services that are asked, beside those that send messages.

alter table products
    -- How often its price or stock has been told, by whomever: whoever has asked knows by it whether
    -- the answer is still the latest word.
    add column reports bigint not null default 0,
    -- When an answer last told the stock. Absent where messages tell it: an answer may overtake
    -- them, and what they then say would look like a restock.
    add column asked_at timestamptz;

create function count_report() returns trigger
language plpgsql as $$
begin
    new.reports := old.reports + 1;
    return new;
end $$;

-- Orders only change `reserved`; they do not come here.
create trigger products_reports before update of price, reported on products
for each row execute function count_report();
