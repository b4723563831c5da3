//! Connecting to databases as they are in the field: read-only, behind a pooler, with few rights,
//! with few connections. Rows A7, A14, D2, D3, D4, D7 and D11 of issue 13.

use std::time::Duration;

use futures_util::future::join_all;
use order_engine::error::{Error, ErrorKind};
use order_engine::store::{Store, StoreOptions, migrate};
use sqlx::{AssertSqlSafe, Executor};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::harness::Database;

const WRITE: &str = "insert into users (user_id, updated_at) values ('1', now())
    on conflict (user_id) do update set updated_at = now()";

impl Database {
    /// Executes a statement that names the database `{db}`.
    async fn alter(&self, statement: &str) {
        let name = self.options.connect.get_database().unwrap();
        let statement = statement.replace("{db}", name);
        self.connection().await.execute(AssertSqlSafe(statement)).await.unwrap();
    }

    /// A login role without rights, and the options to connect as it.
    async fn role(&self, attributes: &str) -> (String, StoreOptions) {
        let role = format!("role_{}", Uuid::now_v7().simple());
        self.alter(&format!("create role {role} login password 'p' {attributes}")).await;
        self.alter(&format!("revoke create on database {{db}} from {role}")).await;
        let connect = self.options.connect.clone().username(&role).password("p");
        let acquire_timeout = Duration::from_secs(2);
        (role, StoreOptions { connect, acquire_timeout, ..self.options.clone() })
    }
}

async fn write(store: &Store) -> Result<(), Error> {
    let written = store.acquire().await?.execute(WRITE).await;
    written.map(drop).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}

#[tokio::test]
async fn a7_a_read_only_session_is_given_up_and_the_next_one_writes() {
    let Some(database) = Database::new().await else { return };
    database.alter("alter database {db} set default_transaction_read_only = on").await;
    let store = Store::connect(&database.options).await.unwrap();
    let (first, second) = tokio::join!(store.acquire(), store.acquire());
    drop((first, second));
    assert!(write(&store).await.unwrap_err().to_string().contains("read-only transaction"));
    database
        .alter(
            "set transaction_read_only = off; \
        alter database {db} set default_transaction_read_only = off",
        )
        .await;
    // One session that refused is given up, and with it the others that are as old.
    let _ = write(&store).await;
    write(&store).await.unwrap();
    write(&store).await.unwrap();
}

#[tokio::test]
async fn d4_a_database_that_accepts_no_writes_is_not_ready() {
    let Some(database) = Database::new().await else { return };
    database.alter("alter database {db} set default_transaction_read_only = on").await;
    let store = Store::connect(&database.options).await.unwrap();
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.finding().ends_with(" is read-only: it accepts no orders."), "{error}");
    // What readyz shows has no address.
    let reason = error.context_value("reason").unwrap();
    assert_eq!(reason, "The database is read-only: it accepts no orders.");
    database
        .alter(
            "set transaction_read_only = off; \
        alter database {db} set default_transaction_read_only = off",
        )
        .await;
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a14_the_isolation_is_that_of_the_session_not_of_the_database() {
    let Some(database) = Database::new().await else { return };
    database.alter("alter database {db} set default_transaction_isolation = serializable").await;
    let store = Store::connect(&database.options).await.unwrap();
    let mut connection = store.acquire().await.unwrap();
    let isolation: String =
        sqlx::query_scalar("show transaction_isolation").fetch_one(&mut *connection).await.unwrap();
    assert_eq!(isolation, "read committed");
}

#[tokio::test]
async fn a14_a_server_that_may_lose_commits_is_recognised() {
    let Some(database) = Database::new().await else { return };
    assert_eq!(database.store.loses_commits().await.unwrap(), None);
    database.alter("alter database {db} set synchronous_commit = off").await;
    let store = Store::connect(&database.options).await.unwrap();
    assert_eq!(store.loses_commits().await.unwrap(), Some("synchronous_commit"));
}

/// A pooler that drops the startup parameter `options`, as `PgBouncer` does with
/// `ignore_startup_parameters`. Returns its port.
async fn pooler(database: &Database) -> u16 {
    let server =
        (database.options.connect.get_host().to_owned(), database.options.connect.get_port());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass_without_options(client, server.clone()));
        }
    });
    port
}

async fn pass_without_options(mut client: TcpStream, server: (String, u16)) -> std::io::Result<()> {
    const SSL_REQUEST: [u8; 4] = [4, 210, 22, 47];
    let startup = loop {
        let mut message = vec![0; client.read_u32().await? as usize - 4];
        client.read_exact(&mut message).await?;
        if message != SSL_REQUEST {
            break message;
        }
        client.write_all(b"N").await?;
    };
    let mut words = startup[4..].split(|byte| *byte == 0);
    let mut kept = startup[..4].to_vec();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        if name != b"options" && !name.is_empty() {
            kept.extend([name, b"\0", value, b"\0"].concat());
        }
    }
    kept.push(0);
    let mut server = TcpStream::connect(server).await?;
    server.write_u32(u32::try_from(kept.len() + 4).unwrap()).await?;
    server.write_all(&kept).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

