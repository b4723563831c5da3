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

    /// How many triggers on the older application's tables were dropped or disabled since, and how
    /// many writes of either side could not be mirrored, apart from rows that the older tables can
    /// never represent. No row unless a database is adopted.
    DRIFT = r"
        select greatest(old_triggers - (
                   select count(*) from pg_trigger join pg_class on pg_class.oid = tgrelid
                   where relnamespace = to_regnamespace(quote_ident(old_schema))
                     and tgname like 'order\_engine\_%' and tgenabled in ('O', 'A')
               ), 0),
               (
                   select count(*) from adoption_findings
                   where kind in ('error', 'change')
                      or row_table = 'order_engine' and value <> 'the id is not a 32-bit integer'
               )
        from adoption
        where step = 'live'";
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

/// What keeps an adopted database from being synchronised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdoptionDrift {
    /// Triggers on the older application's tables that were dropped or disabled.
    pub missing_triggers: i64,
    /// Writes of either side that could not be mirrored.
    pub failed_writes: i64,
}

impl AdoptionDrift {
    /// Whether nothing does.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.missing_triggers == 0 && self.failed_writes == 0
    }
}

/// What keeps the sides from being synchronised. None unless a database is adopted.
///
/// # Errors
/// As [`failed`].
pub async fn drift(connection: &mut Connection) -> Result<Option<AdoptionDrift>> {
    let counts: Option<(i64, i64)> = sqlx::query_as(DRIFT)
        .fetch_optional(connection)
        .await
        .map_err(|error| failed("checking the triggers of an adoption", error))?;
    Ok(counts
        .map(|(missing_triggers, failed_writes)| AdoptionDrift { missing_triggers, failed_writes }))
}
