//! A fresh database for each test, and the engine on it.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use order_engine::domain::caller::{Access, Caller};
use order_engine::domain::external_event::{ExternalEvent, ProductEvent, StockEvent};
use order_engine::domain::ids::{IdempotencyKey, ProductId, UserId};
use order_engine::domain::money::Currency;
use order_engine::domain::placement::{PlacementLimits, PlacementLine, PlacementRequest, Pricing};
use order_engine::engine::ports::{EventEncoder, Ports};
use order_engine::engine::{Engine, Rules};
use order_engine::store::{Store, StoreOptions, migrate};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

/// The server that the tests were given, none on a machine without one.
///
/// # Panics
/// In CI, where a missing server is a failure.
pub fn server() -> Option<PgConnectOptions> {
    given("ORDER_ENGINE_TEST_DATABASE_URL")
        .map(|url| PgConnectOptions::from_str(&url).expect("a PostgreSQL URL"))
}

/// A variable that names a service.
///
/// # Panics
/// In CI, where a missing service is a failure.
pub fn given(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok();
    assert!(
        value.is_some() || std::env::var_os("CI").is_none(),
        "{variable} is not set: run the tests with `make test`"
    );
    if value.is_none() {
        eprintln!("SKIPPED: {variable} is not set; run the tests with `make test`");
    }
    value
}

/// A database of one test's own, with the engine's tables.
pub struct Database {
    /// Opens it.
    pub options: StoreOptions,
    /// It, open.
    pub store: Store,
}

impl Database {
    /// Creates and migrates one; none where the tests were given no server.
    pub async fn new() -> Option<Self> {
        let database = Self::empty().await?;
        migrate::migrate(&database.store).await.expect("migrations apply");
        Some(database)
    }

    /// Creates one without tables.
    pub async fn empty() -> Option<Self> {
        let server = server()?;
        let name = format!("it_{}", Uuid::now_v7().simple());
        let mut admin = PgConnection::connect_with(&server).await.expect("the test's server");
        admin
            .execute(AssertSqlSafe(format!("create database {name}")))
            .await
            .expect("a new database");
        admin.close().await.expect("a closed connection");
        let options = StoreOptions {
            other_hosts: Vec::new(),
            connect: server.database(&name),
            address: name,
            schema: "order_engine".to_owned(),
            connections: 8,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(10),
        };
        let store = Store::connect(&options).await.expect("an open store");
        Some(Self { options, store })
    }

    /// A connection beside the engine's, for looking.
    pub async fn connection(&self) -> PgConnection {
        let options = self.options.connect.clone().options([("search_path", "order_engine")]);
        PgConnection::connect_with(&options).await.expect("a connection")
    }

    /// One number that a statement gives.
    pub async fn number(&self, statement: &'static str) -> i64 {
        let mut connection = self.connection().await;
        sqlx::query_scalar(statement).fetch_one(&mut connection).await.expect("a number")
    }

    /// The engine on this database, with `encoders`.
    pub fn engine(&self, encoders: Vec<Arc<dyn EventEncoder>>) -> Engine {
        self.engine_with(Access::Owner, encoders)
    }

    /// The engine with a setting of `access`.
    pub fn engine_with(&self, access: Access, encoders: Vec<Arc<dyn EventEncoder>>) -> Engine {
        Engine::new(self.store.clone(), rules(access), encoders)
    }

    /// The engine with what it may do without.
    pub fn engine_with_ports(&self, ports: Ports) -> Engine {
        Engine::with_ports(self.store.clone(), rules(Access::Owner), Vec::new(), ports)
    }
}

fn rules(access: Access) -> Rules {
    Rules { access, placement: PlacementLimits::default(), currency: currency() }
}

/// What the tests' prices are in.
pub fn currency() -> Currency {
    Currency::parse("USD").expect("a currency")
}

/// The user `id`, with an ordinary token.
pub fn user(id: &str) -> Caller {
    Caller::User { id: UserId::parse(id).expect("a user id"), staff: false }
}

/// A product as its service announces it.
pub fn product(id: &str, price: &str, quantity: i64) -> ExternalEvent {
    ExternalEvent::Product(ProductEvent {
        product: ProductId::parse(id).expect("a product id"),
        name: format!("Product {id}"),
        price: price.parse().expect("a price"),
        quantity: Some(quantity),
    })
}

/// An absolute stock number.
pub fn stock(id: &str, quantity: i64) -> ExternalEvent {
    ExternalEvent::Stock(StockEvent {
        product: ProductId::parse(id).expect("a product id"),
        quantity,
        order: None,
    })
}

/// A request of `user` for `items`.
pub fn request(user: &str, items: &[(&str, u32)], key: Option<&str>) -> PlacementRequest {
    PlacementRequest {
        user: UserId::parse(user).expect("a user id"),
        lines: items
            .iter()
            .map(|(product, quantity)| PlacementLine {
                product: ProductId::parse(*product).expect("a product id"),
                quantity: *quantity,
            })
            .collect(),
        key: key.map(|key| IdempotencyKey::parse(key).expect("a key")),
        pricing: Pricing::Catalogue,
    }
}
