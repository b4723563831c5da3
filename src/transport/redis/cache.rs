//! Copies of orders in Redis: one hash for each order and each user's list, and only scripts that
//! touch them, so that nobody sees a step half done.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::Script;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::ids::{OrderId, ProductId, UserId};
use crate::domain::money::Currency;
use crate::domain::order::{Line, Order};
use crate::domain::status::OrderStatus;
use crate::engine::ports::{Cached, OrderCache, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::transport::redis::RedisLink;

/// How long an entry stays closed that nobody reopens: longer than any change may take.
const CLOSED_MS: u64 = 60_000;
/// Largest entry, in bytes. Longer lists are read from the database.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// An entry that something else was made of is none.
const PRELUDE: &str = "
    for _, key in ipairs(KEYS) do
        local kind = redis.call('TYPE', key).ok
        if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', key) end
    end";

/// What there is; with a lease (`ARGV[1]`), leave for its bearer to put something in.
const GET: &str = "
    local held = redis.call('HMGET', KEYS[1], 'writers', 'value')
    if (tonumber(held[1]) or 0) > 0 then return {'closed'} end
    if held[2] then return {'hit', held[2]} end
    if ARGV[1] ~= '' then
        redis.call('HSET', KEYS[1], 'lease', ARGV[1])
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
    end
    return {'miss'}";

/// Keeps a value (`ARGV[2]`, of version `ARGV[3]`) of the bearer of a lease.
const PUT: &str = "
    local held = redis.call('HMGET', KEYS[1], 'lease', 'writers', 'version')
    local is_closed = (tonumber(held[2]) or 0) > 0
    local is_older = (tonumber(held[3]) or 0) > tonumber(ARGV[3])
    if held[1] ~= ARGV[1] or is_closed or is_older then return 0 end
    redis.call('HDEL', KEYS[1], 'lease')
    redis.call('HSET', KEYS[1], 'value', ARGV[2], 'version', ARGV[3])
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    return 1";

/// Forgets values and leases, and counts one more writer.
const CLOSE: &str = "
    for _, key in ipairs(KEYS) do
        redis.call('HDEL', key, 'value', 'lease')
        redis.call('HINCRBY', key, 'writers', 1)
        redis.call('PEXPIRE', key, ARGV[1])
    end
    return #KEYS";

/// Forgets values and leases, and counts one writer less.
const REOPEN: &str = "
    for _, key in ipairs(KEYS) do
        redis.call('HDEL', key, 'value', 'lease')
        if redis.call('HINCRBY', key, 'writers', -1) <= 0 then
            redis.call('HDEL', key, 'writers')
        end
        redis.call('PEXPIRE', key, ARGV[1])
    end
    return #KEYS";

/// Copies of orders in Redis.
pub struct RedisCache {
    link: Arc<RedisLink>,
    age_max: Duration,
    get: Script,
    put: Script,
    close: Script,
    reopen: Script,
}

impl RedisCache {
    /// On `link`; what is kept for `age_max` is forgotten.
    #[must_use]
    pub fn new(link: Arc<RedisLink>, age_max: Duration) -> Self {
        let script = |text| Script::new(&format!("{PRELUDE}\n{text}"));
        let (get, put, close, reopen) = (script(GET), script(PUT), script(CLOSE), script(REOPEN));
        Self { link, age_max, get, put, close, reopen }
    }

    async fn look(&self, space: &str, subject: &Subject, lease: Option<Uuid>) -> Result<Cached> {
        let lease = lease.map(|lease| lease.to_string()).unwrap_or_default();
        let mut asking = self.get.prepare_invoke();
        asking.key(key(space, subject)).arg(lease).arg(CLOSED_MS);
        let answer: Vec<Vec<u8>> = self.link.run(&asking).await?;
        match answer.as_slice() {
            [word] if word == b"miss" => Ok(Cached::Miss),
            [_, value] => match read(value) {
                Some(orders) => Ok(Cached::Hit(orders)),
                None => {
                    tracing::warn!("a cached order cannot be read, and is read anew");
                    self.run_on(&self.reopen, space, std::slice::from_ref(subject)).await?;
                    Ok(Cached::Closed)
                }
            },
            _ => Ok(Cached::Closed),
        }
    }

    async fn keep(
        &self,
        space: &str,
        subject: &Subject,
        lease: Uuid,
        orders: &[Order],
    ) -> Result<()> {
        let value = write(orders)?;
        if value.len() > ENTRY_BYTES_MAX {
            return Ok(());
        }
        let version = match (subject, orders) {
            (Subject::Order(_), [order]) => order.version,
            _ => 0,
        };
        let age_max_ms = u64::try_from(self.age_max.as_millis()).unwrap_or(u64::MAX);
        let mut putting = self.put.prepare_invoke();
        putting.key(key(space, subject)).arg(lease.to_string()).arg(value);
        putting.arg(version).arg(age_max_ms);
        self.link.run::<i64>(&putting).await.map(drop)
    }

    async fn run_on(&self, script: &Script, space: &str, subjects: &[Subject]) -> Result<()> {
        if subjects.is_empty() {
            return Ok(());
        }
        let mut running = script.prepare_invoke();
        for subject in subjects {
            running.key(key(space, subject));
        }
        running.arg(CLOSED_MS);
        self.link.run::<i64>(&running).await.map(drop)
    }
}

impl OrderCache for RedisCache {
    fn get<'a>(
        &'a self,
        space: &'a str,
        subject: &'a Subject,
        lease: Option<Uuid>,
    ) -> BoxFuture<'a, Result<Cached>> {
        self.look(space, subject, lease).boxed()
    }

    fn put<'a>(
        &'a self,
        space: &'a str,
        subject: &'a Subject,
        lease: Uuid,
        orders: &'a [Order],
    ) -> BoxFuture<'a, Result<()>> {
        self.keep(space, subject, lease, orders).boxed()
    }

    fn close<'a>(&'a self, space: &'a str, subjects: &'a [Subject]) -> BoxFuture<'a, Result<()>> {
        self.run_on(&self.close, space, subjects).boxed()
    }

    fn reopen<'a>(&'a self, space: &'a str, subjects: &'a [Subject]) -> BoxFuture<'a, Result<()>> {
        self.run_on(&self.reopen, space, subjects).boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        self.link.ping().boxed()
    }
}

