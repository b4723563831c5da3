//! Empties the tables of a test database.

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Connection, failed};

/// The `cluster_name` of a server whose databases may be emptied.
pub const TEST_CLUSTER_NAME: &str = "order-engine-testing";

/// Empties every table, except the list of migrations and tables whose one row the schema creates,
/// and restarts the sequences. Deleting a few rows is much faster than truncating, which replaces
/// the files of the table and its indexes. As a replica, the session runs no triggers and does not
/// check foreign keys.
const RESET: &str = "
    do $$
    declare
        name regclass;
    begin
        perform set_config('session_replication_role', 'replica', true);
        for name in
            select format('%I.%I', schemaname, tablename)::regclass from pg_tables
            where schemaname = current_schema()
              and tablename not in ('_sqlx_migrations', 'cache_state')
        loop
            if pg_relation_size(name) < 1024 * 1024 then
                execute format('delete from %s', name);
            else
                execute format('truncate %s cascade', name);
            end if;
        end loop;
        perform setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
        from pg_sequences
        where schemaname = current_schema() and last_value is not null;
    end $$";

/// Deletes all orders, products, users and messages, and starts their numbers again at 1.
///
/// # Errors
/// `Forbidden` unless the server's `cluster_name` is [`TEST_CLUSTER_NAME`]; `Unavailable`.
pub async fn reset(connection: &mut Connection) -> Result<()> {
    let cluster: String = sqlx::query_scalar("select current_setting('cluster_name')")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| failed("reading cluster_name", error))?;
    if cluster != TEST_CLUSTER_NAME {
        return Err(Error::new(
            ErrorKind::Forbidden,
            format!(
                "Only a test database is emptied: the server's cluster_name must be \
                 {TEST_CLUSTER_NAME:?}, not {cluster:?}."
            ),
        ));
    }
    sqlx::raw_sql(RESET)
        .execute(&mut *connection)
        .await
        .map(drop)
        .map_err(|error| failed("emptying the tables", error))
}
