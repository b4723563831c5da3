//! Stock in Redis and in the database, changed on both sides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use order_engine::domain::caller::Caller;
use order_engine::domain::ids::ProductId;
use order_engine::domain::placement::{PlacementRequest, Pricing};
use order_engine::domain::stock::ProjectedStock;
use order_engine::engine::Engine;
use order_engine::engine::ports::{Ports, StockProjection};
use order_engine::error::{ErrorKind, Result};
use order_engine::transport::redis::RedisLink;
use order_engine::transport::redis::stock_projection::RedisStockProjection;
use redis::AsyncCommands as _;
use uuid::Uuid;

use crate::harness::{Database, given, product, request, stock};

/// A product of one test, its key, and an engine that projects its stock.
struct Shop {
    _database: Database,
    engine: Engine,
    redis: redis::aio::MultiplexedConnection,
    link: Arc<RedisLink>,
    product: String,
}

impl Shop {
    async fn open() -> Option<Self> {
        let url = given("ORDER_ENGINE_TEST_REDIS_URL")?;
        let database = Database::new().await?;
        let link = Arc::new(RedisLink::new(&url, None, Duration::from_secs(5)).unwrap());
        let stock_projection =
            Some(Arc::new(RedisStockProjection::new(link.clone())) as Arc<dyn StockProjection>);
        let engine = database.engine_with_ports(Ports { stock_projection, ..Ports::default() });
        let client = redis::Client::open(url).unwrap();
        let redis = client.get_multiplexed_async_connection().await.unwrap();
        let product = Uuid::now_v7().simple().to_string();
        Some(Self { _database: database, engine, redis, link, product })
    }

    fn key(&self) -> String {
        format!("product:{}:stock", self.product)
    }

    async fn shown(&self) -> Option<i64> {
        self.redis.clone().get(self.key()).await.unwrap()
    }

    async fn change(&self, by: i64) {
        let _: i64 = self.redis.clone().incr(self.key(), by).await.unwrap();
    }

    async fn available(&self) -> i64 {
        let id = ProductId::parse(&self.product).unwrap();
        self.engine.get_product(&id).await.unwrap().level.available()
    }

    fn wish(&self, quantity: u32) -> PlacementRequest {
        let wish = request("1", &[(&self.product, quantity)], None);
        PlacementRequest { pricing: Pricing::CatalogueIfAny, ..wish }
    }

