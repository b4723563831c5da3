//! Creates and drops what keeps both sides in step: functions, triggers, and shared sequences.

use super::{AdoptionSession, Home, Interpretation, OldTables, ident, literal, refused};
use crate::error::Result;

const CONVERSION: &str = include_str!("sql/conversion.sql");
const IMPORT: &str = include_str!("sql/import.sql");
const OLD_TABLE_TRIGGERS: &str = include_str!("sql/old_table_triggers.sql");
const ENGINE_TRIGGERS: &str = include_str!("sql/engine_triggers.sql");
const BEGIN: &str = include_str!("sql/begin.sql");
const END: &str = include_str!("sql/end.sql");

/// A statement trigger: name, event and function.
type Trigger = (&'static str, &'static str, &'static str);

/// Triggers on the old tables. Catalog and users come first, because orders are imported with their
/// help; items come before orders, so that no new order's items are missed.
const ON_OLD: [(&str, &[Trigger]); 4] = [
    (
        "product_catalog",
        &[
            ("insert", "insert", "old_products_written"),
            ("update", "update", "old_products_written"),
            ("delete", "delete", "old_products_deleted"),
            ("truncate", "truncate", "old_products_deleted"),
        ],
    ),
    (
        "order_user",
        &[
            ("insert", "insert", "old_users_written"),
            ("update", "update", "old_users_written"),
            ("delete", "delete", "old_users_deleted"),
            ("truncate", "truncate", "old_users_deleted"),
        ],
    ),
    (
        "order_items",
        &[
            ("insert", "insert", "old_items_inserted"),
            ("update", "update", "old_items_changed"),
            ("delete", "delete", "old_items_changed"),
        ],
    ),
    (
        "orders",
        &[
            ("insert", "insert", "old_orders_written"),
            ("update", "update", "old_orders_written"),
            ("delete", "delete", "old_orders_deleted"),
            ("truncate", "truncate", "old_orders_deleted"),
        ],
    ),
];

/// Triggers on the engine's tables.
const ON_ENGINE: [(&str, &[Trigger]); 4] = [
    ("order_lines", &[("insert", "insert", "mirror_lines")]),
    ("orders", &[("update", "update", "mirror_orders")]),
    (
        "products",
        &[("insert", "insert", "mirror_products"), ("update", "update", "mirror_products")],
    ),
    ("users", &[("insert", "insert", "mirror_users"), ("update", "update", "mirror_users")]),
];

impl AdoptionSession {
    /// Begins or resumes an adoption: creates the functions, lets both sides draw ids from the same
    /// sequences, and creates the triggers that mirror the engine's writes to the old tables.
    ///
    /// # Errors
    /// `Misconfigured` when the engine has orders that the old tables do not, `Unavailable` when
    /// a lock cannot be had; as [`super::refused`].
    pub async fn begin(
        &mut self,
        interpretation: &Interpretation,
        old: &OldTables,
        announce: bool,
    ) -> Result<()> {
        let functions = [CONVERSION, IMPORT, OLD_TABLE_TRIGGERS, ENGINE_TRIGGERS].concat();
        let functions = self.fill(&functions, interpretation, Home::Engine);
        self.run_patiently("creating functions", &functions).await?;
        let announce = if announce { "true" } else { "false" };
        let mut script =
            self.fill_sequences(BEGIN, interpretation, old).replace(":announce", announce);
        for (table, triggers) in ON_ENGINE {
            let table = format!("{}.{}", ident(&self.schema), ident(table));
            script.extend(triggers.iter().map(|trigger| self.trigger(&table, trigger)));
        }
        self.run_patiently("beginning the adoption", &script).await
    }

    /// Creates the triggers on the old tables, one table after the other, so that no two are locked
    /// at once.
    ///
    /// # Errors
    /// `Unavailable` when a lock cannot be had; as [`super::refused`].
    pub async fn create_old_triggers(&mut self, old: &OldTables) -> Result<()> {
        for (table, triggers) in ON_OLD {
            let name = format!("{}.{}", ident(&old.schema), ident(table));
            let mut script: Vec<_> =
                triggers.iter().map(|trigger| self.trigger(&name, trigger)).collect();
            if table == "product_catalog" {
                script.push(format!(
                    "create or replace trigger order_engine_stock before insert or update on {name}
                     for each row when ({NOT_MIRRORED}) execute function {}.old_stock_written();",
                    ident(&self.schema)
                ));
            }
            self.run_patiently("creating triggers on the old tables", &script.concat()).await?;
        }
        Ok(())
    }

    /// Ends an adoption: drops the triggers and lets the engine draw ids from its own sequences
    /// again.
    ///
    /// # Errors
    /// As [`AdoptionSession::create_old_triggers`].
    pub async fn end(&mut self, interpretation: &Interpretation, old: &OldTables) -> Result<()> {
        for (table, trigger) in self.foreign_triggers().await? {
            let script = format!("drop trigger if exists {trigger} on {table}");
            self.run_patiently("dropping triggers", &script).await?;
        }
        let mut script = self.fill_sequences(END, interpretation, old);
        for (table, triggers) in ON_ENGINE {
            let table = format!("{}.{}", ident(&self.schema), ident(table));
            script.extend(triggers.iter().map(|(name, _, _)| drop_trigger(&table, name)));
        }
        self.run_patiently("ending the adoption", &script).await
    }

    /// The triggers on other tables that call functions of the engine's schema, quoted: also those
    /// on tables that were renamed or moved since. Catalog first, as in [`ON_OLD`].
    async fn foreign_triggers(&mut self) -> Result<Vec<(String, String)>> {
        sqlx::query_as(
            "select tgrelid::regclass::text, quote_ident(tgname)
             from pg_trigger
             join pg_proc on pg_proc.oid = tgfoid
             join pg_class on pg_class.oid = tgrelid
             where pronamespace = to_regnamespace($1) and relnamespace <> pronamespace
               and not tgisinternal
             order by array_position(
                 '{product_catalog,order_user,order_items,orders}', relname::text
             ), tgname",
        )
        .bind(ident(&self.schema))
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| refused("looking for the engine's triggers", error))
    }

    /// Begins a dry run: opens a snapshot and creates the checking functions for this session only.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn begin_dry_run(&mut self, interpretation: &Interpretation) -> Result<()> {
        let script = self.fill(
            "begin isolation level repeatable read;
             create temp table catalog on commit drop as
             select distinct on (c.product_id) c.product_id::text as product_id, c.name,
                    case when c.price >= 0 and c.price < 1e15
                        then round(c.price::text::numeric, 4) end as price
             from :\"old\".product_catalog c order by c.product_id, c.id;",
            interpretation,
            Home::Session,
        );
        let functions = self.fill(CONVERSION, interpretation, Home::Session);
        self.run_patiently("beginning the dry run", &(script + &functions)).await
    }

    fn fill_sequences(
        &self,
        text: &str,
        interpretation: &Interpretation,
        old: &OldTables,
    ) -> String {
        let own = |sequence| literal(&format!("{}.{sequence}", ident(&self.schema)));
        self.fill(text, interpretation, Home::Engine)
            .replace(":'order_ids'", &literal(&old.order_ids))
            .replace(":'item_ids'", &literal(&old.item_ids))
            .replace(":'engine_order_ids'", &own("order_ids"))
            .replace(":'engine_line_ids'", &own("order_line_ids"))
            .replace(":'old_name'", &literal(&old.schema))
            .replace(":'engine_name'", &literal(&self.schema))
    }

    fn trigger(&self, table: &str, (name, event, function): &Trigger) -> String {
        let rows = match *event {
            "insert" => "referencing new table as new_rows",
            "update" => "referencing old table as old_rows new table as new_rows",
            "delete" => "referencing old table as old_rows",
            _ => "",
        };
        let engine = ident(&self.schema);
        format!(
            "create or replace trigger order_engine_{name} after {event} on {table} {rows}
             for each statement when ({NOT_MIRRORED}) execute function {engine}.{function}();\n"
        )
    }
}

/// The tables of the older application and the triggers on them.
pub(super) fn old_triggers() -> impl Iterator<Item = (&'static str, String)> {
    let stock = [("product_catalog", "order_engine_stock".to_owned())];
    let of = |(table, triggers): (&'static str, &'static [Trigger])| {
        triggers.iter().map(move |(name, _, _)| (table, format!("order_engine_{name}")))
    };
    ON_OLD.into_iter().flat_map(of).chain(stock)
}

/// The trigger does not fire for writes that were themselves mirrored from the other side.
const NOT_MIRRORED: &str = "current_setting('order_engine.mirroring', true) is distinct from 'on'";

fn drop_trigger(table: &str, name: &str) -> String {
    format!("drop trigger if exists order_engine_{name} on {table};\n")
}
