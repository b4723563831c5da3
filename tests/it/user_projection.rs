//! User preferences: when placing, in replays, and in Redis.

use std::sync::Arc;
use std::time::{Duration, Instant};

use order_engine::contracts;
use order_engine::domain::caller::Caller;
use order_engine::domain::external_event::{ExternalEvent, UserEvent};
use order_engine::domain::ids::UserId;
use order_engine::domain::preferences::Preferences;
use order_engine::domain::replay::ReplayFilter;
use order_engine::engine::Engine;
use order_engine::engine::ports::{Ports, UserProjection};
use order_engine::transport::redis::RedisLink;
use order_engine::transport::redis::user_projection::RedisUserProjection;
use redis::AsyncCommands as _;
use uuid::Uuid;

use crate::harness::{Database, given, product, request};

const NO: &str = r#"{"notifications": false}"#;
const YES: &str = r#"{"notifications": true}"#;

/// A user of one test, and an engine that projects users.
struct Home {
    database: Database,
    engine: Engine,
    redis: redis::aio::MultiplexedConnection,
    user: String,
}

impl Home {
    async fn open() -> Option<Self> {
        let url = given("ORDER_ENGINE_TEST_REDIS_URL")?;
        let database = Database::new().await?;
        let link = Arc::new(RedisLink::new(&url, None, Duration::from_secs(5)).unwrap());
        let user_projection =
            Some(Arc::new(RedisUserProjection::new(link)) as Arc<dyn UserProjection>);
        let engine = database.engine_with_ports(Ports { user_projection, ..Ports::default() });
        let client = redis::Client::open(url).unwrap();
        let redis = client.get_multiplexed_async_connection().await.unwrap();
        Some(Self { database, engine, redis, user: Uuid::now_v7().simple().to_string() })
    }

    async fn shown(&self, key: &str) -> Option<String> {
        self.redis.clone().hget(key, &self.user).await.unwrap()
    }

    async fn put(&self, user: &str, preferences: &str) {
        let key = "user:preferences";
        let _: () = self.redis.clone().hset(key, user, preferences).await.unwrap();
    }

    async fn kept(&self) -> Option<String> {
        let id = UserId::parse(self.user.as_str()).unwrap();
        self.engine.get_user(&id).await.ok().and_then(|user| user.preferences)
    }
}

fn user_event(user: &str, email: Option<&str>, preferences: Option<&str>) -> ExternalEvent {
    ExternalEvent::User(UserEvent {
        user: UserId::parse(user).unwrap(),
        username: None,
        email: email.map(str::to_owned),
        address: None,
        contact: None,
        preferences: preferences.map(|json| Preferences::parse(json).unwrap()),
    })
}

async fn place(engine: &Engine) {
    engine.place_order(&Caller::System, request("1", &[("1", 1)], None)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn current_preferences_apply_to_new_and_replayed_orders() {
    let Some(database) = Database::new().await else { return };
    let engine = database.engine(vec![contracts::open("stock").unwrap().event_encoder()]);
    engine.apply_events(&[product("1", "9.5", 100)]).await.unwrap();
    let mut announced = Vec::new();
    for preferences in [None, Some(NO), None, Some(YES), Some("{}")] {
        engine.apply_events(&[user_event("1", None, preferences)]).await.unwrap();
        place(&engine).await;
        announced.push(database.number("select count(*) from outbox").await);
    }
    // An absent field changes nothing.
    assert_eq!(announced, [1, 1, 1, 2, 3]);
    for (preferences, again) in [(NO, 0), (YES, 2)] {
        engine.apply_events(&[user_event("1", None, Some(preferences))]).await.unwrap();
        let mut replay = engine.replay(ReplayFilter::default(), None).await.unwrap();
        let step = replay.step(100).await.unwrap().unwrap();
        assert_eq!(step.messages, again, "of those that are not in the outbox");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_events_are_projected() {
    let Some(home) = Home::open().await else { return };
    home.engine.apply_events(&[user_event(&home.user, Some("a@b.c"), None)]).await.unwrap();
    assert_eq!(home.shown("user:email").await.as_deref(), Some("a@b.c"));
    assert_eq!(home.shown("user:preferences").await, None);
    home.engine.apply_events(&[user_event(&home.user, None, Some(NO))]).await.unwrap();
    assert_eq!(home.shown("user:email").await.as_deref(), Some("a@b.c"));
    assert_eq!(home.shown("user:preferences").await.as_deref(), Some(NO));
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_user_keys_are_written_again() {
    let Some(home) = Home::open().await else { return };
    home.engine.apply_events(&[user_event(&home.user, Some("a@b.c"), Some(NO))]).await.unwrap();
    let _: () = home.redis.clone().hdel("user:email", &home.user).await.unwrap();
    home.put(&home.user, YES).await;
    home.engine.import_preferences().await.unwrap();
    home.engine.project_users_since(chrono::DateTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(home.shown("user:email").await.as_deref(), Some("a@b.c"));
    assert_eq!(home.shown("user:preferences").await.as_deref(), Some(NO), "the database decides");
}

#[tokio::test(flavor = "multi_thread")]
async fn preferences_in_redis_are_imported() {
    let Some(home) = Home::open().await else { return };
    home.put(&home.user, NO).await;
    home.put(&Uuid::now_v7().to_string(), "not JSON").await;
    home.put(&"u".repeat(200), NO).await;
    for _ in 0..1200 {
        home.put(&Uuid::now_v7().to_string(), YES).await;
    }
    home.engine.apply_events(&[user_event(&home.user, Some("a@b.c"), None)]).await.unwrap();
    home.engine.import_preferences().await.unwrap();
    assert_eq!(home.kept().await.as_deref(), Some(NO));
    let opted_out = "select count(*) from users where not allows_notifications";
    assert!(home.database.number(opted_out).await >= 1);
    let all = "select count(*) from users where preferences is not null";
    assert!(home.database.number(all).await >= 1201, "page by page");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_user_events_are_applied() {
    let Some(database) = Database::new().await else { return };
    let nobody = RedisLink::new("redis://127.0.0.1:1/0", None, Duration::from_millis(200)).unwrap();
    let user_projection =
        Some(Arc::new(RedisUserProjection::new(Arc::new(nobody))) as Arc<dyn UserProjection>);
    let engine = database.engine_with_ports(Ports { user_projection, ..Ports::default() });
    let began = Instant::now();
    engine.apply_events(&[user_event("1", Some("a@b.c"), Some(NO))]).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let kept = engine.get_user(&UserId::parse("1").unwrap()).await.unwrap();
    assert_eq!(kept.preferences.as_deref(), Some(NO));
}
