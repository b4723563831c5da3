//! Migrates the database to the schema that this build expects. See `migrations/README.md`.

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection, Executor, SqlSafeStr, SqlStr};

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Store, failed};

/// Every migration, in order: version, name and text. A test compares it with the files.
const MIGRATIONS: &[(i64, &str, &str)] =
    &[(1, "initial", include_str!("../../migrations/0001_initial.sql"))];

/// The table in which sqlx records the applied migrations.
const APPLIED: &str = "_sqlx_migrations";

/// Applies what is missing and returns the names of what was applied. Several processes may do
/// this at once: one works, the others wait for it.
///
/// # Errors
/// `Misconfigured` when the database was migrated by a newer build or a migration was edited,
/// `Unavailable` when the database does not answer.
pub async fn migrate(store: &Store) -> Result<Vec<String>> {
    // A migration may take longer than a request is allowed to.
    let mut connection = store.dedicated().await?.into_inner();
    connection
        .execute("set statement_timeout = 0; set lock_timeout = 0")
        .await
        .map_err(|error| failed("preparing to migrate", error))?;
    connection.lock().await.map_err(|error| refused(error, store))?;
    connection
        .execute(create_schema(&store.schema))
        .await
        .map_err(|error| failed("creating the schema", error))?;
    connection.ensure_migrations_table(APPLIED).await.map_err(|error| refused(error, store))?;
    let before = connection
        .list_applied_migrations(APPLIED)
        .await
        .map_err(|error| refused(error, store))?
        .len();
    let migrator = Migrator::with_migrations(migrations());
    // `run` takes anything that gives a connection, in a way that a spawned task cannot use.
    let running = migrator.run_direct(None, &mut connection, false);
    running.await.map_err(|error| refused(error, store))?;
    connection.unlock().await.map_err(|error| refused(error, store))?;
    let applied = MIGRATIONS.iter().skip(before);
    let names = applied.map(|(number, name, _)| format!("{number:04}_{name}")).collect();
    connection.close().await.map_err(|error| failed("closing a connection", error))?;
    Ok(names)
}

/// The migrations that the database lacks, by name. Changes nothing.
///
/// # Errors
/// `Unavailable` when the database does not answer.
pub async fn pending(store: &Store) -> Result<Vec<String>> {
    let mut connection = store.acquire().await?;
    let done: Option<i64> = sqlx::query_scalar("select to_regclass('_sqlx_migrations')::oid::int8")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| failed("looking for the table of applied migrations", error))?;
    let done = match done {
        None => 0,
        Some(_) => connection
            .inner()
            .list_applied_migrations(APPLIED)
            .await
            .map_err(|error| refused(error, store))?
            .len(),
    };
    Ok(MIGRATIONS.iter().skip(done).map(|(n, name, _)| format!("{n:04}_{name}")).collect())
}

fn migrations() -> Vec<Migration> {
    MIGRATIONS
        .iter()
        .map(|(version, name, sql)| {
            let sql = SqlStr::from_static(sql);
            Migration::new(*version, (*name).into(), MigrationType::Simple, sql, false)
        })
        .collect()
}

/// The schema's name is checked by the configuration to be a plain identifier.
fn create_schema(schema: &str) -> impl SqlSafeStr + use<> {
    AssertSqlSafe(format!("create schema if not exists \"{schema}\""))
}

fn refused(error: MigrateError, store: &Store) -> Error {
    let (kind, message) = match &error {
        MigrateError::VersionMissing(version) => (
            ErrorKind::Misconfigured,
            format!(
                "The database at {} has migration {version}, which this build does not know. \
                 Install the newer order-engine that made it.",
                store.address()
            ),
        ),
        MigrateError::VersionMismatch(version) => (
            ErrorKind::Misconfigured,
            format!(
                "Migration {version} in the database at {} differs from this build's. \
                 A migration must not be edited once it was applied.",
                store.address()
            ),
        ),
        _ => (
            ErrorKind::Unavailable,
            format!("The database at {} could not be migrated.", store.address()),
        ),
    };
    Error::new(kind, message).with("component", "postgresql").with_source(error)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::MIGRATIONS;

    #[test]
    fn every_file_is_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "README.md")
            .collect();
        files.sort();
        let listed: Vec<String> = MIGRATIONS
            .iter()
            .map(|(version, name, _)| format!("{version:04}_{name}.sql"))
            .collect();
        assert_eq!(files, listed);
    }
}