    async fn place(&self, quantity: u32) -> Result<order_engine::domain::order::Order> {
        let placed = self.engine.place_order(&Caller::System, self.wish(quantity)).await;
        placed.map(|placed| placed.order)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stock_change_is_projected() {
    let Some(shop) = Shop::open().await else { return };
    shop.engine.apply_events(&[product(&shop.product, "9.5", 10)]).await.unwrap();
    assert_eq!(shop.shown().await, Some(10));
    let order = shop.place(3).await.unwrap();
    assert_eq!(shop.shown().await, Some(7));
    shop.engine.cancel_order(&Caller::System, order.id, None).await.unwrap();
    assert_eq!(shop.shown().await, Some(10));
    shop.engine.apply_events(&[stock(&shop.product, 25)]).await.unwrap();
    assert_eq!(shop.shown().await, Some(25));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_known_only_to_redis_is_sold_until_empty() {
    let Some(shop) = Shop::open().await else { return };
    shop.change(3).await;
    let placed = join_all((0..8).map(|_| shop.place(1))).await;
    assert_eq!(placed.iter().filter(|placed| placed.is_ok()).count(), 3);
    let refusals = placed.iter().filter_map(|placed| placed.as_ref().err());
    assert!(refusals.into_iter().all(|error| error.kind() == ErrorKind::OutOfStock));
    assert_eq!((shop.shown().await, shop.available().await), (Some(0), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_product_is_rejected() {
    let Some(shop) = Shop::open().await else { return };
    assert_eq!(shop.place(1).await.unwrap_err().kind(), ErrorKind::ProductNotFound);
    let _: () = shop.redis.clone().set(shop.key(), "many").await.unwrap();
    assert_eq!(shop.place(1).await.unwrap_err().kind(), ErrorKind::ProductNotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn external_changes_are_applied() {
    let Some(shop) = Shop::open().await else { return };
    shop.engine.apply_events(&[product(&shop.product, "9.5", 10)]).await.unwrap();
    shop.change(-8).await;
    assert_eq!(shop.place(3).await.unwrap_err().context_value("available"), Some("2"));
    shop.place(2).await.unwrap();
    shop.change(4).await;
    shop.place(3).await.unwrap();
    assert_eq!((shop.shown().await, shop.available().await), (Some(1), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_numbers_agree_after_concurrent_changes() {
    let Some(shop) = Shop::open().await else { return };
    shop.engine.apply_events(&[product(&shop.product, "9.5", 500)]).await.unwrap();
    let buying = join_all((0..60).map(|n| {
        let shop = &shop;
        async move {
            let order = shop.place(1 + n % 3).await.ok()?;
            if n % 4 == 0 {
                shop.engine.cancel_order(&Caller::System, order.id, None).await.unwrap();
                return Some(0);
            }
            Some(i64::from(1 + n % 3))
        }
    }));
    let outside = join_all((0..60).map(|n| shop.change(if n % 2 == 0 { -2 } else { 1 })));
    let (bought, _) = tokio::join!(buying, outside);
    // The next placement applies the remaining external changes.
    let last = shop.place(1).await.unwrap();
    let held: i64 = bought.into_iter().flatten().sum();
    let expected = 500 - held - 60 + 30 - i64::from(last.lines[0].quantity);
    assert_eq!((shop.shown().await, shop.available().await), (Some(expected), expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_number_does_not_replace_a_newer_one() {
    let Some(shop) = Shop::open().await else { return };
    let keys = RedisStockProjection::new(Arc::clone(&shop.link));
    let level = |version, available| ProjectedStock {
        product: ProductId::parse(&shop.product).unwrap(),
        version,
        available,
        external_adjustment: 0,
    };
    for (version, available) in [(1, 10), (3, 7), (2, 9), (3, 7)] {
        keys.write(&[level(version, available)]).await.unwrap();
    }
    assert_eq!(shop.shown().await, Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_stock_keys_are_written_again() {
    let Some(shop) = Shop::open().await else { return };
    shop.engine.apply_events(&[product(&shop.product, "9.5", 10)]).await.unwrap();
    for whole in [true, false] {
        let mut redis = shop.redis.clone();
        let _: () = redis.del(shop.key()).await.unwrap();
        if whole {
            let _: () = redis.hdel("order_engine:stock", &shop.product).await.unwrap();
        }
        shop.engine.project_stock_since(chrono::DateTime::UNIX_EPOCH).await.unwrap();
        assert_eq!(shop.shown().await, Some(10));
    }
    assert_eq!(shop.available().await, 10, "nothing was taken for a change by others");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_stock_keys_are_replaced() {
    for nothing in ["many", "9223372036854775807", "-9223372036854775808", "9007199254740992"] {
        let Some(shop) = Shop::open().await else { return };
        let _: () = shop.redis.clone().set(shop.key(), nothing).await.unwrap();
        shop.engine.apply_events(&[product(&shop.product, "9.5", 10)]).await.unwrap();
        assert_eq!(shop.shown().await, Some(10), "{nothing}");
        let _: () = shop.redis.clone().set(shop.key(), nothing).await.unwrap();
        shop.place(3).await.unwrap();
        assert_eq!((shop.shown().await, shop.available().await), (Some(7), 7), "{nothing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_stock_is_decided_by_the_database() {
    let Some(database) = Database::new().await else { return };
    let nobody = RedisLink::new("redis://127.0.0.1:1/0", None, Duration::from_millis(200)).unwrap();
    let stock_projection =
        Some(Arc::new(RedisStockProjection::new(Arc::new(nobody))) as Arc<dyn StockProjection>);
    let engine = database.engine_with_ports(Ports { stock_projection, ..Ports::default() });
    engine.apply_events(&[product("1", "9.5", 2)]).await.unwrap();
    let began = Instant::now();
    for expected in [true, true, false] {
        let placed = engine.place_order(&Caller::System, request("1", &[("1", 1)], None)).await;
        assert_eq!(placed.is_ok(), expected);
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
