//! Placing orders after checks by upstream services.

use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use order_engine::domain::external_event::{ExternalEvent, StockEvent};
use order_engine::domain::ids::{ProductId, UserId};
use order_engine::domain::quote::Quote;
use order_engine::engine::Engine;
use order_engine::engine::placing::PlacementResult;
use order_engine::engine::ports::{Ports, ProductService, UserService};
use order_engine::error::{Error, ErrorKind, Result};
use secrecy::SecretString;
use tokio::sync::watch;

use crate::harness::{Database, product, request, stock, user};

/// A product service that reads its answer when it is called, and returns it when it is allowed to.
struct Shelf {
    quotes: Mutex<Vec<Quote>>,
    asked: watch::Sender<usize>,
    open: watch::Sender<bool>,
    is_down: Mutex<bool>,
}

impl Shelf {
    fn new(quotes: &[(&str, &str, i64)]) -> Arc<Self> {
        let (asked, open) = (watch::Sender::new(0), watch::Sender::new(true));
        let shelf = Self { quotes: Mutex::default(), asked, open, is_down: Mutex::default() };
        let shelf = Arc::new(shelf);
        for (id, price, stock) in quotes {
            shelf.put(id, price, *stock);
        }
        shelf
    }

    fn put(&self, id: &str, price: &str, stock: i64) {
        let product = ProductId::parse(id).unwrap();
        let mut quotes = self.quotes.lock().unwrap();
        quotes.retain(|quote| quote.product != product);
        quotes.push(Quote { product, price: Some(price.parse().unwrap()), stock });
    }

    /// Waits until it was called this often.
    async fn was_asked(&self, times: usize) {
        self.asked.subscribe().wait_for(|asked| *asked >= times).await.unwrap();
    }
}

impl ProductService for Shelf {
    fn quotes<'a>(
        &'a self,
        products: &'a [ProductId],
        _token: Option<&'a SecretString>,
    ) -> BoxFuture<'a, Result<Vec<Quote>>> {
        async {
            if *self.is_down.lock().unwrap() {
                return Err(Error::new(ErrorKind::Unavailable, "down"));
            }
            let quotes = self.quotes.lock().unwrap().clone();
            self.asked.send_modify(|asked| *asked += 1);
            let _ = self.open.subscribe().wait_for(|open| *open).await;
            Ok(quotes.into_iter().filter(|quote| products.contains(&quote.product)).collect())
        }
        .boxed()
    }
}

impl UserService for Shelf {
    fn knows<'a>(
        &'a self,
        user: &'a UserId,
        _token: Option<&'a SecretString>,
    ) -> BoxFuture<'a, Result<bool>> {
        async { Ok(user.as_str() != "nobody") }.boxed()
    }
}

struct Shop {
    database: Database,
    engine: Engine,
}

impl Shop {
    async fn open(shelf: &Arc<Shelf>) -> Option<Self> {
        let database = Database::new().await?;
        let ports =
            Ports { users: Some(shelf.clone()), products: Some(shelf.clone()), ..Ports::default() };
        let engine = database.engine_with_ports(ports);
        Some(Self { database, engine })
    }

    async fn place(&self, items: &[(&str, u32)], key: Option<&str>) -> Result<PlacementResult> {
        self.engine
            .place_order_with_upstream_checks(&user("7"), request("7", items, key), None)
            .await
    }

    /// Price, reported and reserved units of product 1.
    async fn known(&self) -> (String, Option<i64>, i64) {
        let product = self.engine.get_product(&ProductId::parse("1").unwrap()).await.unwrap();
        let price = product.price.map(|price| price.to_string()).unwrap_or_default();
        (price, product.level.reported, product.level.reserved)
    }
}

fn known(price: &str, reported: i64, reserved: i64) -> (String, Option<i64>, i64) {
    (price.to_owned(), Some(reported), reserved)
}

