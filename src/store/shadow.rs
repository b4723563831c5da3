//! The shadow log: counts of compared responses, and the differences.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// Adds to the counts, ordered by operation, so that two processes cannot deadlock.
    COUNT = "
        insert into shadow_counts (operation, matched, differed, unsettled, failed, skipped)
        select * from unnest(
            $1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[]
        ) as new (operation, matched, differed, unsettled, failed, skipped)
        order by operation
        on conflict (operation) do update
        set matched = shadow_counts.matched + excluded.matched,
            differed = shadow_counts.differed + excluded.differed,
            unsettled = shadow_counts.unsettled + excluded.unsettled,
            failed = shadow_counts.failed + excluded.failed,
            skipped = shadow_counts.skipped + excluded.skipped";

    /// Inserts one difference.
    INSERT = "
        insert into shadow_differences (
            operation, requested_at, request, legacy_status, legacy_body, engine_status,
            engine_body, paths
        ) values ($1, $2, $3, $4, $5, $6, $7, $8)";

    /// Deletes all but the newest differences of an operation.
    TRIM = "
        delete from shadow_differences
        where operation = $1 and id <= (
            select id from shadow_differences where operation = $1
            order by id desc offset $2 limit 1
        )";

    /// The counts, of one operation or of all.
    COUNTS = "
        select operation, matched, differed, unsettled, failed, skipped, counted_since
        from shadow_counts where $1::text is null or operation = $1 order by operation";

    /// The newest differences, of one operation or of all, newest first.
    DIFFERENCES = "
        select id, operation, requested_at, request, legacy_status, legacy_body, engine_status,
            engine_body, paths
        from shadow_differences where $1::text is null or operation = $1
        order by id desc limit $2";

    /// Resets the counts.
    CLEAR_COUNTS = "delete from shadow_counts where $1::text is null or operation = $1";

    /// Deletes the differences.
    CLEAR_DIFFERENCES = "delete from shadow_differences where $1::text is null or operation = $1";
}

/// Maximum number of differences stored per operation.
const DIFFERENCES_MAX: i64 = 1000;

/// The number of shadowed requests of an operation, by result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The responses are equal.
    pub matched: i64,
    /// The responses differ.
    pub differed: i64,
    /// The responses differ, but the data may have changed between them.
    pub unsettled: i64,
    /// The dry run failed.
    pub failed: i64,
    /// Not run, or nothing to compare with.
    pub skipped: i64,
}

impl Counts {
    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        self.matched += other.matched;
        self.differed += other.differed;
        self.unsettled += other.unsettled;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// A request whose two responses differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The operation.
    pub operation: String,
    /// When the request was received.
    pub at: DateTime<Utc>,
    /// The request, without headers.
    pub request: String,
    /// Status and body of the old code's response.
    pub legacy: (u16, String),
    /// Status and body of the engine's response.
    pub engine: (u16, String),
    /// Where they differ.
    pub paths: Vec<String>,
}

/// An operation, its counts, and when counting began.
pub type Since = (String, Counts, DateTime<Utc>);

/// Adds to the counts of each operation, in the order of their names.
///
/// # Errors
/// As [`failed`].
pub async fn count(connection: &mut Connection, counts: &[(String, Counts)]) -> Result<()> {
    let column = |of: fn(&Counts) -> i64| counts.iter().map(|(_, one)| of(one)).collect::<Vec<_>>();
    let operations: Vec<_> = counts.iter().map(|(operation, _)| operation.as_str()).collect();
    sqlx::query(COUNT)
        .bind(operations)
        .bind(column(|one| one.matched))
        .bind(column(|one| one.differed))
        .bind(column(|one| one.unsettled))
        .bind(column(|one| one.failed))
        .bind(column(|one| one.skipped))
        .execute(connection)
        .await
        .map_err(|error| failed("counting shadowed requests", error))?;
    Ok(())
}

/// Inserts a difference, and deletes the operation's oldest beyond the maximum.
///
/// # Errors
/// As [`failed`].
pub async fn keep(connection: &mut Connection, difference: &Difference) -> Result<()> {
    let doing = "storing a difference";
    sqlx::query(INSERT)
        .bind(&difference.operation)
        .bind(difference.at)
        .bind(&difference.request)
        .bind(i32::from(difference.legacy.0))
        .bind(&difference.legacy.1)
        .bind(i32::from(difference.engine.0))
        .bind(&difference.engine.1)
        .bind(&difference.paths)
        .execute(&mut *connection)
        .await
        .map_err(|error| failed(doing, error))?;
    sqlx::query(TRIM)
        .bind(&difference.operation)
        .bind(DIFFERENCES_MAX)
        .execute(connection)
        .await
        .map_err(|error| failed(doing, error))?;
    Ok(())
}

/// The counts of one operation or of all.
///
/// # Errors
/// As [`failed`].
pub async fn counts(connection: &mut Connection, operation: Option<&str>) -> Result<Vec<Since>> {
    let read = |row: &PgRow| {
        let counts = Counts {
            matched: row.try_get("matched")?,
            differed: row.try_get("differed")?,
            unsettled: row.try_get("unsettled")?,
            failed: row.try_get("failed")?,
            skipped: row.try_get("skipped")?,
        };
        Ok((row.try_get("operation")?, counts, row.try_get("counted_since")?))
    };
    let rows = sqlx::query(COUNTS).bind(operation).fetch_all(connection).await;
    rows.and_then(|rows| rows.iter().map(read).collect())
        .map_err(|error| failed("reading the counts of shadowed requests", error))
}

/// The newest differences of one operation or of all, newest first, with their numbers.
///
/// # Errors
/// As [`failed`].
pub async fn differences(
    connection: &mut Connection,
    operation: Option<&str>,
    limit: u32,
) -> Result<Vec<(i64, Difference)>> {
    let status = |row: &PgRow, column| {
        let status: i32 = row.try_get(column)?;
        Ok::<_, sqlx::Error>(u16::try_from(status).unwrap_or_default())
    };
    let read = |row: &PgRow| {
        let difference = Difference {
            operation: row.try_get("operation")?,
            at: row.try_get("requested_at")?,
            request: row.try_get("request")?,
            legacy: (status(row, "legacy_status")?, row.try_get("legacy_body")?),
            engine: (status(row, "engine_status")?, row.try_get("engine_body")?),
            paths: row.try_get("paths")?,
        };
        Ok((row.try_get("id")?, difference))
    };
    let query = sqlx::query(DIFFERENCES).bind(operation).bind(i64::from(limit));
    let rows = query.fetch_all(connection).await;
    rows.and_then(|rows| rows.iter().map(read).collect())
        .map_err(|error| failed("reading differences", error))
}

/// Deletes counts and differences, of one operation or of all, and returns how many differences.
///
/// # Errors
/// As [`failed`].
pub async fn clear(connection: &mut Connection, operation: Option<&str>) -> Result<u64> {
    let mut deleted = 0;
    for statement in [CLEAR_COUNTS, CLEAR_DIFFERENCES] {
        let done = sqlx::query(statement).bind(operation).execute(&mut *connection).await;
        deleted = done.map_err(|error| failed("clearing the shadow log", error))?.rows_affected();
    }
    Ok(deleted)
}
