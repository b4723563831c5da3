//! Empties the tables of a test database.

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Connection, failed};

/// The `cluster_name` of a server whose databases may be emptied.
pub const TEST_CLUSTER_NAME: &str = "order-engine-testing";

/// Empties every table that has rows, except the list of migrations and tables whose one row the
/// schema creates, and restarts the sequences. Truncating a table takes longer than finding it
/// empty.
const RESET: &str = "
    do $$
    declare
        name text;
        has_rows boolean;
    begin
        for name in
            select format('%I.%I', schemaname, tablename) from pg_tables
            where schemaname = current_schema()
              and tablename not in ('_sqlx_migrations', 'cache_state')
        loop
            execute format('select exists (select from %s)', name) into has_rows;
            if has_rows then
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
