//! The routing rules that operators have set.

use chrono::{DateTime, Utc};
use sqlx::Row;

use crate::domain::routing_rule::{MigrationStage, RoutingRule};
use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// All rules.
    ALL = "
        select operation, stage, percent, users, ignored_fields, updated_at
        from routing_rules order by operation";

    /// Sets one operation's stage, and the users it holds for.
    SET = "
        insert into routing_rules (operation, stage, percent, users) values ($1, $2, $3, $4)
        on conflict (operation) do update
        set stage = excluded.stage, percent = excluded.percent, users = excluded.users,
            updated_at = now()";

    /// Removes the stages of all operations but one.
    UNSET = "
        update routing_rules set stage = null, percent = null, users = '{}', updated_at = now()
        where operation <> $1 and stage is not null";

    /// Sets the response fields of one operation that are not compared.
    IGNORE = "
        insert into routing_rules (operation, ignored_fields) values ($1, $2)
        on conflict (operation) do update
        set ignored_fields = excluded.ignored_fields, updated_at = now()";
}

/// One operation's switch, and since when it is as it is.
#[derive(Debug)]
pub struct StoredRoutingRule {
    /// The operation.
    pub operation: String,
    /// What is set for it.
    pub switch: RoutingRule,
    /// When that was last changed.
    pub updated_at: DateTime<Utc>,
}

/// Reads everything that is set.
///
/// # Errors
/// As [`failed`]; `InvalidInput` for a stage that this build does not know.
pub async fn all(connection: &mut Connection) -> Result<Vec<StoredRoutingRule>> {
    let doing = "reading the switches";
    let rows =
        sqlx::query(ALL).fetch_all(connection).await.map_err(|error| failed(doing, error))?;
    rows.iter()
        .map(|row| {
            let read = || {
                let stage: Option<String> = row.try_get("stage")?;
                let percent: Option<i32> = row.try_get("percent")?;
                let switch = RoutingRule {
                    stage: None,
                    percent: percent.and_then(|percent| u8::try_from(percent).ok()),
                    users: row.try_get("users")?,
                    ignored: row.try_get("ignored_fields")?,
                };
                let updated_at = row.try_get("updated_at")?;
                Ok((
                    stage,
                    StoredRoutingRule { operation: row.try_get("operation")?, switch, updated_at },
                ))
            };
            let (stage, mut setting) = read().map_err(|error| failed(doing, error))?;
            setting.switch.stage = stage.as_deref().map(MigrationStage::parse).transpose()?;
            Ok(setting)
        })
        .collect()
}

/// Sets the stage of one operation, none for that of all, and for whom it holds.
///
/// # Errors
/// As [`failed`].
pub async fn set(
    connection: &mut Connection,
    operation: &str,
    stage: Option<MigrationStage>,
    percent: Option<u8>,
    users: &[String],
) -> Result<()> {
    sqlx::query(SET)
        .bind(operation)
        .bind(stage.map(MigrationStage::as_str))
        .bind(percent.map(i32::from))
        .bind(users)
        .execute(connection)
        .await
        .map_err(|error| failed("setting a switch", error))?;
    Ok(())
}

/// Takes the stage of every operation but `except` away.
///
/// # Errors
/// As [`failed`].
pub async fn unset_others(connection: &mut Connection, except: &str) -> Result<()> {
    sqlx::query(UNSET)
        .bind(except)
        .execute(connection)
        .await
        .map_err(|error| failed("setting the switches", error))?;
    Ok(())
}

/// Sets the fields of one operation's answers that are not compared.
///
/// # Errors
/// As [`failed`].
pub async fn ignore(connection: &mut Connection, operation: &str, fields: &[String]) -> Result<()> {
    sqlx::query(IGNORE)
        .bind(operation)
        .bind(fields)
        .execute(connection)
        .await
        .map_err(|error| failed("setting the fields to ignore", error))?;
    Ok(())
}
