//! Every statement matches the schema, and migrating can be repeated.

use order_engine::error::ErrorKind;
use order_engine::store::{Store, migrate, statements};
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};

use crate::harness::Database;

#[tokio::test]
async fn every_statement_prepares() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut connection = database.connection().await;
    let all = statements();
    assert!(all.len() > 20, "only {} statements are listed", all.len());
    for (name, sql) in all {
        if let Err(error) = connection.prepare(AssertSqlSafe(sql).into_sql_str()).await {
            panic!("{name} does not fit the tables: {error}");
        }
    }
}

#[tokio::test]
async fn migrating_is_idempotent_and_safe_to_run_twice_at_once() {
    let Some(database) = Database::empty().await else {
        return;
    };
    assert!(!migrate::pending(&database.store).await.unwrap().is_empty());
    let (one, two) =
        tokio::join!(migrate::migrate(&database.store), migrate::migrate(&database.store));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.len().min(two.len()), 0, "{one:?} and {two:?}");
    assert!(!(one.is_empty() && two.is_empty()));
    assert!(migrate::pending(&database.store).await.unwrap().is_empty());
    assert!(migrate::migrate(&database.store).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_database_of_a_newer_build_is_refused() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut connection = database.connection().await;
    connection
        .execute(
            "insert into _sqlx_migrations
                (version, description, success, checksum, execution_time)
             values (9999, 'from the future', true, '\\x00', 0)",
        )
        .await
        .unwrap();
    let error = migrate::migrate(&database.store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(error.message().contains("9999"), "{error}");
}

#[tokio::test]
async fn a_missing_database_is_named_without_its_password() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut options = database.options.clone();
    options.connect = options.connect.port(1).password("hunter2");
    options.address = "127.0.0.1:1/shop".to_owned();
    let Err(error) = Store::connect(&options).await else { panic!("nothing listens there") };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("127.0.0.1:1/shop"), "{error}");
    assert!(!order_engine::error::error_chain(&error).contains("hunter2"));
}
