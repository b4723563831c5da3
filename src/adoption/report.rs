//! Counts and sums on both sides, and everything that was found.

use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use super::{Home, Reading, Session, refused};
use crate::error::Result;

const COMPARING: &str = include_str!("comparing.sql");
const DESCRIBING: &str = include_str!("describing.sql");

/// One figure, on both sides.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What is counted or summed.
    pub what: String,
    /// In the old tables, as it stands there.
    pub old: String,
    /// Of that, what breaks a rule and is not the engine's.
    pub not_carried: String,
    /// What rounding to four decimals added.
    pub rounding: String,
    /// What only the engine has. Absent before an adoption.
    pub not_shown: Option<String>,
    /// In the engine's tables. Absent before an adoption.
    pub engine: Option<String>,
    /// Whether each side explains the other.
    pub is_equal: bool,
}

/// Something that breaks a rule of one side, or was rounded.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Which rule.
    pub kind: String,
    /// The row's table; `order_engine` for what the old tables cannot show.
    pub table: String,
    /// The row's number.
    pub id: String,
    /// The value that breaks it.
    pub value: String,
    /// What was done.
    pub outcome: String,
}

/// What an undone adoption leaves to the engine alone.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Waiting {
    /// Messages in the outbox.
    pub messages: i64,
    /// Changes by the older application that were to be announced.
    pub unannounced: i64,
}

impl Session {
    /// Compares both sides at one moment.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn compare(&mut self, reading: &Reading) -> Result<(Vec<Figure>, Vec<Finding>)> {
        self.run("comparing", "begin isolation level repeatable read").await?;
        let figures = self.figures(COMPARING, reading, Home::Engine).await?;
        let rows = sqlx::query(
            "select kind, row_table, row_id, value, outcome from adoption_findings
             order by kind, row_table, length(row_id), row_id",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| refused("reading what was found", error))?;
        self.run("comparing", "commit").await?;
        Ok((figures, rows.iter().map(read_finding).collect::<Result<_>>()?))
    }

    /// Describes the old tables before an adoption, and forgets the rehearsal.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn describe(&mut self, reading: &Reading) -> Result<Vec<Figure>> {
        let figures = self.figures(DESCRIBING, reading, Home::Session).await?;
        self.run("ending the rehearsal", "rollback").await?;
        Ok(figures)
    }

    async fn figures(&mut self, text: &str, reading: &Reading, home: Home) -> Result<Vec<Figure>> {
        let statement = self.fill(text, reading, home);
        sqlx::query(AssertSqlSafe(statement))
            .try_map(|row: PgRow| {
                Ok(Figure {
                    what: row.try_get("what")?,
                    old: row.try_get("old")?,
                    not_carried: row.try_get("not_carried")?,
                    rounding: row.try_get("rounding")?,
                    not_shown: row.try_get("not_shown")?,
                    engine: row.try_get("engine")?,
                    is_equal: row.try_get("is_equal")?,
                })
            })
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| refused("counting and summing", error))
    }

    /// Counts what waits to be sent.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn waiting(&mut self) -> Result<Waiting> {
        let (messages, unannounced) = sqlx::query_as(
            "select (select count(*) from outbox), (select count(*) from legacy_outbox)",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| refused("counting what waits", error))?;
        Ok(Waiting { messages, unannounced })
    }
}

pub(super) fn read_finding(row: &PgRow) -> Result<Finding> {
    let read = |error| refused("reading what was found", error);
    Ok(Finding {
        kind: row.try_get("kind").map_err(read)?,
        table: row.try_get("row_table").map_err(read)?,
        id: row.try_get("row_id").map_err(read)?,
        value: row.try_get("value").map_err(read)?,
        outcome: row.try_get("outcome").map_err(read)?,
    })
}
