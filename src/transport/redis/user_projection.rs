//! The user projection: the hashes `user:email` and `user:preferences`, by user id.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::Script;

use crate::domain::user::User;
use crate::engine::ports::{PreferencesPage, UserProjection};
use crate::error::Result;
use crate::transport::redis::RedisLink;

const EMAIL: &str = "user:email";
const PREFERENCES: &str = "user:preferences";
/// Approximate number of entries per page.
const PAGE: u32 = 500;

/// Writes fields of both hashes. Returns the number of keys that exist but are not hashes. A legacy
/// service may use these names for other values, which are not changed.
static SHOW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local others = 0
         local at = 1
         for i = 1, #KEYS do
             local kind = redis.call('TYPE', KEYS[i]).ok
             local is_hash = kind == 'hash' or kind == 'none'
             if not is_hash then others = others + 1 end
             local count = tonumber(ARGV[at])
             for n = at + 1, at + 2 * count, 2 do
                 if is_hash then redis.call('HSET', KEYS[i], ARGV[n], ARGV[n + 1]) end
             end
             at = at + 1 + 2 * count
         end
         return others",
    )
});

/// Reads a page of a hash. Empty if the key is not a hash.
static SCAN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return {'0', {}} end
         return redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])",
    )
});

/// The user projection in one Redis.
pub struct RedisUserProjection {
    link: Arc<RedisLink>,
    has_reported: AtomicBool,
}

impl RedisUserProjection {
    /// A projection on `link`.
    #[must_use]
    pub fn new(link: Arc<RedisLink>) -> Self {
        Self { link, has_reported: AtomicBool::new(false) }
    }

    fn report(&self, others: u32) {
        if others > 0 && !self.has_reported.swap(true, Ordering::Relaxed) {
            tracing::info!(
                keys = others,
                "another service keeps a value that is not a hash in {EMAIL} or {PREFERENCES} in \
                 Redis: it is left as it is, and the engine uses what its own table users has. \
                 There is nothing to do"
            );
        }
    }
}

impl UserProjection for RedisUserProjection {
    fn write<'a>(&'a self, users: &'a [User]) -> BoxFuture<'a, Result<()>> {
        async move {
            let mut show = SHOW.prepare_invoke();
            for (key, value_of) in [(EMAIL, email as ValueOf), (PREFERENCES, preferences)] {
                let fields: Vec<_> = users
                    .iter()
                    .filter_map(|user| Some((user.id.as_str(), value_of(user)?)))
                    .collect();
                show.key(key).arg(fields.len());
                for (user, value) in fields {
                    show.arg(user).arg(value);
                }
            }
            self.report(self.link.run(&show).await?);
            Ok(())
        }
        .boxed()
    }

    fn preferences(&self, cursor: u64) -> BoxFuture<'_, Result<PreferencesPage>> {
        async move {
            let mut scan = SCAN.prepare_invoke();
            scan.key(PREFERENCES).arg(cursor).arg(PAGE);
            let (next, fields): (u64, Vec<Vec<u8>>) = self.link.run(&scan).await?;
            // A value that is not UTF-8 is neither JSON nor a user id.
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (pairs, _) = fields.as_chunks::<2>();
            let found = pairs.iter().map(|[user, json]| (text(user), text(json))).collect();
            Ok(PreferencesPage { found, next })
        }
        .boxed()
    }
}

type ValueOf = fn(&User) -> Option<&str>;

fn email(user: &User) -> Option<&str> {
    user.email.as_deref()
}

fn preferences(user: &User) -> Option<&str> {
    user.preferences.as_deref()
}
