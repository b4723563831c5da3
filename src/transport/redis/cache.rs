//! The order cache in Redis: one hash for each order and each user's list. Only scripts access
//! them, so that every step is atomic.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::Script;
use uuid::Uuid;

use crate::domain::order::Order;
use crate::engine::ports::{CacheKey, CacheLookup, OrderCache};
use crate::error::Result;
use crate::transport::redis::{RedisLink, cached_orders};

/// How long an entry stays invalidated if it is never released. Longer than any change can take.
const CLOSED_MS: u64 = 60_000;
/// Largest entry, in bytes. Larger ones are not cached.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// Deletes keys that are not hashes, which another program must have written.
const PRELUDE: &str = "
    for _, key in ipairs(KEYS) do
        local kind = redis.call('TYPE', key).ok
        if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', key) end
    end";

/// Returns the entry. On a miss, stores the lease `ARGV[1]`, which entitles its holder to fill the
/// entry.
const GET: &str = "
    local held = redis.call('HMGET', KEYS[1], 'writers', 'value')
    if (tonumber(held[1]) or 0) > 0 then return {'closed'} end
    if held[2] then return {'hit', held[2]} end
    if ARGV[1] ~= '' then
        redis.call('HSET', KEYS[1], 'lease', ARGV[1])
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
    end
    return {'miss'}";

/// Stores the value `ARGV[2]` with version `ARGV[3]`, if `ARGV[1]` is the current lease.
const PUT: &str = "
    local held = redis.call('HMGET', KEYS[1], 'lease', 'writers', 'version')
    local is_closed = (tonumber(held[2]) or 0) > 0
    local is_older = (tonumber(held[3]) or 0) > tonumber(ARGV[3])
    if held[1] ~= ARGV[1] or is_closed or is_older then return 0 end
    redis.call('HDEL', KEYS[1], 'lease')
    redis.call('HSET', KEYS[1], 'value', ARGV[2], 'version', ARGV[3])
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    return 1";

/// Deletes values and leases, and increments the number of writers.
const INVALIDATE: &str = "
    for _, key in ipairs(KEYS) do
        redis.call('HDEL', key, 'value', 'lease')
        redis.call('HINCRBY', key, 'writers', 1)
        redis.call('PEXPIRE', key, ARGV[1])
    end
    return #KEYS";

/// Deletes values and leases, and decrements the number of writers.
const RELEASE: &str = "
    for _, key in ipairs(KEYS) do
        redis.call('HDEL', key, 'value', 'lease')
        if redis.call('HINCRBY', key, 'writers', -1) <= 0 then
            redis.call('HDEL', key, 'writers')
        end
        redis.call('PEXPIRE', key, ARGV[1])
    end
    return #KEYS";

/// The order cache in Redis.
pub struct RedisCache {
    link: Arc<RedisLink>,
    age_max: Duration,
    get: Script,
    put: Script,
    invalidate: Script,
    release: Script,
}

impl RedisCache {
    /// A cache on `link`. Entries expire after `age_max`.
    #[must_use]
    pub fn new(link: Arc<RedisLink>, age_max: Duration) -> Self {
        let script = |text| Script::new(&format!("{PRELUDE}\n{text}"));
        let (invalidate, release) = (script(INVALIDATE), script(RELEASE));
        Self { link, age_max, get: script(GET), put: script(PUT), invalidate, release }
    }

    async fn look(
        &self,
        namespace: &str,
        key: &CacheKey,
        lease: Option<Uuid>,
    ) -> Result<CacheLookup> {
        let lease = lease.map(|lease| lease.to_string()).unwrap_or_default();
        let mut asking = self.get.prepare_invoke();
        asking.key(key_name(namespace, key)).arg(lease).arg(CLOSED_MS);
        let answer: Vec<Vec<u8>> = self.link.run(&asking).await?;
        match answer.as_slice() {
            [word] if word == b"miss" => Ok(CacheLookup::Miss),
            [_, value] => match cached_orders::read(value) {
                Some(orders) => Ok(CacheLookup::Hit(orders)),
                None => {
                    tracing::warn!("a cached order cannot be read, and is read anew");
                    self.run_on(&self.release, namespace, std::slice::from_ref(key)).await?;
                    Ok(CacheLookup::Invalidated)
                }
            },
            _ => Ok(CacheLookup::Invalidated),
        }
    }

    async fn keep(
        &self,
        namespace: &str,
        key: &CacheKey,
        lease: Uuid,
        orders: &[Order],
    ) -> Result<()> {
        let value = cached_orders::write(orders)?;
        if value.len() > ENTRY_BYTES_MAX {
            return Ok(());
        }
        let version = match (key, orders) {
            (CacheKey::Order(_), [order]) => order.version,
            _ => 0,
        };
        let age_max_ms = u64::try_from(self.age_max.as_millis()).unwrap_or(u64::MAX);
        let mut putting = self.put.prepare_invoke();
        putting.key(key_name(namespace, key)).arg(lease.to_string()).arg(value);
        putting.arg(version).arg(age_max_ms);
        self.link.run::<i64>(&putting).await.map(drop)
    }

    async fn run_on(&self, script: &Script, namespace: &str, keys: &[CacheKey]) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut running = script.prepare_invoke();
        for key in keys {
            running.key(key_name(namespace, key));
        }
        running.arg(CLOSED_MS);
        self.link.run::<i64>(&running).await.map(drop)
    }
}

impl OrderCache for RedisCache {
    fn get<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a CacheKey,
        lease: Option<Uuid>,
    ) -> BoxFuture<'a, Result<CacheLookup>> {
        self.look(namespace, key, lease).boxed()
    }

    fn put<'a>(
        &'a self,
        namespace: &'a str,
        key: &'a CacheKey,
        lease: Uuid,
        orders: &'a [Order],
    ) -> BoxFuture<'a, Result<()>> {
        self.keep(namespace, key, lease, orders).boxed()
    }

    fn invalidate<'a>(
        &'a self,
        namespace: &'a str,
        keys: &'a [CacheKey],
    ) -> BoxFuture<'a, Result<()>> {
        self.run_on(&self.invalidate, namespace, keys).boxed()
    }

    fn release<'a>(
        &'a self,
        namespace: &'a str,
        keys: &'a [CacheKey],
    ) -> BoxFuture<'a, Result<()>> {
        self.run_on(&self.release, namespace, keys).boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        self.link.ping().boxed()
    }
}

fn key_name(namespace: &str, key: &CacheKey) -> String {
    match key {
        CacheKey::Order(id) => format!("order-engine:cache:{namespace}:order:{id}"),
        CacheKey::UserList(user) => format!("order-engine:cache:{namespace}:user:{user}"),
    }
}
