//! What every contract must do, run for each member of the family.
//!
//! A contract is asked through an adapter that knows how its clients spell things; what is
//! expected of the answers is the same for all.

use std::future::Future;

use axum::http::Method;
use order_engine::contracts::{self, Contract};
use order_engine::domain::caller::Caller;
use order_engine::domain::ids::OrderName;
use order_engine::domain::query::Consistency;
use order_engine::domain::status::OrderStatus;
use serde_json::{Value, json};

use crate::test_api::TestApi;

/// How clients of one contract spell what every contract can do.
trait Dialect {
    const NAME: &'static str;

    /// How many messages tell of a new order, and how many of one that is shipped.
    const MESSAGES: [i64; 2];

    /// Places two of product 1, for 19 altogether; the order's id as this contract shows it.
    fn place(api: &TestApi, user: &str) -> impl Future<Output = Option<String>>;

    /// The order's status in lower case, if the caller may see it.
    fn status(api: &TestApi, user: &str, id: &str) -> impl Future<Output = Option<String>>;

    /// Sets the order's status; whether it was done.
    fn set_status(api: &TestApi, user: &str, id: &str, status: &str) -> impl Future<Output = bool>;

    /// The ids of the caller's orders.
    fn list(api: &TestApi, user: &str) -> impl Future<Output = Vec<String>>;
}

struct Flask;

impl Dialect for Flask {
    const NAME: &'static str = "flask";
    const MESSAGES: [i64; 2] = [1, 1];

    async fn place(api: &TestApi, user: &str) -> Option<String> {
        let query = "mutation($u: Int!) { createOrder(user_id: $u, order_items: \
                     [{product_id: 1, quantity: 2}]) { success orders { id } } }";
        let variables = json!({"u": user.parse::<i32>().unwrap()});
        let answer = api.ask_with(user, query, variables).await.json();
        answer["data"]["createOrder"]["orders"][0]["id"].as_str().map(str::to_owned)
    }

    async fn status(api: &TestApi, user: &str, id: &str) -> Option<String> {
        let query = format!("{{ getOrder(id: {id}) {{ status }} }}");
        let answer = api.ask(user, &query).await.json();
        answer["data"]["getOrder"]["status"].as_str().map(str::to_lowercase)
    }

    async fn set_status(api: &TestApi, user: &str, id: &str, status: &str) -> bool {
        let query =
            format!("mutation {{ updateOrder(id: {id}, status: \"{status}\") {{ success }} }}");
        api.ask(user, &query).await.json()["data"]["updateOrder"]["success"] == true
    }

    async fn list(api: &TestApi, user: &str) -> Vec<String> {
        let orders = api.data(user, "{ getOrders { id } }").await;
        let orders = orders["getOrders"].as_array().cloned().unwrap_or_default();
        orders.iter().filter_map(|order| order["id"].as_str().map(str::to_owned)).collect()
    }
}

struct Jobs;

impl Dialect for Jobs {
    const NAME: &'static str = "jobs";
    // Of a new order one for each queue, of a shipped one a notification.
    const MESSAGES: [i64; 2] = [4, 1];

    async fn place(api: &TestApi, user: &str) -> Option<String> {
        let products = json!([{"productId": "1", "quantity": 2}]);
        let body = json!({"userId": user, "products": products, "totalAmount": 19.0});
        let answer = api.call(Method::POST, "/orders", user, Some(body)).await;
        (answer.status == 201).then(|| answer.json()["id"].as_str().unwrap().to_owned())
    }

    async fn status(api: &TestApi, user: &str, id: &str) -> Option<String> {
        let answer = api.call(Method::GET, &format!("/api/orders/{id}"), user, None).await;
        answer.json()["status"].as_str().map(str::to_owned)
    }

    async fn set_status(api: &TestApi, user: &str, id: &str, status: &str) -> bool {
        let body = Some(json!({"status": status}));
        api.call(Method::PUT, &format!("/orders/{id}"), user, body).await.status == 200
    }

    async fn list(api: &TestApi, user: &str) -> Vec<String> {
        let orders = api.call(Method::GET, "/orders", user, None).await.json();
        let id = |order: &Value| order["_id"].as_str().map(str::to_owned);
        orders.as_array().unwrap().iter().filter_map(id).collect()
    }
}

struct Gateway;

impl Dialect for Gateway {
    const NAME: &'static str = "gateway";
    const MESSAGES: [i64; 2] = [1, 1];

    async fn place(api: &TestApi, user: &str) -> Option<String> {
        let body = json!({"userId": user, "products": [{"_id": "1", "quantity": 2}]});
        let answer = api.call(Method::POST, "/", user, Some(body)).await;
        (answer.status == 201).then(|| answer.json()["_id"].as_str().unwrap().to_owned())
    }

    /// This dialect shows an order without its status.
    async fn status(api: &TestApi, user: &str, id: &str) -> Option<String> {
        let answer = api.call(Method::GET, &format!("/{id}"), user, None).await;
        let name = OrderName::parse(id).filter(|_| answer.status == 200)?;
        let order = api.engine.get_order(&Caller::System, name, Consistency::Latest).await.unwrap();
        Some(order.status.as_str().to_owned())
    }

    /// It has no call for this; the apis of other dialects do.
    async fn set_status(api: &TestApi, user: &str, id: &str, status: &str) -> bool {
        let Ok(status) = OrderStatus::parse(status) else { return false };
        let (user, name) = (crate::harness::user(user), OrderName::parse(id).unwrap());
        api.engine.change_status(&user, name, status, None).await.is_ok()
    }

    async fn list(api: &TestApi, user: &str) -> Vec<String> {
        let orders = api.call(Method::GET, "/", user, None).await.json();
        let id = |order: &Value| order["_id"].as_str().map(str::to_owned);
        orders.as_array().unwrap().iter().filter_map(id).collect()
    }
}

