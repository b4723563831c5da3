//! Finds out whether the old tables were changed since they were adopted.

use super::triggers::old_triggers;
use super::{AdoptionSession, ident, refused};
use crate::error::Result;

impl AdoptionSession {
    /// What keeps the sides from being synchronised: changed columns of the old tables, and
    /// triggers that were dropped or disabled. Empty while all is well.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn drift(&mut self, schema: &str) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        self.check_columns(schema, &mut problems).await?;
        let firing: Vec<(String, String)> = sqlx::query_as(
            "select relname::text, tgname::text
             from pg_trigger
             join pg_class on pg_class.oid = tgrelid
             where relnamespace = to_regnamespace($1) and tgenabled in ('O', 'A')",
        )
        .bind(ident(schema))
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| refused("reading the triggers", error))?;
        let is_firing = |table: &str, trigger: &str| {
            firing.iter().any(|(on, name)| on == table && name == trigger)
        };
        problems.extend(old_triggers().filter(|(table, trigger)| !is_firing(table, trigger)).map(
            |(table, trigger)| {
                format!("The trigger {trigger} on {schema}.{table} is missing or disabled.")
            },
        ));
        Ok(problems)
    }
}