#[tokio::test]
async fn d2_a_pooler_that_ignores_the_startup_parameters_is_refused() {
    let Some(database) = Database::empty().await else { return };
    let mut options = database.options.clone();
    options.connect = options.connect.host("127.0.0.1").port(pooler(&database).await);
    let Err(error) = Store::connect(&options).await else { panic!("it works in another schema") };
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    for part in ["search_path", "order_engine", "ignore_startup_parameters"] {
        assert!(error.message().contains(part), "{error}");
    }
    let found = database.number("select count(*) from pg_tables where schemaname = 'public'").await;
    assert_eq!(found, 0);
}

#[tokio::test]
async fn d3_a_role_that_owns_only_its_schema_migrates_and_writes() {
    let Some(database) = Database::empty().await else { return };
    let (role, options) = database.role("").await;
    database.alter(&format!("create schema order_engine authorization {role}")).await;
    let store = Store::connect(&options).await.unwrap();
    assert!(!migrate::migrate(&store).await.unwrap().is_empty());
    write(&store).await.unwrap();
}

#[tokio::test]
async fn d3_a_role_that_may_only_change_rows_opens_a_migrated_database() {
    let Some(database) = Database::new().await else { return };
    let (role, options) = database.role("").await;
    let all = "all tables in schema order_engine";
    database.alter(&format!("grant usage on schema order_engine to {role}")).await;
    database.alter(&format!("grant select, insert, update, delete on {all} to {role}")).await;
    let sequences = "all sequences in schema order_engine";
    database.alter(&format!("grant usage, select on {sequences} to {role}")).await;
    let store = Store::connect(&options).await.unwrap();
    assert!(migrate::migrate(&store).await.unwrap().is_empty());
    write(&store).await.unwrap();
}

#[tokio::test]
async fn d3_missing_rights_are_named_with_the_statements_that_grant_them() {
    let Some(database) = Database::empty().await else { return };
    let (role, options) = database.role("").await;
    let store = Store::connect(&options).await.unwrap();
    let refused = async || migrate::migrate(&store).await.unwrap_err();
    let error = refused().await;
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    let create = format!("create schema order_engine authorization {role}");
    assert!(error.message().contains(&create), "{error}");

    database.alter("create schema order_engine").await;
    let error = refused().await;
    for right in ["usage", "create"] {
        let grant = format!("grant {right} on schema order_engine to {role}");
        assert!(error.message().contains(&grant), "{error}");
    }

    migrate::migrate(&database.store).await.unwrap();
    database.alter(&format!("grant usage on schema order_engine to {role}")).await;
    let all = "all tables in schema order_engine";
    database.alter(&format!("grant select on {all} to {role}")).await;
    let error = refused().await;
    let grant = format!("grant select, insert, update, delete on {all} to {role}");
    assert!(error.message().contains(&grant), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn d7_a_pool_larger_than_the_roles_limit_goes_on_with_fewer_connections() {
    let Some(database) = Database::empty().await else { return };
    let (_, options) = database.role("connection limit 2").await;
    let store = Store::connect(&StoreOptions { connections: 8, ..options }).await.unwrap();
    let work = async || {
        let mut connection = store.acquire().await?;
        connection.execute("select pg_sleep(0.02)").await.unwrap();
        Ok::<(), Error>(())
    };
    for done in join_all((0..40).map(|_| work())).await {
        done.unwrap();
    }
    assert!(store.connections().1 <= 2);
}

#[tokio::test]
async fn d7_a_full_server_is_reported_in_its_own_words() {
    let Some(database) = Database::empty().await else { return };
    let (_, options) = database.role("connection limit 0").await;
    let options = StoreOptions { acquire_timeout: Duration::from_millis(300), ..options };
    let Err(error) = Store::connect(&options).await else { panic!("the limit is 0") };
    assert!(error.message().contains("too many connections for role"), "{error}");
    assert!(error.advice().unwrap().contains("database_connections"), "{error}");
}

#[tokio::test]
async fn d11_a_failing_migration_is_named_with_the_words_of_postgresql() {
    let Some(database) = Database::empty().await else { return };
    database.alter("create schema order_engine create table products (id int)").await;
    let error = migrate::migrate(&database.store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    for part in ["0001_initial", "relation \"products\" already exists", "schema order_engine"] {
        assert!(error.message().contains(part), "{error}");
    }
}

#[tokio::test]
async fn d11_a_database_of_a_newer_build_is_not_up_to_date() {
    let Some(database) = Database::new().await else { return };
    database
        .alter(
            "insert into order_engine._sqlx_migrations
                (version, description, success, checksum, execution_time)
             values (9999, 'from the future', true, '\\x00', 0)",
        )
        .await;
    let error = migrate::pending(&database.store).await.unwrap_err();
    assert!(error.message().contains("9999"), "{error}");
    assert!(error.message().contains("newer order-engine"), "{error}");
}
