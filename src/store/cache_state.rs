//! Whether orders may be read from a cache, as all processes on the database agree.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// Whether the cache is used. An older application that writes to the same database tells no
    /// cache what it does.
    GET = "
        select namespace, epoch, bypass_until is not null as is_off,
               coalesce(bypass_until < clock_timestamp(), false) as may_return,
               coalesce(readable_from < clock_timestamp(), false) as is_read,
               exists (select from adoption where step <> 'undone') as is_shared
        from cache_state";

    /// Turns it off for at least so many milliseconds. At its first use, too: a process that knows
    /// of no cache yet will have looked again by then.
    TURN_OFF = "
        update cache_state
        set bypass_until = greatest(
            bypass_until, clock_timestamp() + $1::bigint * interval '1 millisecond'
        )";

    /// Uses it again, without what was kept before. It is read so many milliseconds later.
    TURN_ON = "
        update cache_state
        set epoch = epoch + 1, bypass_until = null,
            readable_from = clock_timestamp() + $1::bigint * interval '1 millisecond'
        where bypass_until < clock_timestamp()";
}

/// Whether the cache is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheState {
    /// No process has ever wanted to read from it.
    Unused,
    /// It must not be read; it `may_return` when somebody finds it in order.
    Off {
        /// Which use of it was the last one.
        generation: i64,
        /// Whether it has been off for long enough.
        may_return: bool,
    },
    /// It is told of changes.
    On {
        /// What is kept under this name belongs together.
        space: String,
        /// Whether everybody tells it of changes by now, so that it may be read.
        is_read: bool,
    },
}

impl CacheState {
    /// The last use of a cache that is off.
    #[must_use]
    pub const fn off_after(&self) -> Option<i64> {
        match self {
            Self::Off { generation, .. } => Some(*generation),
            Self::Unused | Self::On { .. } => None,
        }
    }
}

/// Reads whether the cache is used.
///
/// # Errors
/// As [`failed`].
pub async fn get(connection: &mut Connection) -> Result<CacheState> {
    sqlx::query(GET)
        .try_map(|row: PgRow| {
            let (is_off, is_shared): (bool, bool) =
                (row.try_get("is_off")?, row.try_get("is_shared")?);
            let may_return: bool = row.try_get("may_return")?;
            let generation: i64 = row.try_get("epoch")?;
            Ok(match generation {
                _ if is_shared => CacheState::Off { generation, may_return: false },
                _ if is_off => CacheState::Off { generation, may_return },
                0 => CacheState::Unused,
                _ => {
                    let space: Uuid = row.try_get("namespace")?;
                    let space = format!("{}:{generation}", space.simple());
                    CacheState::On { space, is_read: row.try_get("is_read")? }
                }
            })
        })
        .fetch_one(connection)
        .await
        .map_err(|error| failed("asking whether the cache is used", error))
}

/// Turns the cache off for at least `time`.
///
/// # Errors
/// As [`failed`].
pub async fn turn_off(connection: &mut Connection, time: Duration) -> Result<()> {
    sqlx::query(TURN_OFF)
        .bind(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
        .execute(connection)
        .await
        .map_err(|error| failed("turning the cache off", error))?;
    Ok(())
}

/// Uses the cache again, empty, if it has been off for long enough; it is read after `pause`.
///
/// # Errors
/// As [`failed`].
pub async fn turn_on(connection: &mut Connection, pause: Duration) -> Result<()> {
    sqlx::query(TURN_ON)
        .bind(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX))
        .execute(connection)
        .await
        .map_err(|error| failed("turning the cache on", error))?;
    Ok(())
}
