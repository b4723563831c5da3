//! Migrates the database to the schema that this build expects. See `migrations/README.md`.

use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgDatabaseError;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr, SqlStr};

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Store, failed, rights};

/// Every migration, in order: version, name and text. A test compares it with the files.
const MIGRATIONS: &[(i64, &str, &str)] =
    &[(1, "initial", include_str!("../../migrations/0001_initial.sql"))];

/// The table in which sqlx records the applied migrations.
const APPLIED: &str = "_sqlx_migrations";

/// Applies what is missing and returns the names of what was applied. Several processes may do
/// this at once: one works, the others wait for it. A database that lacks nothing is only read.
///
/// # Errors
/// `Misconfigured` when the database was migrated by a newer build, a migration was edited or
/// fails, or the role lacks a right; `Unavailable` when the database does not answer.
pub async fn migrate(store: &Store) -> Result<Vec<String>> {
    // A migration may take longer than a request is allowed to.
    let mut connection = store.dedicated().await?;
    rights::check(&mut connection, store).await?;
    let mut connection = connection.into_inner();
    connection
        .execute("set statement_timeout = 0; set lock_timeout = 0")
        .await
        .map_err(|error| failed("preparing to migrate", error))?;
    connection.lock().await.map_err(|error| refused(error, store))?;
    let missing = missing(&mut connection, store).await?;
    if !missing.is_empty() {
        apply(&mut connection, store).await?;
    }
    connection.unlock().await.map_err(|error| refused(error, store))?;
    connection.close().await.map_err(|error| failed("closing a connection", error))?;
    Ok(missing)
}

async fn apply(connection: &mut PgConnection, store: &Store) -> Result<()> {
    let has_schema: bool =
        sqlx::query_scalar("select exists (select from pg_namespace where nspname = $1)")
            .bind(store.schema())
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| failed("looking for the schema", error))?;
    if !has_schema {
        connection
            .execute(create_schema(&store.schema))
            .await
            .map_err(|error| failed("creating the schema", error))?;
    }
    connection.ensure_migrations_table(APPLIED).await.map_err(|error| refused(error, store))?;
    let migrator = Migrator::with_migrations(migrations());
    // `run` takes anything that gives a connection, in a way that a spawned task cannot use.
    let running = migrator.run_direct(None, connection, false);
    running.await.map_err(|error| refused(error, store))
}

/// The migrations that the database lacks, by name. Changes nothing.
///
/// # Errors
/// `Misconfigured` when the database was migrated by a newer build, or a migration was edited;
/// `Unavailable` when the database does not answer.
pub async fn pending(store: &Store) -> Result<Vec<String>> {
    let mut connection = store.acquire().await?;
    missing(connection.inner(), store).await
}

async fn missing(connection: &mut PgConnection, store: &Store) -> Result<Vec<String>> {
    let is_migrated: bool = sqlx::query_scalar(
        "select exists (
            select from pg_class c join pg_namespace n on n.oid = c.relnamespace
            where n.nspname = $1 and c.relname = $2
        )",
    )
    .bind(store.schema())
    .bind(APPLIED)
    .fetch_one(&mut *connection)
    .await
    .map_err(|error| failed("looking for the table of applied migrations", error))?;
    let applied = match is_migrated {
        false => Vec::new(),
        true => connection
            .list_applied_migrations(APPLIED)
            .await
            .map_err(|error| refused(error, store))?,
    };
    check_applied(&applied).map_err(|error| refused(error, store))?;
    let missing = MIGRATIONS.iter().skip(applied.len());
    Ok(missing.map(|(number, name, _)| format!("{number:04}_{name}")).collect())
}

/// Checks that this build knows each applied migration, with the same text.
fn check_applied(applied: &[AppliedMigration]) -> std::result::Result<(), MigrateError> {
    let known = migrations();
    for applied in applied {
        match known.iter().find(|migration| migration.version == applied.version) {
            None => return Err(MigrateError::VersionMissing(applied.version)),
            Some(migration) if migration.checksum != applied.checksum => {
                return Err(MigrateError::VersionMismatch(applied.version));
            }
            Some(_) => {}
        }
    }
    Ok(())
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
    let (kind, message) = match error {
        MigrateError::Execute(error) => return failed("preparing to migrate", error),
        MigrateError::ExecuteMigration(error, version) => {
            return failed_migration(version, error, store);
        }
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
            format!("The database at {} could not be migrated: {error}", store.address()),
        ),
    };
    Error::new(kind, message).with("component", "postgresql").with_source(error)
}

/// The error of a migration that PostgreSQL refuses, in its own words.
fn failed_migration(version: i64, error: sqlx::Error, store: &Store) -> Error {
    let name = MIGRATIONS.iter().find(|(number, ..)| *number == version);
    let name = name.map_or("unknown", |(_, name, _)| *name);
    let refusal = error.as_database_error().and_then(|refusal| refusal.try_downcast_ref());
    let words = match refusal {
        Some(refusal) => words(refusal),
        None => error.to_string(),
    };
    // No disk space, no memory, a lost connection: those pass. Otherwise somebody has to act.
    let state = refusal.map(PgDatabaseError::code);
    let passes = state.is_none_or(|state| ["53", "57", "08"].contains(&&state[..2]));
    let kind = if passes { ErrorKind::Unavailable } else { ErrorKind::Misconfigured };
    let text = format!(
        "Migration {version:04}_{name} failed in schema {} of the database at {}: {words}. \
         Nothing of it was applied.",
        store.schema(),
        store.address()
    );
    Error::new(kind, text).with("component", "postgresql").with_source(error)
}

/// PostgreSQL's message with its detail and SQLSTATE.
fn words(refusal: &PgDatabaseError) -> String {
    let detail = refusal.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("{}{detail}, SQLSTATE {}", refusal.message(), refusal.code())
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
