//! Compares both sides: counts, sums, and the rows that break a rule.

use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use super::{AdoptionSession, Home, Interpretation, refused};
use crate::error::Result;

const COMPARE: &str = include_str!("sql/compare.sql");
const DESCRIBE: &str = include_str!("sql/describe.sql");

/// One count or sum, on both sides.
#[derive(Clone, Debug, Serialize)]
pub struct CountComparison {
    /// What is counted or summed.
    pub what: String,
    /// In the old tables, unconverted.
    pub old: String,
    /// Of that, what breaks a rule and is not imported.
    pub not_imported: String,
    /// The difference made by rounding to four decimals.
    pub rounding: String,
    /// What only the engine has, because the old tables cannot represent it. Absent before an
    /// adoption.
    pub engine_only: Option<String>,
    /// In the engine's tables. Absent before an adoption.
    pub engine: Option<String>,
    /// Whether `old - not_imported + rounding + engine_only` is `engine` and no row differs.
    pub is_equal: bool,
}

/// A row that breaks a rule of one side, or was rounded.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The rule.
    pub kind: String,
    /// The row's table; `order_engine` for what the old tables cannot represent.
    pub table: String,
    /// The row's id.
    pub id: String,
    /// The value that breaks it.
    pub value: String,
    /// What was done.
    pub outcome: String,
}

/// What waits to be published once an adoption is undone.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PendingPublications {
    /// Messages in the outbox.
    pub messages: i64,
    /// Changes by the older application that the engine has not published.
    pub unpublished_changes: i64,
}

impl AdoptionSession {
    /// Compares both sides in one snapshot.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn compare(
        &mut self,
        interpretation: &Interpretation,
    ) -> Result<(Vec<CountComparison>, Vec<Finding>)> {
        self.run("comparing", "begin isolation level repeatable read").await?;
        let compared = self.compare_now(interpretation).await;
        let end = if compared.is_ok() { "commit" } else { "rollback" };
        self.run("comparing", end).await?;
        compared
    }

    async fn compare_now(
        &mut self,
        interpretation: &Interpretation,
    ) -> Result<(Vec<CountComparison>, Vec<Finding>)> {
        let figures = self.figures(COMPARE, interpretation, Home::Engine).await?;
        let rows = sqlx::query(
            "select kind, row_table, row_id, value, outcome from adoption_findings
             order by kind, row_table, length(row_id), row_id",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| refused("reading findings", error))?;
        Ok((figures, rows.iter().map(read_finding).collect::<Result<_>>()?))
    }

    /// Counts and sums the old tables, and ends the dry run.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn describe(
        &mut self,
        interpretation: &Interpretation,
    ) -> Result<Vec<CountComparison>> {
        let figures = self.figures(DESCRIBE, interpretation, Home::Session).await?;
        self.run("ending the dry run", "rollback").await?;
        Ok(figures)
    }

    async fn figures(
        &mut self,
        text: &str,
        interpretation: &Interpretation,
        home: Home,
    ) -> Result<Vec<CountComparison>> {
        let statement = self.fill(text, interpretation, home);
        sqlx::query(AssertSqlSafe(statement))
            .try_map(|row: PgRow| {
                Ok(CountComparison {
                    what: row.try_get("what")?,
                    old: row.try_get("old")?,
                    not_imported: row.try_get("not_imported")?,
                    rounding: row.try_get("rounding")?,
                    engine_only: row.try_get("engine_only")?,
                    engine: row.try_get("engine")?,
                    is_equal: row.try_get("is_equal")?,
                })
            })
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| refused("counting and summing", error))
    }

    /// Counts what waits to be published.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn waiting(&mut self) -> Result<PendingPublications> {
        let (messages, unpublished_changes) = sqlx::query_as(
            "select (select count(*) from outbox), (select count(*) from legacy_outbox)",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| refused("counting waiting messages", error))?;
        Ok(PendingPublications { messages, unpublished_changes })
    }
}

pub(super) fn read_finding(row: &PgRow) -> Result<Finding> {
    let read = |error| refused("reading findings", error);
    Ok(Finding {
        kind: row.try_get("kind").map_err(read)?,
        table: row.try_get("row_table").map_err(read)?,
        id: row.try_get("row_id").map_err(read)?,
        value: row.try_get("value").map_err(read)?,
        outcome: row.try_get("outcome").map_err(read)?,
    })
}