#[tokio::test(flavor = "multi_thread")]
async fn quotes_are_stored_and_charged() {
    let shelf = Shelf::new(&[("1", "9.5", 10)]);
    let Some(shop) = Shop::open(&shelf).await else { return };
    let placed = shop.place(&[("1", 2)], None).await.unwrap();
    assert_eq!(placed.order.total, "19".parse().unwrap());
    assert_eq!(shop.known().await, known("9.5", 10, 2));
    shelf.put("1", "7.25", 8);
    let placed = shop.place(&[("1", 1)], None).await.unwrap();
    assert_eq!(placed.order.lines[0].unit_price, "7.25".parse().unwrap());
    assert_eq!(shop.known().await, known("7.25", 8, 1), "two are subtracted, and held no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_quote_does_not_overwrite_newer_messages() {
    let shelf = Shelf::new(&[("1", "9.5", 10)]);
    let Some(shop) = Shop::open(&shelf).await else { return };
    shop.place(&[("1", 1)], None).await.unwrap();
    shelf.put("1", "9.5", 9);
    shelf.open.send_replace(false);
    let late = tokio::spawn({
        let engine = shop.engine.clone();
        async move {
            let request = request("7", &[("1", 1)], None);
            engine.place_order_with_upstream_checks(&user("7"), request, None).await
        }
    });
    shelf.was_asked(2).await;
    // In between, the stock is sold and a price is published.
    shop.engine
        .apply_events(&[product("1", "12", 0), stock("1", 10), stock("1", 1)])
        .await
        .unwrap();
    let before = shop.known().await;
    shelf.open.send_replace(true);
    let error = late.await.unwrap().map(|placed| placed.order.lines.len());
    let after = shop.known().await;
    assert_eq!((&after.0, after.1), (&before.0, before.1), "the answer of 9 came too late");
    assert!(after.2 <= after.1.unwrap(), "{error:?}: never more than there are");
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_known_from_messages_is_not_overwritten_by_quotes() {
    let shelf = Shelf::new(&[("1", "8", 50)]);
    let Some(shop) = Shop::open(&shelf).await else { return };
    shop.engine.apply_events(&[product("1", "9.5", 10)]).await.unwrap();
    shop.place(&[("1", 1)], None).await.unwrap();
    assert_eq!(shop.known().await, known("8", 10, 1), "the price is, the stock is not");
    let error = shop.place(&[("1", 10)], None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfStock, "the reservation decides");
    shelf.put("1", "8", 3);
    let error = shop.place(&[("1", 4)], None).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.context_value("available")),
        (ErrorKind::OutOfStock, Some("3"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_overtaken_by_a_quote_are_no_restock() {
    let shelf = Shelf::new(&[("1", "9.5", 10)]);
    let Some(shop) = Shop::open(&shelf).await else { return };
    shop.place(&[("1", 5)], None).await.unwrap();
    shelf.put("1", "9.5", 5);
    shop.place(&[("1", 1)], None).await.unwrap();
    assert_eq!(shop.known().await, known("9.5", 5, 1));
    shop.engine.apply_events(&[stock("1", 10)]).await.unwrap();
    assert_eq!(shop.known().await, known("9.5", 5, 1), "an older number");
    shop.engine.apply_events(&[stock("1", 5)]).await.unwrap();
    shop.engine.apply_events(&[stock("1", 4)]).await.unwrap();
    assert_eq!(shop.known().await, known("9.5", 4, 0), "messages have caught up and take over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_concurrent_requests_do_not_oversell() {
    let shelf = Shelf::new(&[("1", "9.5", 10)]);
    let Some(shop) = Shop::open(&shelf).await else { return };
    let lines = [("1", 1)];
    let placed = join_all((0..100).map(|_| shop.place(&lines, None))).await;
    assert_eq!(placed.iter().filter(|placed| placed.is_ok()).count(), 10);
    assert_eq!(shop.known().await, known("9.5", 10, 10));
    assert_eq!(shop.database.number("select count(*) from orders").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_does_not_call_upstream_services() {
    let shelf = Shelf::new(&[("1", "9.5", 10)]);
    let Some(shop) = Shop::open(&shelf).await else { return };
    let first = shop.place(&[("1", 1)], Some("k")).await.unwrap();
    *shelf.is_down.lock().unwrap() = true;
    let again = shop.place(&[("1", 1)], Some("k")).await.unwrap();
    assert_eq!((again.order, again.replayed), (first.order, true));
    let other = shop.place(&[("1", 2)], Some("k")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::IdempotencyMismatch);
    let error = shop.place(&[("1", 1)], Some("new")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_service_is_checked_before_the_product_service() {
    let shelf = Shelf::new(&[]);
    let Some(shop) = Shop::open(&shelf).await else { return };
    let asked = request("nobody", &[("1", 1)], None);
    let error = shop
        .engine
        .place_order_with_upstream_checks(&user("nobody"), asked, None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownUser);
    let error = shop.place(&[("1", 1)], None).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.context_value("product_id")),
        (ErrorKind::ProductNotFound, Some("1"))
    );
    assert_eq!(shop.database.number("select count(*) from products").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_names_its_order_counts_despite_quotes() {
    let shelf = Shelf::new(&[("1", "9.5", 10)]);
    let Some(shop) = Shop::open(&shelf).await else { return };
    let placed = shop.place(&[("1", 4)], None).await.unwrap();
    let answer = StockEvent {
        product: ProductId::parse("1").unwrap(),
        quantity: 6,
        order: Some(placed.order.id),
    };
    shop.engine.apply_events(&[ExternalEvent::Stock(answer)]).await.unwrap();
    assert_eq!(shop.known().await, known("9.5", 6, 0));
}
