//! Whether orders may be read from the cache. All processes on the database share the decision.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// The state. While an older application writes to the same database, the cache is bypassed,
    /// because nothing invalidates its entries then. A copy of a database has the same rows, so the
    /// namespace also names the database itself: copies that share one Redis share no entries.
    GET = "
        select namespace || ':' || (
                   select oid from pg_database where datname = current_database()
               ) as namespace,
               epoch, bypass_until is not null as is_bypassed,
               coalesce(bypass_until < clock_timestamp(), false) as may_enable,
               coalesce(readable_from < clock_timestamp(), false) as is_readable,
               exists (select from adoption where step <> 'undone') as is_shared
        from cache_state";

    /// Bypasses the cache for at least $1 milliseconds. Its first use begins so too: by then every
    /// process has read the state again.
    BYPASS = "
        update cache_state
        set bypass_until = greatest(
            bypass_until, clock_timestamp() + $1::bigint * interval '1 millisecond'
        )";

    /// Begins a new epoch. Reads begin $1 milliseconds later.
    ENABLE = "
        update cache_state
        set epoch = epoch + 1, bypass_until = null,
            readable_from = clock_timestamp() + $1::bigint * interval '1 millisecond'
        where bypass_until < clock_timestamp()";
}

/// The state of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// No process has ever used it.
    Unused,
    /// It is bypassed.
    Bypassed {
        /// The last epoch.
        epoch: i64,
        /// Whether the bypass has lasted long enough, so that a working cache may be enabled.
        may_enable: bool,
    },
    /// Changes are written to it.
    Enabled {
        /// Names the entries of this database and epoch.
        namespace: String,
        /// Whether every process writes its changes by now, so that it may be read.
        is_readable: bool,
    },
}

impl CacheState {
    /// The last epoch, if the cache is bypassed.
    #[must_use]
    pub const fn bypassed_epoch(&self) -> Option<i64> {
        match self {
            Self::Bypassed { epoch, .. } => Some(*epoch),
            Self::Unused | Self::Enabled { .. } => None,
        }
    }
}

/// Reads the state of the cache.
///
/// # Errors
/// As [`failed`].
pub async fn get(connection: &mut Connection) -> Result<CacheState> {
    sqlx::query(GET)
        .try_map(|row: PgRow| {
            let (is_bypassed, is_shared): (bool, bool) =
                (row.try_get("is_bypassed")?, row.try_get("is_shared")?);
            let may_enable: bool = row.try_get("may_enable")?;
            let epoch: i64 = row.try_get("epoch")?;
            Ok(match epoch {
                _ if is_shared => CacheState::Bypassed { epoch, may_enable: false },
                _ if is_bypassed => CacheState::Bypassed { epoch, may_enable },
                0 => CacheState::Unused,
                _ => {
                    let namespace: String = row.try_get("namespace")?;
                    let namespace = format!("{namespace}:{epoch}");
                    CacheState::Enabled { namespace, is_readable: row.try_get("is_readable")? }
                }
            })
        })
        .fetch_one(connection)
        .await
        .map_err(|error| failed("reading the cache's state", error))
}

/// Bypasses the cache for at least `time`.
///
/// # Errors
/// As [`failed`].
pub async fn bypass(connection: &mut Connection, time: Duration) -> Result<()> {
    sqlx::query(BYPASS)
        .bind(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
        .execute(connection)
        .await
        .map_err(|error| failed("bypassing the cache", error))?;
    Ok(())
}

/// Enables the cache, empty, if it was bypassed for long enough. Reads begin after `pause`.
///
/// # Errors
/// As [`failed`].
pub async fn enable(connection: &mut Connection, pause: Duration) -> Result<()> {
    sqlx::query(ENABLE)
        .bind(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX))
        .execute(connection)
        .await
        .map_err(|error| failed("enabling the cache", error))?;
    Ok(())
}
