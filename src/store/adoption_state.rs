//! What a running engine shows of an adoption; see `src/adoption`.

use crate::error::Result;
use crate::store::statement::statements;
use crate::store::{Connection, failed};

statements! {
    /// The orders of the older application that break a rule and are not imported; no row unless a
    /// database is adopted.
    LEFT_BEHIND = "
        select count(distinct row_id)
        from adoption_findings
        where row_table = 'orders' and outcome = 'not imported'
        having exists (select from adoption where step <> 'undone')";
}

/// The number of the older application's orders that the engine does not have, because they break
/// a rule. None unless a database is adopted.
///
/// # Errors
/// As [`failed`].
pub async fn orders_left_behind(connection: &mut Connection) -> Result<Option<i64>> {
    sqlx::query_scalar(LEFT_BEHIND)
        .fetch_optional(connection)
        .await
        .map_err(|error| failed("counting the orders that were not imported", error))
}
