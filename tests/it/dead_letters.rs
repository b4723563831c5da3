//! Retrying or skipping a dead letter reads that one, not all of them.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use order_engine::app::enabled_contracts::EnabledContracts;
use order_engine::config::{Needs, Settings};
use order_engine::error::ErrorKind;
use order_engine::operations;
use sqlx::Executor;

use crate::harness::Database;

/// A thousand dead letters in each direction.
const FILL: &str = "
    insert into outbox (
        destination, stream_id, version, message_id, topic, body, created_at, dead_lettered_at
    )
    select 'flask', n, 1, gen_random_uuid(), 'order.placed', '{}', now(), now()
    from generate_series(1, 1000) as n;
    insert into inbox_dead_letters (consumer, topic, body, reason, received_at)
    select 'flask', 'unknown', '', 'not JSON', now() from generate_series(1, 1000)";
/// Rows of dead letters that all sessions have read.
const ROWS_READ: &str = "
    select sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint
    from pg_stat_user_tables where relname in ('outbox', 'inbox_dead_letters')";

#[tokio::test(flavor = "multi_thread")]
async fn retry_and_skip_read_by_key() {
    let Some(database) = Database::new().await else { return };
    let engine = database.engine(vec![]);
    let flags = HashMap::from([("database_url".to_owned(), "postgresql://localhost/x".to_owned())]);
    let settings = Settings::load(&flags, Path::new("/"), Needs::DATABASE).unwrap();
    let contracts = EnabledContracts::new(&settings).unwrap();
    database.connection().await.execute(FILL).await.unwrap();
    // The sequence begins at 1: outgoing ones are 1 to 1000, incoming ones 1001 to 2000.
    let (outgoing, incoming) = (1, 1001);

    let retried = operations::events_retry(&engine, &contracts, Some(&[outgoing])).await;
    assert_eq!(retried.unwrap(), 1);
    let skipped = operations::events_skip(&engine, &[outgoing + 1, incoming]).await;
    assert_eq!(skipped.unwrap(), 2);
    let missing = operations::events_skip(&engine, &[outgoing + 2, outgoing]).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "a retried message is no dead letter");
    // A server process reports what it read when it ends, at the latest.
    database.store.close().await;
    let mut read = 0;
    for _ in 0..100 {
        read = database.number(ROWS_READ).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!((1..100).contains(&read), "{read} rows were read to act on a few");
    let left = "select count(*) from outbox where dead_lettered_at is not null";
    assert_eq!(database.number(left).await, 998, "nothing is skipped when one id is missing");
}

/// Three incoming messages: the first and the last cannot be decoded, the second registers a user.
const INCOMING: &str = r#"
    insert into inbox_dead_letters (consumer, topic, body, reason, received_at) values
        ('flask', 'user.registered', 'not JSON', 'not JSON', now()),
        ('flask', 'user.registered',
            '{"user_id": 7, "username": "ada", "email": "ada@example.com"}',
            'a defect that has been corrected', now()),
        ('none', 'user.registered', '{}', 'no contract', now())"#;

#[tokio::test(flavor = "multi_thread")]
async fn retrying_all_continues_after_a_failure_and_names_it() {
    let Some(database) = Database::new().await else { return };
    let engine = database.engine(vec![]);
    let flags = HashMap::from([("database_url".to_owned(), "postgresql://localhost/x".to_owned())]);
    let settings = Settings::load(&flags, Path::new("/"), Needs::DATABASE).unwrap();
    let contracts = EnabledContracts::new(&settings).unwrap();
    database.connection().await.execute(INCOMING).await.unwrap();

    let letters = operations::events_dead_letters(&engine, 10).await.unwrap();
    assert_eq!(letters[0].body, "not JSON", "an operator sees the message");
    let error = operations::events_retry(&engine, &contracts, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for part in ["2 of 3 messages", "message 1:", "message 3: its contract \"none\""] {
        assert!(error.message().contains(part), "{}", error.message());
    }
    assert_eq!(database.number("select count(*) from users").await, 1, "the second is applied");
    assert_eq!(database.number("select count(*) from inbox_dead_letters").await, 2);
}
