//! Every statement finds its rows by key, with the plan that PostgreSQL makes while the tables are
//! empty: connections keep such a plan when the tables have grown.

use order_engine::store::{Connection, outbox, statements};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, Row};

use crate::harness::Database;

/// Tables that grow with the orders, the products or the users.
const GROWING: &[&str] = &[
    "cancelled_lines",
    "idempotency",
    "inbox",
    "inbox_dead_letters",
    "order_history",
    "order_lines",
    "orders",
    "outbox",
    "products",
    "reservations",
    "users",
];
/// Statements that may scan: an operator's commands, and queues read from the front.
const WALKS: &[&str] = &[
    "dead_letters::COUNT_INCOMING",
    "dead_letters::FIND_ALL_INCOMING",
    "dead_letters::LIST",
    "dead_letters::RETRY_ALL_OUTGOING",
    "journal::UNPUBLISHED",
    "list_publications::TAKE",
    "outbox::BACKLOG",
    "replay::WAITING",
    "legacy_outbox::TAKE",
];
/// Reads in the order of its index, and no further than a batch.
const FROM_THE_FRONT: &str = "outbox::CLAIM";

#[tokio::test]
async fn statements_planned_on_empty_tables_find_rows_by_key() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut pooled = database.store.dedicated().await.unwrap();
    let mut relays = outbox::connect(&database.store).await.unwrap();
    let mut seen = 0;
    for (name, sql) in statements() {
        let connection = if name.starts_with("outbox::") { &mut relays } else { &mut pooled };
        let Some(plan) = plan_of(connection, sql).await else { continue };
        let mut scans = Vec::new();
        collect(&plan, &mut scans);
        for scan in scans {
            seen += 1;
            if !WALKS.contains(&name.as_str()) {
                check(&mut *connection, &name, scan).await;
            }
        }
    }
    assert!(seen > 40, "only {seen} scans were looked at");
}

/// The generic plan; none for statements that are not planned.
async fn plan_of(connection: &mut Connection, sql: &'static str) -> Option<Value> {
    let planned = ["select", "with", "insert", "update", "delete"];
    if !planned.iter().any(|word| sql.trim_start().starts_with(word)) {
        return None;
    }
    connection.execute("begin").await.unwrap();
    connection.execute(AssertSqlSafe(format!("prepare asked as {sql}"))).await.unwrap();
    let counted = "select cardinality(parameter_types) from pg_prepared_statements
                   where name = 'asked'";
    let parameters: i32 = connection.fetch_one(counted).await.unwrap().get(0);
    let nulls = vec!["null"; usize::try_from(parameters).unwrap()].join(", ");
    let nulls = if nulls.is_empty() { nulls } else { format!("({nulls})") };
    let explain = format!("explain (format json) execute asked{nulls}");
    let plan: Value = connection.fetch_one(AssertSqlSafe(explain)).await.unwrap().get(0);
    connection.execute("deallocate asked").await.unwrap();
    connection.execute("rollback").await.unwrap();
    Some(plan[0]["Plan"].clone())
}

fn collect<'a>(node: &'a Value, scans: &mut Vec<&'a Value>) {
    if node["Node Type"].as_str().is_some_and(|kind| kind.contains("Scan")) {
        scans.push(node);
    }
    for inner in node["Plans"].as_array().into_iter().flatten() {
        collect(inner, scans);
    }
}

async fn check(connection: &mut Connection, name: &str, scan: &Value) {
    if let Some(table) = scan["Relation Name"].as_str() {
        let is_whole = scan["Node Type"] == "Seq Scan";
        assert!(!(is_whole && GROWING.contains(&table)), "{name} reads all of {table}");
    }
    let Some(index) = scan["Index Name"].as_str() else { return };
    let (table, first): (String, String) = sqlx::query_as(
        "select c.relname::text, a.attname::text
         from pg_index i join pg_class c on c.oid = i.indrelid
         join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
         where i.indexrelid = $1::regclass",
    )
    .bind(index)
    .fetch_one(connection)
    .await
    .unwrap();
    if !GROWING.contains(&table.as_str()) {
        return;
    }
    let condition = scan["Index Cond"].as_str().unwrap_or_default();
    assert!(condition.contains(&first), "{name} walks through {index}: {condition:?}");
    // A condition on the destination alone matches almost all rows of the outbox.
    let is_one = table != "outbox"
        || first == "id"
        || condition.contains("stream_id")
        || name == FROM_THE_FRONT;
    assert!(is_one, "{name} goes through all that waits: {condition:?}");
}