fn key(space: &str, subject: &Subject) -> String {
    match subject {
        Subject::Order(id) => format!("order-engine:cache:{space}:order:{id}"),
        Subject::ListOf(user) => format!("order-engine:cache:{space}:user:{user}"),
    }
}

/// An order as it is kept. The names are this file's own; entries of another build that spells them
/// otherwise cannot be read, and are read anew.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    id: i64,
    user: String,
    status: String,
    lines: Vec<KeptLine>,
    total: Decimal,
    currency: String,
    address: Option<String>,
    version: i32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptLine {
    id: i64,
    product: String,
    name: String,
    quantity: u32,
    unit_price: Decimal,
}

fn write(orders: &[Order]) -> Result<Vec<u8>> {
    let kept: Vec<_> = orders.iter().map(Kept::from).collect();
    serde_json::to_vec(&kept).map_err(|error| {
        Error::new(ErrorKind::Internal, "The engine met a defect; its log says more.")
            .because(error)
    })
}

fn read(value: &[u8]) -> Option<Vec<Order>> {
    let kept: Vec<Kept> = serde_json::from_slice(value).ok()?;
    kept.into_iter().map(Kept::order).collect()
}

impl From<&Order> for Kept {
    fn from(order: &Order) -> Self {
        let line = |line: &Line| KeptLine {
            id: line.id,
            product: line.product.as_str().to_owned(),
            name: line.name.clone(),
            quantity: line.quantity,
            unit_price: line.unit_price,
        };
        Self {
            id: order.id.get(),
            user: order.user.as_str().to_owned(),
            status: order.status.as_str().to_owned(),
            lines: order.lines.iter().map(line).collect(),
            total: order.total,
            currency: order.currency.to_string(),
            address: order.address.clone(),
            version: order.version,
            created_at: order.created_at,
            updated_at: order.updated_at,
        }
    }
}

impl Kept {
    fn order(self) -> Option<Order> {
        let line = |line: KeptLine| {
            Some(Line {
                id: line.id,
                product: ProductId::parse(line.product).ok()?,
                name: line.name,
                quantity: line.quantity,
                unit_price: line.unit_price,
            })
        };
        Some(Order {
            id: OrderId::parse(&self.id.to_string())?,
            user: UserId::parse(self.user).ok()?,
            status: OrderStatus::parse(&self.status).ok()?,
            lines: self.lines.into_iter().map(line).collect::<Option<_>>()?,
            total: self.total,
            currency: Currency::parse(&self.currency).ok()?,
            address: self.address,
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_as_it_was() {
        let at = "2026-11-21T10:00:00.123456Z".parse().unwrap();
        let order = Order {
            id: OrderId::from_database(7),
            user: UserId::parse("66f1").unwrap(),
            status: OrderStatus::Shipped,
            lines: vec![Line {
                id: 9,
                product: ProductId::parse("1").unwrap(),
                name: "M\u{fc}g \"x\"".to_owned(),
                quantity: 2,
                unit_price: "999999999999999.9999".parse().unwrap(),
            }],
            total: "0.0125".parse().unwrap(),
            currency: Currency::parse("EUR").unwrap(),
            address: None,
            version: 3,
            created_at: at,
            updated_at: at,
        };
        let orders = vec![order.clone(), Order { address: Some("1 St".to_owned()), ..order }];
        assert_eq!(read(&write(&orders).unwrap()), Some(orders));
        assert_eq!(read(&write(&[]).unwrap()), Some(Vec::new()));
        for garbage in ["many", "{}", "[1]", "[{\"id\": 1}]", "\u{0}"] {
            assert_eq!(read(garbage.as_bytes()), None, "{garbage}");
        }
    }
}
