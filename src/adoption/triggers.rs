//! Making and removing what keeps both sides in step: functions, triggers, one series of numbers.

use super::{Home, OldTables, Reading, Session, ident, literal};
use crate::error::Result;

const READING: &str = include_str!("reading.sql");
const CARRYING: &str = include_str!("carrying.sql");
const WATCHING: &str = include_str!("watching.sql");
const SHOWING: &str = include_str!("showing.sql");
const BEGINNING: &str = include_str!("beginning.sql");
const ENDING: &str = include_str!("ending.sql");

/// A statement's trigger: its event and what it calls.
type Trigger = (&'static str, &'static str, &'static str);

/// On the old tables. Catalogue and users come first, as orders are read with their help; items
/// before orders, so that no order is taken for a new one whose items nobody watches.
const ON_OLD: [(&str, &[Trigger]); 4] = [
    (
        "product_catalog",
        &[
            ("added", "insert", "products_written"),
            ("changed", "update", "products_written"),
            ("removed", "delete", "products_removed"),
            ("cleared", "truncate", "products_removed"),
        ],
    ),
    (
        "order_user",
        &[
            ("added", "insert", "users_written"),
            ("changed", "update", "users_written"),
            ("removed", "delete", "users_removed"),
            ("cleared", "truncate", "users_removed"),
        ],
    ),
    (
        "order_items",
        &[
            ("added", "insert", "items_added"),
            ("changed", "update", "items_changed"),
            ("removed", "delete", "items_changed"),
        ],
    ),
    (
        "orders",
        &[
            ("added", "insert", "orders_written"),
            ("changed", "update", "orders_written"),
            ("removed", "delete", "orders_removed"),
            ("cleared", "truncate", "orders_removed"),
        ],
    ),
];

/// On the engine's tables.
const ON_ENGINE: [(&str, &[Trigger]); 4] = [
    ("order_lines", &[("added", "insert", "lines_placed")]),
    ("orders", &[("changed", "update", "orders_changed")]),
    (
        "products",
        &[("added", "insert", "products_changed"), ("changed", "update", "products_changed")],
    ),
    ("users", &[("added", "insert", "users_changed"), ("changed", "update", "users_changed")]),
];

impl Session {
    /// Begins, or goes on with, an adoption: the functions, one series of numbers for both sides,
    /// and the triggers that show what the engine writes.
    ///
    /// # Errors
    /// `Misconfigured` when the engine has orders that the old tables do not, `Unavailable` when
    /// a lock cannot be had; as [`super::refused`].
    pub async fn begin(
        &mut self,
        reading: &Reading,
        old: &OldTables,
        announce: bool,
    ) -> Result<()> {
        let functions = [READING, CARRYING, WATCHING, SHOWING].concat();
        let functions = self.fill(&functions, reading, Home::Engine);
        self.run_patiently("making functions", &functions).await?;
        let announce = if announce { "true" } else { "false" };
        let mut script = self.fill_numbers(BEGINNING, reading, old).replace("{announce}", announce);
        for (table, triggers) in ON_ENGINE {
            let table = format!("{}.{}", ident(&self.schema), ident(table));
            script.extend(triggers.iter().map(|trigger| self.trigger(&table, trigger)));
        }
        self.run_patiently("beginning the adoption", &script).await
    }

    /// Watches the old tables, one after the other, so that no two are ever locked together.
    ///
    /// # Errors
    /// `Unavailable` when a lock cannot be had; as [`super::refused`].
    pub async fn watch(&mut self, old: &OldTables) -> Result<()> {
        for (table, triggers) in ON_OLD {
            let name = format!("{}.{}", ident(&old.schema), ident(table));
            let mut script: Vec<_> =
                triggers.iter().map(|trigger| self.trigger(&name, trigger)).collect();
            if table == "product_catalog" {
                script.push(format!(
                    "create or replace trigger order_engine_stock before insert or update on {name}
                     for each row when ({OUTSIDE}) execute function {}.stock_written();",
                    ident(&self.schema)
                ));
            }
            self.run_patiently("watching the old tables", &script.concat()).await?;
        }
        Ok(())
    }

    /// Ends an adoption: the triggers go, and the engine draws its own numbers again.
    ///
    /// # Errors
    /// As [`Session::watch`].
    pub async fn end(&mut self, reading: &Reading, old: &OldTables) -> Result<()> {
        for (table, triggers) in ON_OLD {
            let name = format!("{}.{}", ident(&old.schema), ident(table));
            let names = triggers.iter().map(|(name, _, _)| *name).chain(["stock"]);
            let script: String = names.map(|trigger| drop_trigger(&name, trigger)).collect();
            self.run_patiently("removing triggers", &script).await?;
        }
        let mut script = self.fill_numbers(ENDING, reading, old);
        for (table, triggers) in ON_ENGINE {
            let table = format!("{}.{}", ident(&self.schema), ident(table));
            script.extend(triggers.iter().map(|(name, _, _)| drop_trigger(&table, name)));
        }
        self.run_patiently("ending the adoption", &script).await
    }

    /// Begins a dry run: what it asks with is made for this session only.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn rehearse(&mut self, reading: &Reading) -> Result<()> {
        let script = self.fill(
            "begin isolation level repeatable read;
             create temp table catalogue on commit drop as
             select distinct on (c.product_id) c.product_id::text as product_id, c.name,
                    case when c.price >= 0 and c.price < 1e15
                        then round(c.price::text::numeric, 4) end as price
             from {old}.product_catalog c order by c.product_id, c.id;",
            reading,
            Home::Session,
        );
        let functions = self.fill(READING, reading, Home::Session);
        self.run_patiently("rehearsing", &(script + &functions)).await
    }

    fn fill_numbers(&self, text: &str, reading: &Reading, old: &OldTables) -> String {
        let own = |sequence| literal(&format!("{}.{sequence}", ident(&self.schema)));
        self.fill(text, reading, Home::Engine)
            .replace("{order_ids}", &literal(&old.order_ids))
            .replace("{item_ids}", &literal(&old.item_ids))
            .replace("{engine_order_ids}", &own("order_ids"))
            .replace("{engine_line_ids}", &own("order_line_ids"))
            .replace("{old_name}", &literal(&old.schema))
            .replace("{engine_name}", &literal(&self.schema))
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
             for each statement when ({OUTSIDE}) execute function {engine}.{function}();\n"
        )
    }
}

/// Not within what was itself carried over from the other side.
const OUTSIDE: &str = "current_setting('order_engine.mirroring', true) is distinct from 'on'";

fn drop_trigger(table: &str, name: &str) -> String {
    format!("drop trigger if exists order_engine_{name} on {table};\n")
}
