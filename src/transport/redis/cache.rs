//! The order cache in Redis: one hash for each order and each user's list. Only scripts access
//! them, so that every step is atomic.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::Script;
use uuid::Uuid;

use crate::domain::order::Order;
use crate::engine::ports::{CacheKey, CacheLookup, CacheNamespace, OrderCache};
use crate::error::Result;
use crate::transport::redis::{RedisLink, cached_orders};

/// How long an entry stays invalidated if it is never released. Longer than any change can take.
const CLOSED_MS: u64 = 60_000;
/// Largest entry, in bytes. Larger ones are not cached.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// Fails unless `ARGV[1]` is empty or the current run of the server: a server that was restarted or
/// replaced may have lost changes. Deletes keys that are not hashes, which another program must
/// have written.
const PRELUDE: &str = "
    local run = 'run_id:' .. ARGV[1]
    if ARGV[1] ~= '' and not string.find(redis.call('INFO', 'server'), run, 1, true) then
        return redis.error_reply('RESTARTED another run of the server')
    end
    for _, key in ipairs(KEYS) do
        local kind = redis.call('TYPE', key).ok
        if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', key) end
    end";

/// Returns the id of the server's run. Users without the right to read it get the empty text, as do
/// servers without ids.
const SERVER: &str = "
    local info = redis.pcall('INFO', 'server')
    return type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''";

/// Returns the entry. On a miss, stores the lease `ARGV[2]`, which entitles its holder to fill the
/// entry.
const GET: &str = "
    local held = redis.call('HMGET', KEYS[1], 'writers', 'value')
    if (tonumber(held[1]) or 0) > 0 then return {'closed'} end
    if held[2] then return {'hit', held[2]} end
    if ARGV[2] ~= '' then
        redis.call('HSET', KEYS[1], 'lease', ARGV[2])
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
    end
    return {'miss'}";

/// Stores the value `ARGV[3]` with version `ARGV[4]`, if `ARGV[2]` is the current lease.
const PUT: &str = "
    local held = redis.call('HMGET', KEYS[1], 'lease', 'writers', 'version')
    local is_closed = (tonumber(held[2]) or 0) > 0
    local is_older = (tonumber(held[3]) or 0) > tonumber(ARGV[4])
    if held[1] ~= ARGV[2] or is_closed or is_older then return 0 end
    redis.call('HDEL', KEYS[1], 'lease')
    redis.call('HSET', KEYS[1], 'value', ARGV[3], 'version', ARGV[4])
    redis.call('PEXPIRE', KEYS[1], ARGV[5])
    return 1";

/// Deletes values and leases, and increments the number of writers.
const INVALIDATE: &str = "
    for _, key in ipairs(KEYS) do
        redis.call('HDEL', key, 'value', 'lease')
        redis.call('HINCRBY', key, 'writers', 1)
        redis.call('PEXPIRE', key, ARGV[2])
    end
    return #KEYS";

/// Deletes values and leases, and decrements the number of writers.
const RELEASE: &str = "
    for _, key in ipairs(KEYS) do
        redis.call('HDEL', key, 'value', 'lease')
        if redis.call('HINCRBY', key, 'writers', -1) <= 0 then
            redis.call('HDEL', key, 'writers')
        end
        redis.call('PEXPIRE', key, ARGV[2])
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
    server: Script,
}

impl RedisCache {
    /// A cache on `link`. Entries expire after `age_max`.
    #[must_use]
    pub fn new(link: Arc<RedisLink>, age_max: Duration) -> Self {
        let script = |text| Script::new(&format!("{PRELUDE}\n{text}"));
        let (invalidate, release) = (script(INVALIDATE), script(RELEASE));
        let (get, put, server) = (script(GET), script(PUT), Script::new(SERVER));
        Self { link, age_max, get, put, invalidate, release, server }
    }

    async fn look(
        &self,
        namespace: &CacheNamespace,
        key: &CacheKey,
        lease: Option<Uuid>,
    ) -> Result<CacheLookup> {
        let lease = lease.map(|lease| lease.to_string()).unwrap_or_default();
        let mut asking = self.get.prepare_invoke();
        asking.key(key_name(namespace, key)).arg(&namespace.server).arg(lease).arg(CLOSED_MS);
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
        namespace: &CacheNamespace,
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
        putting.key(key_name(namespace, key)).arg(&namespace.server).arg(lease.to_string());
        putting.arg(value).arg(version).arg(age_max_ms);
        self.link.run::<i64>(&putting).await.map(drop)
    }

    async fn run_on(
        &self,
        script: &Script,
        namespace: &CacheNamespace,
        keys: &[CacheKey],
    ) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut running = script.prepare_invoke();
        for key in keys {
            running.key(key_name(namespace, key));
        }
        running.arg(&namespace.server).arg(CLOSED_MS);
        self.link.run::<i64>(&running).await.map(drop)
    }
}

impl OrderCache for RedisCache {
    fn get<'a>(
        &'a self,
        namespace: &'a CacheNamespace,
        key: &'a CacheKey,
        lease: Option<Uuid>,
    ) -> BoxFuture<'a, Result<CacheLookup>> {
        self.look(namespace, key, lease).boxed()
    }

    fn put<'a>(
        &'a self,
        namespace: &'a CacheNamespace,
        key: &'a CacheKey,
        lease: Uuid,
        orders: &'a [Order],
    ) -> BoxFuture<'a, Result<()>> {
        self.keep(namespace, key, lease, orders).boxed()
    }

    fn invalidate<'a>(
        &'a self,
        namespace: &'a CacheNamespace,
        keys: &'a [CacheKey],
    ) -> BoxFuture<'a, Result<()>> {
        self.run_on(&self.invalidate, namespace, keys).boxed()
    }

    fn release<'a>(
        &'a self,
        namespace: &'a CacheNamespace,
        keys: &'a [CacheKey],
    ) -> BoxFuture<'a, Result<()>> {
        self.run_on(&self.release, namespace, keys).boxed()
    }

    fn server(&self) -> BoxFuture<'_, Result<String>> {
        async { self.link.run(&self.server.prepare_invoke()).await }.boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        self.link.ping().boxed()
    }
}

fn key_name(namespace: &CacheNamespace, key: &CacheKey) -> String {
    let namespace = &namespace.name;
    match key {
        CacheKey::Order(id) => format!("order-engine:cache:{namespace}:order:{id}"),
        CacheKey::UserList(user) => format!("order-engine:cache:{namespace}:user:{user}"),
    }
}