struct Storefront;

impl Dialect for Storefront {
    const NAME: &'static str = "storefront";
    const MESSAGES: [i64; 2] = [1, 1];

    async fn place(api: &TestApi, user: &str) -> Option<String> {
        let query = "mutation { placeOrder(input: \
                     {products: [{productId: \"1\", quantity: 2}]}) { _id } }";
        let answer = api.ask(user, query).await.json();
        answer["data"]["placeOrder"]["_id"].as_str().map(str::to_owned)
    }

    async fn status(api: &TestApi, user: &str, id: &str) -> Option<String> {
        let query = format!("{{ getOrder(orderId: \"{id}\") {{ status }} }}");
        let answer = api.ask(user, &query).await.json();
        answer["data"]["getOrder"]["status"].as_str().map(str::to_owned)
    }

    async fn set_status(api: &TestApi, user: &str, id: &str, status: &str) -> bool {
        let query = format!(
            "mutation {{ updateOrderStatus(input: {{orderId: \"{id}\", status: \"{status}\"}}) \
             {{ _id }} }}"
        );
        let answer = api.ask(user, &query).await.json();
        answer["data"]["updateOrderStatus"]["_id"] == id
    }

    async fn list(api: &TestApi, user: &str) -> Vec<String> {
        let orders = api.data(user, "{ getUserOrders { _id } }").await;
        let orders = orders["getUserOrders"].as_array().cloned().unwrap_or_default();
        orders.iter().filter_map(|order| order["_id"].as_str().map(str::to_owned)).collect()
    }
}

struct Stock;

impl Dialect for Stock {
    const NAME: &'static str = "stock";
    // A shipped order has no event.
    const MESSAGES: [i64; 2] = [1, 0];

    async fn place(api: &TestApi, user: &str) -> Option<String> {
        let body = json!({"userId": user, "products": [{"productId": "1", "quantity": 2}]});
        let answer = api.call(Method::POST, "/order/create", user, Some(body)).await;
        (answer.status == 201).then(|| answer.json()["order"]["_id"].as_str().unwrap().to_owned())
    }

    /// It shows an order only among those of its user.
    async fn status(api: &TestApi, user: &str, id: &str) -> Option<String> {
        let orders = api.call(Method::GET, "/order/1", user, None).await.json();
        let order = orders.as_array().unwrap().iter().find(|order| order["_id"] == id)?;
        order["status"].as_str().map(str::to_owned)
    }

    async fn set_status(api: &TestApi, user: &str, id: &str, status: &str) -> bool {
        let body = Some(json!({"status": status}));
        api.call(Method::PUT, &format!("/order/{id}"), user, body).await.status == 200
    }

    async fn list(api: &TestApi, user: &str) -> Vec<String> {
        let orders = api.call(Method::GET, "/order/all", user, None).await.json();
        let id = |order: &Value| order["_id"].as_str().map(str::to_owned);
        orders.as_array().unwrap().iter().filter_map(id).collect()
    }
}

async fn conforms<D: Dialect>() {
    let contract = contracts::open(D::NAME).unwrap();
    let Some(api) = TestApi::open(contract.as_ref()).await else { return };
    let id = D::place(&api, "1").await.expect("a placed order");

    assert_eq!(D::status(&api, "1", &id).await.as_deref(), Some("pending"), "visible at once");
    assert_eq!(D::list(&api, "1").await, std::slice::from_ref(&id));
    assert_eq!(announced(&api).await, D::MESSAGES[0], "announced");

    assert_eq!(D::status(&api, "2", &id).await, None, "another's order is a missing one");
    assert!(D::list(&api, "2").await.is_empty());
    assert!(!D::set_status(&api, "2", &id, "shipped").await);

    assert!(D::set_status(&api, "1", &id, "Shipped").await, "in any case");
    assert_eq!(D::status(&api, "1", &id).await.as_deref(), Some("shipped"));
    assert_eq!(announced(&api).await, D::MESSAGES.iter().sum::<i64>());
    assert!(D::set_status(&api, "1", &id, "shipped").await, "already so");
    assert!(!D::set_status(&api, "1", &id, "pending").await, "no way back");
    assert!(!D::set_status(&api, "1", &id, "lost").await, "no such state");
    let all = D::MESSAGES.iter().sum::<i64>();
    assert_eq!(announced(&api).await, all, "what changes nothing announces nothing");

    let name = OrderName::parse(&id).expect("an order's name");
    let order =
        api.engine.get_order(&crate::harness::user("1"), name, Consistency::Latest).await.unwrap();
    assert_eq!((order.version, order.total), (2, "19".parse().unwrap()));
    has_common_routes(&api, contract.as_ref()).await;
}

async fn announced(api: &TestApi) -> i64 {
    api.database.number("select count(*) from outbox").await
}

async fn has_common_routes(api: &TestApi, contract: &dyn Contract) {
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = api.get(path, &[]).await;
        assert_eq!(answer.status, 200, "{} {path}", contract.name());
    }
    let ready: Value = api.get("/readyz", &[]).await.json();
    assert_eq!(ready["status"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn flask_conforms() {
    conforms::<Flask>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_conforms() {
    conforms::<Jobs>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_conforms() {
    conforms::<Gateway>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn storefront_conforms() {
    conforms::<Storefront>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_conforms() {
    conforms::<Stock>().await;
}

#[test]
fn every_contract_is_run() {
    let run = [Flask::NAME, Jobs::NAME, Gateway::NAME, Storefront::NAME, Stock::NAME];
    let all: Vec<_> = contracts::ALL.iter().map(|member| member.name).collect();
    assert_eq!(all, run, "add a dialect and a test for each contract");
}
