//! The contract `flask` against what running services of that kind have said on the wire, and
//! against bad input.

use axum::body::Body;
use axum::http::Request;
use order_engine::contracts::{self, Contract};
use order_engine::engine::ports::Delivery;
use serde_json::{Value, json};

use crate::test_api::TestApi;

fn flask() -> &'static dyn Contract {
    &contracts::flask::Flask
}

fn golden(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The value with every `id` left out, as the golden file has it.
fn without_ids(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                (key.clone(), if key == "id" { json!("<id>") } else { without_ids(value) })
            })
            .collect(),
        Value::Array(items) => items.iter().map(without_ids).collect(),
        other => other.clone(),
    }
}

/// Whether `answer` has everything that `recorded` has.
fn includes(answer: &Value, recorded: &Value) -> bool {
    match (answer, recorded) {
        (Value::Object(answer), Value::Object(recorded)) => recorded
            .iter()
            .all(|(key, value)| answer.get(key).is_some_and(|found| includes(found, value))),
        (Value::Array(answer), Value::Array(recorded)) => {
            recorded.iter().all(|value| answer.iter().any(|found| includes(found, value)))
        }
        (answer, recorded) => answer == recorded,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_exchanges_are_answered_as_recorded() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let golden = golden(include_str!("../golden/flask/exchanges.json"));
    for exchange in golden["exchanges"].as_array().unwrap() {
        let name = exchange["name"].as_str().unwrap();
        let asked = &exchange["request"];
        let mut request = Request::builder()
            .method(asked["method"].as_str().unwrap())
            .uri(asked["path"].as_str().unwrap());
        match asked["authorization"].as_str() {
            Some("<valid>") => request = request.header("authorization", api.bearer("1", false)),
            Some("<expired>") => request = request.header("authorization", api.expired("1")),
            Some(as_it_was) => request = request.header("authorization", as_it_was),
            None => {}
        }
        if let Some(accept) = asked["accept"].as_str() {
            request = request.header("accept", accept);
        }
        let body = match asked.get("body") {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let answer = api.send(request.body(body).unwrap()).await;
        let recorded = &exchange["response"];
        assert_eq!(json!(answer.status.as_u16()), recorded["status"], "{name}: {}", answer.text);
        let content_type = answer.header(axum::http::header::CONTENT_TYPE);
        assert_eq!(json!(content_type), recorded["content_type"], "{name}");
        match recorded["body"].as_str() {
            Some("<errors>") => {
                let answer = answer.json();
                assert!(answer["errors"][0]["message"].is_string(), "{name}: {answer}");
                assert!(answer["errors"][0]["locations"][0]["line"].is_u64(), "{name}: {answer}");
                assert_eq!(answer.get("data"), None, "{name}");
            }
            Some("<includes>") => {
                assert!(includes(&answer.json(), &recorded["includes"]), "{name}");
            }
            Some("<page>") => assert!(answer.text.starts_with("<!doctype html>"), "{name}"),
            Some(text) => assert_eq!(answer.text, text, "{name}"),
            None => assert_eq!(without_ids(&answer.json()), recorded["body"], "{name}"),
        }
    }
}

/// The body as the recorder wrote it, without what the engine adds behind, and every id a 1.
fn recorded_part(body: &str) -> String {
    let (kept, _) = body.split_once(", \"event_id\"").unwrap_or((body.trim_end_matches('}'), ""));
    let mut normal = String::new();
    let mut rest = kept;
    while let Some((before, after)) = rest.split_once("id\": ") {
        // Product and user ids count as they are.
        let is_free = before.ends_with("{\"") || before.ends_with("order_");
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        normal.push_str(before);
        normal.push_str("id\": ");
        normal.push_str(if is_free { "1" } else { &after[..digits] });
        rest = &after[digits..];
    }
    normal + rest
}

#[tokio::test(flavor = "multi_thread")]
async fn placed_orders_are_announced_byte_by_byte_as_recorded() {
    let Some(api) = TestApi::open(flask()).await else { return };
    for items in [
        "{product_id: 1, quantity: 2}",
        "{product_id: 1, quantity: 1}, {product_id: 1, quantity: 3}",
        "{product_id: 1, quantity: 1}",
    ] {
        let query =
            format!("mutation {{ createOrder(user_id: 1, order_items: [{items}]) {{ success }} }}");
        assert_eq!(api.data("1", &query).await["createOrder"]["success"], true);
    }
    let mut connection = api.database.connection().await;
    let written: Vec<(String, String, String)> =
        sqlx::query_as("select destination, topic, body from outbox order by id")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let golden = golden(include_str!("../golden/flask/events.json"));
    let recorded: Vec<_> = golden["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["routing_key"] == "order.placed")
        .map(|event| event["body"].as_str().unwrap())
        .collect();
    assert_eq!(written.len(), recorded.len());
    for ((destination, topic, body), recorded) in written.iter().zip(recorded) {
        assert_eq!((destination.as_str(), topic.as_str()), ("flask", "order.placed"));
        assert_eq!(recorded_part(body), recorded_part(recorded));
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["version"], 1);
        assert!(uuid::Uuid::parse_str(body["event_id"].as_str().unwrap()).is_ok());
    }
}

#[test]
fn recorded_stock_messages_are_understood() {
    let golden = golden(include_str!("../golden/flask/events.json"));
    let mut understood = 0;
    for event in golden["events"].as_array().unwrap() {
        if event["routing_key"] == "inventory.updated" {
            let delivery = Delivery {
                topic: "inventory.updated".to_owned(),
                body: event["body"].as_str().unwrap().as_bytes().to_vec(),
                ..Delivery::default()
            };
            understood += flask().message_decoder().decode(&delivery).unwrap().len();
        }
    }
    assert_eq!(understood, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_operations_work_as_documented() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let placed = api
        .data(
            "1",
            "mutation { placeOrder(userId: 1, productId: 1, quantity: 2) { success message order { \
             id userId productId quantity status } } }",
        )
        .await;
    let order = json!({
        "id": "1", "userId": 1, "productId": 1, "quantity": 2, "status": "Pending"
    });
    assert_eq!(
        placed["placeOrder"],
        json!({"success": true, "message": "Order created successfully.", "order": order})
    );
    let one = "{ getOrder(id: 1) { id userId productId quantity status } }";
    assert_eq!(api.data("1", one).await["getOrder"], order);
    let all = "{ getOrders { id userId productId quantity status } }";
    assert_eq!(api.data("1", all).await["getOrders"], json!([order]));
    let update = "mutation { updateOrder(id: 1, status: \"Shipped\") { success message } }";
    assert_eq!(
        api.data("1", update).await["updateOrder"],
        json!({"success": true, "message": "Order updated successfully."})
    );
    let back = "mutation { updateOrder(id: 1, status: \"PENDING\") { success message } }";
    let refusal = "An order that is Shipped cannot become Pending (allowed next: Delivered).";
    assert_eq!(
        api.data("1", back).await["updateOrder"],
        json!({"success": false, "message": refusal})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_document_promises_beside_them_works() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let placed = api
        .data(
            "1",
            "mutation { placeOrder(userId: 1, items: [{productId: 1, quantity: 2}, {productId: 2, \
             quantity: 1}]) { order { total total_amount currency address version items { \
             productId product_id quantity name unitPrice } } } }",
        )
        .await;
    assert_eq!(
        placed["placeOrder"]["order"],
        json!({
            "total": "22.25", "total_amount": 22.25, "currency": "USD", "address": null,
            "version": 1,
            "items": [
                {"productId": 1, "product_id": 1, "quantity": 2, "name": "Product 1",
                 "unitPrice": "9.50"},
                {"productId": 2, "product_id": 2, "quantity": 1, "name": "Product 2",
                 "unitPrice": "3.25"},
            ],
        })
    );
    let cancel = "mutation { cancelOrder(id: 1, reason: \"too late\") { success message order { \
                  status version history { version actor action previousStatus status reason } } } \
                  }";
    let cancelled = api.data("1", cancel).await;
    assert_eq!(
        cancelled["cancelOrder"],
        json!({
            "success": true, "message": "Order cancelled successfully.",
            "order": {"status": "Cancelled", "version": 2, "history": [
                {"version": 1, "actor": "1", "action": "placed", "previousStatus": null,
                 "status": "Pending", "reason": null},
                {"version": 2, "actor": "1", "action": "updated", "previousStatus": "Pending",
                 "status": "Cancelled", "reason": "too late"},
            ]},
        })
    );
    let delete = "mutation { deleteOrder(id: 1) { success message } }";
    assert_eq!(
        api.data("1", delete).await["deleteOrder"],
        json!({"success": true, "message": "Order deleted successfully."})
    );
    let gone = json!({"success": false, "message": "Order with id 1 not found", "orders": null});
    let order = "{ order(id: 1) { success message orders { id } } }";
    assert_eq!(api.data("1", order).await["order"], gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_every_order_once_and_cursors_fit_their_list() {
    let Some(api) = TestApi::open(flask()).await else { return };
    for _ in 0..5 {
        let place = "mutation { placeOrder(userId: 1, productId: 1, quantity: 1) { success } }";
        api.data("1", place).await;
    }
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let query = format!(
            "{{ orders(first: 2{after}) {{ edges {{ node {{ id }} }} pageInfo {{ endCursor \
             hasNextPage hasPreviousPage }} }} }}"
        );
        let mut page = api.data("1", &query).await["orders"].take();
        let edges = page["edges"].as_array_mut().unwrap();
        seen.extend(edges.iter_mut().map(|edge| edge["node"]["id"].take()));
        assert_eq!(page["pageInfo"]["hasPreviousPage"], !after.is_empty());
        let cursor = page["pageInfo"]["endCursor"].as_str().unwrap();
        after = format!(", after: \"{cursor}\"");
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(json!(seen), json!(["5", "4", "3", "2", "1"]));
    for list in [
        format!("status: \"pending\"{after}"),
        format!("userId: 1{after}"),
        "after: \"AAAAAAAAAAE\"".to_owned(),
        "after: \"'; drop table orders\"".to_owned(),
        "first: 0".to_owned(),
        "first: -1".to_owned(),
        "first: 1000000".to_owned(),
        "status: \"lost\"".to_owned(),
    ] {
        let query = format!("{{ orders({list}) {{ edges {{ cursor }} }} }}");
        let answer = api.ask("1", &query).await.json();
        assert_eq!(answer["data"]["orders"], Value::Null, "{list}");
        assert_eq!(answer["errors"][0]["extensions"]["code"], "INVALID_INPUT", "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_placements_get_the_reason_and_write_nothing() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let place = |arguments: &str| {
        format!("mutation {{ placeOrder({arguments}) {{ success message order {{ id }} }} }}")
    };
    for (arguments, message) in [
        ("userId: 1, productId: 1, quantity: 0", "The quantity of product 1"),
        ("userId: 1, productId: 1, quantity: -1", "The quantity of product 1"),
        ("userId: 1, productId: 99, quantity: 1", "Product with id 99 not found"),
        ("userId: 1, productId: -1, quantity: 1", "Product with id -1 not found"),
        (
            "userId: 1, productId: 2, quantity: 6",
            "Requested quantity of product ID 2 not available.",
        ),
        (
            "userId: 1, items: [{productId: 2, quantity: 3}, {productId: 2, quantity: 3}]",
            "Requested quantity of product ID 2 not available.",
        ),
        ("userId: 2, productId: 1, quantity: 1", "The token's user may not place orders"),
        ("userId: 1, items: []", "An order has at least one item."),
        ("userId: 1", "Give productId and quantity, or items"),
        ("userId: 1, productId: 1", "Give productId and quantity, or items"),
        (
            "userId: 1, productId: 1, quantity: 1, items: [{productId: 1, quantity: 1}]",
            "Give productId and quantity, or items",
        ),
        ("userId: 1, productId: 1, quantity: 1, idempotencyKey: \"\"", "An idempotency key is"),
    ] {
        let answer = api.ask("1", &place(arguments)).await;
        assert_eq!(answer.status, 200, "{arguments}");
        let placed = &answer.json()["data"]["placeOrder"];
        assert_eq!((&placed["success"], &placed["order"]), (&json!(false), &Value::Null));
        let reply = placed["message"].as_str().unwrap();
        assert!(reply.starts_with(message), "{arguments}: {reply}");
    }
    let lines = vec![json!({"product_id": 1, "quantity": 1}); 10_000];
    let many = "mutation($i: [OrderItemInput!]!) { createOrder(user_id: 1, order_items: $i) { \
                success message } }";
    let answer = api.ask_with("1", many, json!({"i": lines})).await.json();
    let reply = answer["data"]["createOrder"]["message"].as_str().unwrap();
    assert!(reply.contains("500") && reply.contains("10000"), "{reply}");
    for quantity in ["2147483648", "-2147483649", "1.5", "\"2\"", "true", "1e3", "[1, 2]"] {
        let literal = place(&format!("userId: 1, productId: 1, quantity: {quantity}"));
        let variable = "mutation($q: Int!) { placeOrder(userId: 1, productId: 1, quantity: $q) { \
                        success } }";
        let value: Value = serde_json::from_str(quantity).unwrap();
        for answer in
            [api.ask("1", &literal).await, api.ask_with("1", variable, json!({"q": value})).await]
        {
            assert_eq!(answer.status, 400, "{quantity}: {}", answer.text);
            assert_eq!(answer.json()["errors"][0]["extensions"]["code"], "INVALID_INPUT");
        }
    }
    assert_eq!(api.written().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_order_is_out_of_reach_by_every_way() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let place = "mutation { placeOrder(userId: 1, productId: 1, quantity: 1) { success } }";
    api.data("1", place).await;
    let before = api.written().await;
    for (id, query) in [
        ("1", "mutation { r: updateOrder(id: 1, status: \"shipped\") { success message } }"),
        ("1", "mutation { r: cancelOrder(id: 1) { success message } }"),
        ("1", "mutation { r: deleteOrder(id: 1) { success message } }"),
        ("1", "{ r: order(id: 1) { success message } }"),
        ("7", "mutation { r: cancelOrder(id: 7) { success message } }"),
        ("7", "{ r: order(id: \"7\") { success message } }"),
        ("abc", "{ r: order(id: \"abc\") { success message } }"),
    ] {
        let reply = api.data("2", query).await["r"].take();
        let message = format!("Order with id {id} not found");
        assert_eq!(reply, json!({"success": false, "message": message}), "{query}");
    }
    let one = api.ask("2", "{ getOrder(id: 1) { id } }").await.json();
    assert_eq!(one["data"], json!({"getOrder": null}));
    assert_eq!(one["errors"][0]["extensions"]["code"], "NOT_FOUND");
    let filtered = api.data("2", "{ orders(userId: 1) { edges { cursor } } }").await;
    assert_eq!(filtered["orders"]["edges"], json!([]));
    assert_eq!(api.data("2", "{ getOrders { id } }").await["getOrders"], json!([]));
    assert_eq!(api.written().await, before, "nothing was changed or announced");
    let body = json!({"query": "{ getOrder(id: 1) { id userId } }"}).to_string();
    let staff = api.post(body, &[("authorization", &api.bearer("2", true))]).await.json();
    assert_eq!(staff["data"]["getOrder"], json!({"id": "1", "userId": 1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_names_one_placement() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let place = |quantity: u32, key: &str| {
        format!(
            "mutation {{ placeOrder(userId: 1, productId: 1, quantity: {quantity}{key}) {{ \
             message order {{ id }} }} }}"
        )
    };
    let bearer = api.bearer("1", false);
    let with_header = async |query: String, key: &str| {
        let body = json!({"query": query}).to_string();
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        api.post(body, &headers).await.json()["data"]["placeOrder"].take()
    };
    let first = with_header(place(1, ""), "a").await;
    assert_eq!(first["order"]["id"], "1");
    assert_eq!(with_header(place(1, ""), "a").await, first, "a retry has the same answer");
    assert_eq!(with_header(place(1, ", idempotencyKey: \"a\""), "a").await, first);
    let argument = api.data("1", &place(1, ", idempotencyKey: \"a\"")).await;
    assert_eq!(argument["placeOrder"], first, "header and argument are one");
    for (query, key, reply) in [
        (place(2, ""), "a", "This idempotency key was used with another request"),
        (place(1, ", idempotencyKey: \"b\""), "a", "The Idempotency-Key header and"),
        (place(1, ""), "\u{e9}", "An idempotency key is"),
    ] {
        let refused = with_header(query, key).await;
        assert_eq!(refused["order"], Value::Null);
        assert!(refused["message"].as_str().unwrap().starts_with(reply), "{refused}");
    }
    assert_eq!(api.written().await, (1, 1));
    let twice = format!(
        "mutation {{ a: placeOrder(userId: 1, productId: 1, quantity: 1) {{ success }} b: {} }}",
        "placeOrder(userId: 1, productId: 1, quantity: 1) { success }"
    );
    let body = json!({"query": twice}).to_string();
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "c")];
    let answer = api.post(body, &headers).await.json();
    assert_eq!(answer["data"], json!({"a": {"success": true}, "b": {"success": false}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_other_contracts_are_field_errors_and_hide_nothing_else() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let hex = "66f1c0de66f1c0de66f1c0de";
    let wanted = crate::harness::request(hex, &[("1", 1)], None);
    api.engine.place_order(&crate::harness::user(hex), wanted).await.unwrap();
    let query = "{ getOrder(id: 1) { id status } a: getOrder(id: 1) { id userId } }";
    let body = json!({"query": query});
    let staff = api.bearer("2", true);
    let answer = api.post(body.to_string(), &[("authorization", &staff)]).await.json();
    assert_eq!(answer["data"], json!({"getOrder": {"id": "1", "status": "Pending"}, "a": null}));
    assert_eq!(answer["errors"][0]["path"], json!(["a", "userId"]));
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains(hex));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_postgresql_cannot_keep_is_refused() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let place = "mutation { placeOrder(userId: 1, productId: 1, quantity: 1) { success } }";
    api.data("1", place).await;
    let reason = "mutation($r: String) { cancelOrder(id: 1, reason: $r) { success message } }";
    for text in ["a\0b".to_owned(), "x".repeat(501)] {
        let answer = api.ask_with("1", reason, json!({"r": text})).await.json();
        let reply = &answer["data"]["cancelOrder"];
        assert_eq!(reply["success"], false, "{reply}");
        assert!(reply["message"].as_str().unwrap().starts_with("A reason is"), "{reply}");
    }
    let bearer = api.bearer("1", false);
    for body in [
        r#"{"query": "mutation { cancelOrder(id: 1, reason: \"\ud800\") { success } }"}"#,
        r#"{"query": "mutation { cancelOrder(id: 1, reason: \"\\ud800\") { success } }"}"#,
    ] {
        let answer = api.post(body, &[("authorization", &bearer)]).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
    }
    assert_eq!(api.written().await, (1, 1));
}
