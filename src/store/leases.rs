//! Leases: locks that expire, with fencing tokens.
//!
//! Expiry is measured by the database's clock, so the processes' clocks do not matter. After that
//! clock was set back, a lease that would last longer than any new one counts as expired. The token
//! grows with every change of the owner: a process that stalls beyond its lease carries an older
//! token, and its writes are rejected.

use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

/// Lifetime of a lease that is not renewed.
pub const LEASE: Duration = Duration::from_secs(30);
/// A lease that ends later than this was written before the database's clock was set back. It
/// counts as expired: the owner may have ended.
pub const LEASE_MAX: Duration = Duration::from_secs(35);
/// Interval at which an owner renews its leases.
pub const RENEWAL: Duration = Duration::from_secs(10);

statements! {
    /// Takes up to $4 of the named leases that no other owner holds.
    CLAIM = "
        insert into leases as held (name, owner, token, expires_at)
        select wanted.name, $2, 1, clock_timestamp() + make_interval(secs => $3)
        from unnest($1::text[]) as wanted (name)
        left join leases known on known.name = wanted.name
        where known.name is null or known.owner = $2 or known.expires_at <= clock_timestamp()
           or known.expires_at > clock_timestamp() + make_interval(secs => $5)
        order by wanted.name
        limit $4
        on conflict (name) do update
        set owner = excluded.owner, token = held.token + 1, expires_at = excluded.expires_at
        where held.owner = excluded.owner or held.expires_at <= clock_timestamp()
           or held.expires_at > clock_timestamp() + make_interval(secs => $5)
        returning name, owner, token";

    /// Renews the leases that still have the same owner, expired or not.
    RENEW = "
        update leases
        set expires_at = clock_timestamp() + make_interval(secs => $4)
        from unnest($1::text[], $2::bigint[]) as mine (name, token)
        where leases.name = mine.name and leases.token = mine.token and leases.owner = $3
        returning leases.name, leases.owner, leases.token";

    /// Expires leases. The rows stay, so that the tokens keep growing.
    RELEASE = "
        update leases
        set expires_at = clock_timestamp()
        from unnest($1::text[], $2::bigint[]) as mine (name, token)
        where leases.name = mine.name and leases.token = mine.token and leases.owner = $3";

    /// Whether a lease still has the same owner. The lock keeps it so until the transaction ends.
    CONFIRM = "
        select true from leases where name = $1 and token = $2 and owner = $3 for share";

    /// The number of unexpired leases with a prefix.
    COUNT = "
        select count(*) from leases
        where starts_with(name, $1) and expires_at > clock_timestamp()
          and expires_at <= clock_timestamp() + make_interval(secs => $2)";

    /// Deletes leases with a prefix that expired long ago.
    DELETE_EXPIRED = "
        delete from leases
        where starts_with(name, $1) and expires_at < clock_timestamp() - interval '1 day'";
}

/// A lease that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name: what it locks.
    pub name: String,
    /// The owner.
    pub owner: Uuid,
    /// The fencing token, greater than that of every earlier owner.
    pub token: i64,
}

/// Takes up to `limit` of the leases `names` that no other owner holds, and returns them.
///
/// # Errors
/// As [`failed`].
pub async fn claim(
    connection: &mut Connection,
    owner: Uuid,
    names: &[String],
    limit: usize,
) -> Result<Vec<Lease>> {
    sqlx::query(CLAIM)
        .bind(names)
        .bind(owner)
        .bind(LEASE.as_secs_f64())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(LEASE_MAX.as_secs_f64())
        .try_map(|row| read(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("claiming leases", error))
}

/// Renews `leases`, all of one owner, and returns those that it still owns.
///
/// # Errors
/// As [`failed`].
pub async fn renew(connection: &mut Connection, leases: &[Lease]) -> Result<Vec<Lease>> {
    let Some(first) = leases.first() else {
        return Ok(Vec::new());
    };
    let (names, tokens) = columns(leases);
    sqlx::query(RENEW)
        .bind(names)
        .bind(tokens)
        .bind(first.owner)
        .bind(LEASE.as_secs_f64())
        .try_map(|row| read(&row))
        .fetch_all(connection)
        .await
        .map_err(|error| failed("renewing leases", error))
}

/// Expires `leases`, all of one owner, so that others can take them.
///
/// # Errors
/// As [`failed`].
pub async fn release(connection: &mut Connection, leases: &[Lease]) -> Result<()> {
    let Some(first) = leases.first() else {
        return Ok(());
    };
    let (names, tokens) = columns(leases);
    sqlx::query(RELEASE)
        .bind(names)
        .bind(tokens)
        .bind(first.owner)
        .execute(connection)
        .await
        .map_err(|error| failed("releasing leases", error))?;
    Ok(())
}

/// Whether `lease` still has its owner. The owner cannot change before the transaction ends.
///
/// # Errors
/// As [`failed`].
pub async fn confirm(connection: &mut Connection, lease: &Lease) -> Result<bool> {
    let held: Option<bool> = sqlx::query_scalar(CONFIRM)
        .bind(&lease.name)
        .bind(lease.token)
        .bind(lease.owner)
        .fetch_optional(connection)
        .await
        .map_err(|error| failed("confirming a lease", error))?;
    Ok(held.is_some())
}

/// Counts the unexpired leases whose name starts with `prefix`, and deletes those that expired more
/// than a day ago.
///
/// # Errors
/// As [`failed`].
pub async fn count(connection: &mut Connection, prefix: &str) -> Result<usize> {
    sqlx::query(DELETE_EXPIRED)
        .bind(prefix)
        .execute(&mut *connection)
        .await
        .map_err(|error| failed("deleting expired leases", error))?;
    let held: i64 = sqlx::query_scalar(COUNT)
        .bind(prefix)
        .bind(LEASE_MAX.as_secs_f64())
        .fetch_one(connection)
        .await
        .map_err(|error| failed("counting leases", error))?;
    Ok(usize::try_from(held).unwrap_or(0))
}

fn columns(leases: &[Lease]) -> (Vec<&str>, Vec<i64>) {
    leases.iter().map(|lease| (lease.name.as_str(), lease.token)).unzip()
}

fn read(row: &PgRow) -> std::result::Result<Lease, sqlx::Error> {
    Ok(Lease {
        name: row.try_get("name")?,
        owner: row.try_get("owner")?,
        token: row.try_get("token")?,
    })
}
