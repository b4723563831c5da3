//! Brings the database to the shape that this build expects.

use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, Connection, Executor, SqlSafeStr, SqlStr};

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Store, failed};

/// Every migration, in order: number, name and text. A new file is one more line here.
const MIGRATIONS: [(i64, &str, &str); 10] = [
    (1, "orders", include_str!("../../migrations/0001_orders.sql")),
    (2, "messages", include_str!("../../migrations/0002_messages.sql")),
    (3, "adoption", include_str!("../../migrations/0003_adoption.sql")),
    (4, "strangler", include_str!("../../migrations/0004_strangler.sql")),
    (5, "replay", include_str!("../../migrations/0005_replay.sql")),
    (6, "transports", include_str!("../../migrations/0006_transports.sql")),
    (7, "stock_keys", include_str!("../../migrations/0007_stock_keys.sql")),
    (8, "upstream", include_str!("../../migrations/0008_upstream.sql")),
    (9, "cache", include_str!("../../migrations/0009_cache.sql")),
    (10, "user_lists", include_str!("../../migrations/0010_user_lists.sql")),
];

/// The table in which sqlx notes what was applied.
const LEDGER: &str = "_sqlx_migrations";

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
    connection.ensure_migrations_table(LEDGER).await.map_err(|error| refused(error, store))?;
    let before = connection
        .list_applied_migrations(LEDGER)
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
        .map_err(|error| failed("looking for the ledger of migrations", error))?;
    let done = match done {
        None => 0,
        Some(_) => connection
            .inner()
            .list_applied_migrations(LEDGER)
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
    Error::new(kind, message).with("component", "postgresql").because(error)
}
