//! Stock numbers that name the order they answer, with a real PostgreSQL.

use order_engine::domain::external_event::{ExternalEvent, StockEvent};
use order_engine::domain::ids::{OrderId, ProductId};
use order_engine::engine::Engine;

use crate::harness::{Database, product, request, user};

const REPORTED: &str = "select reported from products where product_id = '1'";
const RESERVED: &str = "select reserved from products where product_id = '1'";

/// A shop with some units of product 1.
struct Shop {
    database: Database,
    engine: Engine,
}

impl Shop {
    async fn with(units: i64) -> Option<Self> {
        let database = Database::new().await?;
        let engine = database.engine(vec![]);
        engine.apply_events(&[product("1", "1", units)]).await.unwrap();
        Some(Self { database, engine })
    }

    async fn buy(&self, buyer: &str) -> Option<OrderId> {
        let request = request(buyer, &[("1", 1)], None);
        let placed = self.engine.place_order(&user(buyer), request).await;
        placed.ok().map(|placed| placed.order.id)
    }

    async fn cancel(&self, buyer: &str, order: OrderId) {
        self.engine.cancel_order(&user(buyer), order, None).await.unwrap();
    }

    async fn answer(&self, order: OrderId, quantity: i64) {
        let product = ProductId::parse("1").unwrap();
        let event = StockEvent { product, quantity, order: Some(order) };
        self.engine.apply_events(&[ExternalEvent::Stock(event)]).await.unwrap();
    }

    async fn level(&self) -> (i64, i64) {
        (self.database.number(REPORTED).await, self.database.number(RESERVED).await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a2_answers_that_overtake_each_other_do_not_oversell() {
    let Some(shop) = Shop::with(2).await else { return };
    let (first, second) = (shop.buy("a").await.unwrap(), shop.buy("b").await.unwrap());
    shop.answer(second, 0).await;
    shop.answer(first, 1).await;
    assert_eq!(shop.level().await, (0, 0));
    assert_eq!(shop.buy("c").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_an_answer_to_a_cancellation_makes_the_unit_sellable_once() {
    let Some(shop) = Shop::with(1).await else { return };
    let order = shop.buy("a").await.unwrap();
    shop.answer(order, 0).await;
    shop.cancel("a", order).await;
    assert_eq!(shop.level().await, (0, 0));
    for _ in 0..2 {
        shop.answer(order, 1).await;
        assert_eq!(shop.level().await, (1, 0));
    }
    assert!(shop.buy("b").await.is_some());
    shop.answer(order, 1).await;
    assert_eq!((shop.level().await, shop.buy("c").await), ((1, 1), None), "not a second time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_both_answers_to_an_order_that_was_cancelled_first_come_in_any_order() {
    for answers in [[0, 1], [1, 0]] {
        let Some(shop) = Shop::with(1).await else { return };
        let order = shop.buy("a").await.unwrap();
        shop.cancel("a", order).await;
        for quantity in answers {
            shop.answer(order, quantity).await;
        }
        assert_eq!(shop.level().await, (1, 0), "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a3_an_answer_to_a_cancellation_may_arrive_after_one_to_a_later_order() {
    let Some(shop) = Shop::with(2).await else { return };
    let (first, second) = (shop.buy("a").await.unwrap(), shop.buy("b").await.unwrap());
    shop.answer(first, 1).await;
    shop.cancel("a", first).await;
    // The service put the unit back before it subtracted the second order.
    shop.answer(second, 1).await;
    shop.answer(first, 2).await;
    assert_eq!(shop.level().await, (1, 0));
}
