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
               epoch, server, is_renewal, bypass_until is not null as is_bypassed,
               coalesce(bypass_until < clock_timestamp(), false) as may_enable,
               coalesce(readable_from < clock_timestamp(), false) as is_readable,
               exists (select from adoption where step <> 'undone') as is_shared
        from cache_state";

    /// Bypasses the cache for at least $1 milliseconds.
    BYPASS = "
        update cache_state
        set bypass_until = greatest(
                bypass_until, clock_timestamp() + $1::bigint * interval '1 millisecond'
            ),
            is_renewal = false";

    /// Ends reads in this epoch, so that the next one may begin after $1 milliseconds; at once if
    /// the cache was never used. Has no effect while the cache is bypassed: a new epoch follows
    /// anyway.
    RENEW = "
        update cache_state
        set bypass_until = clock_timestamp()
                + case when epoch = 0 then 0 else $1::bigint end * interval '1 millisecond',
            is_renewal = true
        where bypass_until is null";

    /// Begins a new epoch with the server $2. Reads begin $1 milliseconds later.
    ENABLE = "
        update cache_state
        set epoch = epoch + 1, namespace = gen_random_uuid(), server = $2,
            bypass_until = null, is_renewal = false,
            readable_from = clock_timestamp() + $1::bigint * interval '1 millisecond'
        where bypass_until < clock_timestamp()";
}

/// Where the entries of an epoch are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheNamespace {
    /// Names the entries of one epoch of one database.
    pub name: String,
    /// The run of the cache server that the epoch began with. Another run may have lost changes.
    /// Empty if the server does not identify its runs.
    pub server: String,
}

/// Whether the entries of an epoch may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CachePhase {
    /// Not yet: some processes may not know of the epoch.
    WarmingUp,
    /// They may.
    Readable,
    /// No longer: a process started, and a new epoch is about to begin.
    Ending {
        /// Whether every process has stopped reading, so that the new epoch may begin.
        may_enable: bool,
    },
}

/// The state of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// No process has ever used it.
    Unused {
        /// Whether a process with a cache has started, so that a working cache may be enabled.
        may_enable: bool,
    },
    /// It is bypassed.
    Bypassed {
        /// The last epoch.
        epoch: i64,
        /// Whether the bypass has lasted long enough, so that a working cache may be enabled.
        may_enable: bool,
    },
    /// Changes are written to it.
    Enabled {
        /// Where its entries are.
        namespace: CacheNamespace,
        /// Whether it may be read.
        phase: CachePhase,
    },
}

impl CacheState {
    /// The last epoch, if the cache is bypassed.
    #[must_use]
    pub const fn bypassed_epoch(&self) -> Option<i64> {
        match self {
            Self::Bypassed { epoch, .. } => Some(*epoch),
            Self::Unused { .. } | Self::Enabled { .. } => None,
        }
    }
}

/// Reads the state of the cache.
///
/// # Errors
/// As [`failed`].
pub async fn get(connection: &mut Connection) -> Result<CacheState> {
    sqlx::query(GET)
        .try_map(|row: PgRow| read(&row))
        .fetch_one(connection)
        .await
        .map_err(|error| failed("reading the cache's state", error))
}

fn read(row: &PgRow) -> sqlx::Result<CacheState> {
    let epoch: i64 = row.try_get("epoch")?;
    let may_enable: bool = row.try_get("may_enable")?;
    let is_bypassed: bool = row.try_get("is_bypassed")?;
    let is_renewal: bool = row.try_get("is_renewal")?;
    if row.try_get("is_shared")? {
        return Ok(CacheState::Bypassed { epoch, may_enable: false });
    }
    if epoch == 0 && (is_renewal || !is_bypassed) {
        return Ok(CacheState::Unused { may_enable });
    }
    let phase = match (is_bypassed, is_renewal) {
        (true, false) => return Ok(CacheState::Bypassed { epoch, may_enable }),
        (true, true) => CachePhase::Ending { may_enable },
        (false, _) if row.try_get("is_readable")? => CachePhase::Readable,
        (false, _) => CachePhase::WarmingUp,
    };
    let (name, server) = (row.try_get("namespace")?, row.try_get("server")?);
    Ok(CacheState::Enabled { namespace: CacheNamespace { name, server }, phase })
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

/// Ends reads in the current epoch, so that the next one may begin after `time`.
///
/// # Errors
/// As [`failed`].
pub async fn renew(connection: &mut Connection, time: Duration) -> Result<()> {
    sqlx::query(RENEW)
        .bind(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
        .execute(connection)
        .await
        .map_err(|error| failed("ending the epoch of the cache", error))?;
    Ok(())
}

/// Enables the cache, empty, if it was bypassed for long enough. Reads begin after `pause`. Returns
/// whether it did; another process may have done so before.
///
/// # Errors
/// As [`failed`].
pub async fn enable(connection: &mut Connection, server: &str, pause: Duration) -> Result<bool> {
    let done = sqlx::query(ENABLE)
        .bind(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX))
        .bind(server)
        .execute(connection)
        .await
        .map_err(|error| failed("enabling the cache", error))?;
    Ok(done.rows_affected() > 0)
}
