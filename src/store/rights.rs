//! The rights of the engine's role in the database.

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Connection, Store, failed};

/// The statements that grant what the role lacks. Roles that own the tables have every right.
const MISSING: &str = "
    with engine as (select oid from pg_namespace where nspname = $1),
    kept as (
        select c.oid, c.relname, c.relkind from pg_class c, engine where c.relnamespace = engine.oid
    )
    select format('create schema %I authorization %I', $1, current_user)
    where not exists (select from engine)
    and not has_database_privilege(current_database(), 'CREATE')
    union all
    select format('grant usage on schema %I to %I', $1, current_user)
    from engine where not has_schema_privilege(oid, 'USAGE')
    union all
    select format('grant create on schema %I to %I', $1, current_user)
    from engine where not has_schema_privilege(oid, 'CREATE')
    and not exists (select from kept where relname = '_sqlx_migrations')
    union all
    select format(
        'grant select, insert, update, delete on all tables in schema %I to %I', $1, current_user
    )
    where exists (
        select from kept where relkind in ('r', 'p') and not (
            has_table_privilege(oid, 'SELECT') and (
                relname = '_sqlx_migrations' or (
                    has_table_privilege(oid, 'INSERT') and has_table_privilege(oid, 'UPDATE')
                    and has_table_privilege(oid, 'DELETE')
                )
            )
        )
    )
    union all
    select format('grant usage, select on all sequences in schema %I to %I', $1, current_user)
    where exists (
        select from kept where case when relkind = 'S'
        then not (has_sequence_privilege(oid, 'USAGE') and has_sequence_privilege(oid, 'SELECT'))
        else false end
    )
    union all
    select format('grant execute on all functions in schema %I to %I', $1, current_user)
    where exists (
        select from pg_proc p, engine
        where p.pronamespace = engine.oid and not has_function_privilege(p.oid, 'EXECUTE')
    )";

/// The statements, to be run by the owner, that grant the role what serving needs.
///
/// # Errors
/// As [`failed`].
pub async fn missing(connection: &mut Connection, schema: &str) -> Result<Vec<String>> {
    sqlx::query_scalar(MISSING)
        .bind(schema)
        .fetch_all(connection)
        .await
        .map_err(|error| failed("reading the rights of the role", error))
}

/// Checks that the role may do what serving needs.
///
/// # Errors
/// `Misconfigured` that names what to grant.
pub async fn check(connection: &mut Connection, store: &Store) -> Result<()> {
    let missing = missing(connection, store.schema()).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let text = format!("The role lacks rights in the database at {}.", store.address());
    let advice = format!("Run as the owner of the database: {};", missing.join("; "));
    Err(Error::new(ErrorKind::Misconfigured, text)
        .with_advice(&advice)
        .with("component", "postgresql"))
}
