//! Checks the old tables, their columns and the role's privileges before anything is changed.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{AdoptionSession, Interpretation, ident, refused};
use crate::error::{Error, ErrorKind, Result};

/// A column and the type names it may have.
type Column = (&'static str, &'static [&'static str]);

/// The old tables and their columns.
const TABLES: [(&str, &[Column]); 4] = [
    (
        "orders",
        &[
            ("id", INTEGER),
            ("user_id", INTEGER),
            ("total_amount", &["double precision"]),
            ("status", TEXT),
            ("created_at", TIMESTAMP),
            ("updated_at", TIMESTAMP),
            ("address", TEXT),
        ],
    ),
    (
        "order_items",
        &[("id", INTEGER), ("product_id", INTEGER), ("quantity", INTEGER), ("order_id", INTEGER)],
    ),
    (
        "order_user",
        &[
            ("id", INTEGER),
            ("user_id", INTEGER),
            ("email", TEXT),
            ("contact", TEXT),
            ("address", TEXT),
        ],
    ),
    (
        "product_catalog",
        &[
            ("id", INTEGER),
            ("product_id", INTEGER),
            ("name", TEXT),
            ("price", &["double precision"]),
            ("quantity", INTEGER),
        ],
    ),
];
const INTEGER: &[&str] = &["integer"];
const TEXT: &[&str] = &["character varying", "text"];
const TIMESTAMP: &[&str] = &["timestamp without time zone"];
/// Privileges on the old tables that the triggers need; they run as this role.
const PRIVILEGES: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRIGGER"];

/// The old tables' schema and sequences.
#[derive(Clone, Debug)]
pub struct OldTables {
    /// Their schema.
    pub schema: String,
    /// The sequence of `orders.id`, quoted and qualified.
    pub order_ids: String,
    /// The sequence of `order_items.id`, quoted and qualified.
    pub item_ids: String,
}

impl AdoptionSession {
    /// Finds the old tables as the older application does, by the role's search path, and checks
    /// them. The error lists all problems.
    ///
    /// # Errors
    /// `Misconfigured` listing what is missing or has another type; as [`super::refused`].
    pub async fn inspect(&mut self) -> Result<OldTables> {
        let mut problems = Vec::new();
        let schema = self.old_schema().await?;
        self.check_path(schema.as_deref(), &mut problems).await?;
        let Some(schema) = schema else {
            problems.push(format!(
                "The role's search_path finds no table orders at {}. Connect with the older \
                 application's DATABASE_URL.",
                self.address
            ));
            return Err(not_adoptable(&problems));
        };
        self.check_columns(&schema, &mut problems).await?;
        if problems.is_empty() {
            self.check_privileges(&schema, &mut problems).await?;
        }
        let order_ids = self.sequence(&schema, "orders", &mut problems).await?;
        let item_ids = self.sequence(&schema, "order_items", &mut problems).await?;
        match (problems.is_empty(), order_ids, item_ids) {
            (true, Some(order_ids), Some(item_ids)) => {
                Ok(OldTables { schema, order_ids, item_ids })
            }
            _ => Err(not_adoptable(&problems)),
        }
    }

    /// What undoing needs of the old tables, whatever became of them. A sequence that no longer
    /// exists is replaced by the engine's own.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn remaining(&mut self, schema: &str) -> Result<OldTables> {
        let (order_ids, item_ids): (Option<String>, Option<String>) = sqlx::query_as(
            "select min(sequence) filter (where name = 'orders'),
                    min(sequence) filter (where name = 'order_items')
             from (
                 select c.relname as name, pg_get_serial_sequence(c.oid::regclass::text, 'id')
                     as sequence
                 from pg_class c
                 join pg_attribute a on a.attrelid = c.oid and a.attname = 'id'
                     and not a.attisdropped
                 where c.relnamespace = to_regnamespace($1)
                   and c.relname in ('orders', 'order_items') and c.relkind = 'r'
             ) remaining",
        )
        .bind(ident(schema))
        .fetch_one(&mut self.connection)
        .await
        .map_err(|error| refused("looking for the old tables' sequences", error))?;
        let own = |sequence| format!("{}.{sequence}", ident(&self.schema));
        Ok(OldTables {
            schema: schema.to_owned(),
            order_ids: order_ids.unwrap_or_else(|| own("order_ids")),
            item_ids: item_ids.unwrap_or_else(|| own("order_line_ids")),
        })
    }

    /// Checks that PostgreSQL knows a time zone of this name.
    ///
    /// # Errors
    /// `InvalidInput` when it does not.
    pub async fn check_zone(&mut self, interpretation: &Interpretation) -> Result<()> {
        let zone = &interpretation.time_zone;
        let known = sqlx::query("select now() at time zone $1").bind(zone);
        known.fetch_one(&mut self.connection).await.map(drop).map_err(|error| {
            Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "PostgreSQL does not know the time zone {zone:?}. Give a name such as UTC or \
                     Europe/Berlin."
                ),
            )
            .with_source(error)
        })
    }

    /// The first schema in the role's path, apart from the engine's own, with a table `orders`.
    async fn old_schema(&mut self) -> Result<Option<String>> {
        sqlx::query_scalar(
            "select path.name
             from unnest(current_schemas(false)) with ordinality as path (name, n)
             join pg_namespace on nspname = path.name
             join pg_class on relnamespace = pg_namespace.oid and relname = 'orders'
             where path.name <> $1
             order by path.n limit 1",
        )
        .bind(&self.schema)
        .fetch_optional(&mut self.connection)
        .await
        .map_err(|error| refused("looking for the old tables", error))
    }

    /// Checks that the older application's search path does not find the engine's tables first.
    async fn check_path(&mut self, old: Option<&str>, problems: &mut Vec<String>) -> Result<()> {
        let (path, role): (String, String) =
            sqlx::query_as("select current_setting('search_path'), current_user::text")
                .fetch_one(&mut self.connection)
                .await
                .map_err(|error| refused("reading the search path", error))?;
        let mut schemas = path.split(',').map(|part| match part.trim().trim_matches('"') {
            "$user" => role.as_str(),
            name => name,
        });
        let first = schemas.find(|name| *name == self.schema || Some(*name) == old);
        if first == Some(self.schema.as_str()) {
            problems.push(format!(
                "The search_path of the database's role ({path}) leads to the schema {} first, so \
                 the older application would take the engine's tables for its own. Set \
                 ORDER_ENGINE_DATABASE_SCHEMA to another name, or run: alter role {} set \
                 search_path = public",
                self.schema,
                ident(&role)
            ));
        }
        Ok(())
    }

    pub(super) async fn check_columns(
        &mut self,
        schema: &str,
        problems: &mut Vec<String>,
    ) -> Result<()> {
        let rows = sqlx::query(
            "select relname::text, relkind::text, attname::text,
                    format_type(atttypid, null) as type
             from pg_class
             join pg_namespace on pg_namespace.oid = relnamespace
             left join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
             where nspname = $1 and relname = any($2)",
        )
        .bind(schema)
        .bind(TABLES.map(|(table, _)| table))
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| refused("reading the old tables' columns", error))?;
        let mut kinds = HashMap::new();
        let mut types = HashMap::new();
        for row in &rows {
            let (table, kind, column, type_name) = read_column(row)?;
            kinds.insert(table.clone(), kind);
            types.insert((table, column), type_name);
        }
        for (table, columns) in TABLES {
            match kinds.get(table).map(String::as_str) {
                Some("r") => {}
                Some(_) => problems.push(format!("{schema}.{table} is not an ordinary table.")),
                None => problems.push(format!("The table {schema}.{table} is missing.")),
            }
            if !kinds.contains_key(table) {
                continue;
            }
            for (column, expected) in columns {
                let found = types.get(&(table.to_owned(), (*column).to_owned()));
                if !found.is_some_and(|found| expected.contains(&found.as_str())) {
                    problems.push(format!(
                        "{schema}.{table}.{column} must be {}; it is {}.",
                        expected.join(" or "),
                        found.map_or("missing", String::as_str)
                    ));
                }
            }
        }
        Ok(())
    }

    async fn check_privileges(&mut self, schema: &str, problems: &mut Vec<String>) -> Result<()> {
        let missing: Vec<String> = sqlx::query_scalar(
            "select wanted || ' on ' || $1 || '.' || name
             from unnest($2::text[]) name, unnest($3::text[]) wanted
             where not has_table_privilege(format('%I.%I', $1, name), wanted)
             union all
             select 'CREATE on the database ' || current_database()
             where not has_database_privilege(current_database(), 'CREATE')
               and not exists (select from pg_namespace where nspname = $4)",
        )
        .bind(schema)
        .bind(TABLES.map(|(table, _)| table))
        .bind(PRIVILEGES.map(str::to_owned))
        .bind(&self.schema)
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| refused("reading privileges", error))?;
        if !missing.is_empty() {
            problems.push(format!(
                "The database's role lacks privileges: {}. Adopt as the tables' owner, or \
                 grant them.",
                missing.join(", ")
            ));
        }
        Ok(())
    }

    async fn sequence(
        &mut self,
        schema: &str,
        table: &str,
        problems: &mut Vec<String>,
    ) -> Result<Option<String>> {
        if !problems.is_empty() {
            return Ok(None);
        }
        let name = format!("{}.{}", ident(schema), ident(table));
        let found: Option<String> = sqlx::query_scalar("select pg_get_serial_sequence($1, 'id')")
            .bind(&name)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| refused("looking for the old tables' sequences", error))?;
        if found.is_none() {
            problems.push(format!(
                "{schema}.{table}.id owns no sequence, from which both sides could draw ids. Run: \
                 alter sequence … owned by {schema}.{table}.id"
            ));
        }
        Ok(found)
    }
}

fn read_column(row: &PgRow) -> Result<(String, String, String, String)> {
    let read = |error| refused("reading the old tables' columns", error);
    let column: Option<String> = row.try_get("attname").map_err(read)?;
    let type_name: Option<String> = row.try_get("type").map_err(read)?;
    Ok((
        row.try_get("relname").map_err(read)?,
        row.try_get("relkind").map_err(read)?,
        column.unwrap_or_default(),
        type_name.unwrap_or_default(),
    ))
}

fn not_adoptable(problems: &[String]) -> Error {
    let list = problems.join("\n");
    Error::new(
        ErrorKind::Misconfigured,
        format!("The database cannot be adopted. Nothing was changed.\n{list}"),
    )
    .with("problems", list)
}
