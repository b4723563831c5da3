//! The HTTP layer and GraphQL over HTTP, as any client can see them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, header};
use axum::routing::get;
use futures_util::StreamExt as _;
use order_engine::contracts::{self, Contract};
use order_engine::server::health::Probe;
use serde_json::{Value, json};

use crate::test_api::TestApi;

fn flask() -> &'static dyn Contract {
    &contracts::flask::Flask
}

const TYPENAME: &str = r#"{"query": "{ __typename }"}"#;
const RESPONSE_JSON: &str = "application/graphql-response+json";

#[tokio::test(flavor = "multi_thread")]
async fn each_accept_header_gets_its_form_and_its_status() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let broken = r#"{"query": "{ nope }"}"#;
    for (accept, content_type, status) in [
        (None, "application/json", 400),
        (Some("*/*"), "application/json", 400),
        (Some("application/json, text/plain, */*"), "application/json", 400),
        (Some("application/json"), "application/json", 200),
        (Some(RESPONSE_JSON), "application/graphql-response+json; charset=utf-8", 400),
    ] {
        let headers: Vec<_> = accept.iter().map(|accept| ("accept", *accept)).collect();
        for (body, status) in [(TYPENAME, 200), (broken, status)] {
            let answer = api.post(body, &headers).await;
            assert_eq!(answer.status, status, "{accept:?} {body}");
            assert_eq!(answer.header(header::CONTENT_TYPE), content_type, "{accept:?}");
            assert_eq!(answer.json().get("data").is_some(), body == TYPENAME, "{accept:?}");
        }
    }
    // R3: proxies such as nginx must neither buffer nor compress the events.
    let events = api.post(TYPENAME, &[("accept", "text/event-stream")]).await;
    assert_eq!(events.header(header::HeaderName::from_static("x-accel-buffering")), "no");
    assert_eq!(events.header(header::CACHE_CONTROL), "no-store, no-transform");
    for accept in ["text/html", "image/png", "application/json;q=0"] {
        assert_eq!(api.post(TYPENAME, &[("accept", accept)]).await.status, 406, "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_json_is_taken_and_only_one_request_at_a_time() {
    let Some(api) = TestApi::open(flask()).await else { return };
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let request = Request::post("/graphql").header("content-type", content_type);
        let answer = api.send(request.body(Body::from(TYPENAME)).unwrap()).await;
        assert_eq!(answer.status, 415, "{content_type}");
        assert!(answer.json()["errors"][0]["message"].is_string());
    }
    let without = Request::post("/graphql").body(Body::from(TYPENAME)).unwrap();
    assert_eq!(api.send(without).await.status, 415);
    for body in ["", "{", "[]", r#"[{"query": "{ __typename }"}]"#, r#"{"query": 1}"#, "{}"] {
        for accept in ["*/*", "application/json", RESPONSE_JSON] {
            let answer = api.post(body, &[("accept", accept)]).await;
            assert_eq!(answer.status, 400, "{body} {accept}");
            assert_eq!(answer.json().get("data"), None);
        }
    }
    let huge = format!(r#"{{"query": "{}"}}"#, "x".repeat(10_000_000));
    assert_eq!(api.post(huge, &[]).await.status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn get_reads_and_never_writes() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let answer = api.get("/graphql?query=%7B__typename%7D", &[]).await;
    assert_eq!(answer.json(), json!({"data": {"__typename": "Query"}}));
    let named = "/graphql?query=query%20A(%24n%3A%20String!)%7B__type(name%3A%24n)%7Bname%7D%7D\
                 &variables=%7B%22n%22%3A%22Order%22%7D&operationName=A";
    assert_eq!(api.get(named, &[]).await.json()["data"]["__type"]["name"], "Order");
    for accept in ["*/*", "application/json", RESPONSE_JSON] {
        let mutation = "/graphql?query=mutation%7BdeleteOrder(id%3A1)%7Bsuccess%7D%7D";
        let answer = api.get(mutation, &[("accept", accept)]).await;
        assert_eq!((answer.status.as_u16(), answer.header(header::ALLOW)), (405, "POST"));
    }
    let json = [("accept", "application/json")];
    for path in ["/graphql", "/graphql?variables=x&query=%7B__typename%7D", "/graphql?a=1"] {
        assert_eq!(api.get(path, &json).await.status, 400, "{path}");
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let request = Request::builder().method(method).uri("/graphql").body(Body::empty());
        let answer = api.send(request.unwrap()).await;
        assert_eq!(answer.status, 405);
        assert!(answer.header(header::ALLOW).contains("POST"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a9_no_transport_that_only_reads_executes_a_mutation() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let token = api.bearer("1", false);
    let place = "/graphql?query=mutation%7BplaceOrder(userId%3A1%2CproductId%3A1%2Cquantity%3A1)\
                 %7Bsuccess%7D%7D";
    let named = format!("{place}&operationName=A").replace("mutation", "mutation%20A");
    let second = named.replace("query=", "query=query%20B%7B__typename%7D");
    for accept in ["text/event-stream", "*/*", "text/event-stream,*/*", RESPONSE_JSON] {
        for path in [place, &named, &second] {
            for method in [Method::GET, Method::HEAD] {
                let request = Request::builder().method(&method).uri(path);
                let request = request.header("accept", accept).header("authorization", &token);
                let answer = api.send(request.body(Body::empty()).unwrap()).await;
                let seen = (answer.status.as_u16(), answer.header(header::ALLOW));
                assert_eq!(seen, (405, "POST"), "{method} {accept} {path}");
            }
        }
    }
    assert_eq!(api.database.number("select count(*) from orders").await, 0);
    let query = "/graphql?query=%7B__typename%7D";
    let answer = api.get(query, &[("accept", "text/event-stream")]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains(r#""__typename":"Query""#), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn costly_documents_are_refused_quickly() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let many = |count: usize, part: &dyn Fn(usize) -> String| {
        (0..count).fold(String::new(), |mut text, n| {
            let _ = write!(text, "{} ", part(n));
            text
        })
    };
    let aliases = many(1000, &|n| format!("a{n}: getOrder(id: 1) {{ id }}"));
    let duplicates = many(1000, &|_| "__typename".to_owned());
    let mutations = many(5, &|n| format!("m{n}: cancelOrder(id: 1) {{ success }}"));
    let fragments = many(60, &|n| format!("fragment f{n} on Query {{ ...f{0} ...f{0} }}", n + 1));
    let unused = many(60, &|n| format!("fragment f{n} on Query {{ ...f{0} ...f{0} }}", n + 1));
    let directives = "@skip(if: false) ".repeat(5);
    let history = "history { version at action }";
    for (name, query) in [
        ("aliases", format!("{{ {aliases} }}")),
        ("duplicate fields", format!("{{ {duplicates} }}")),
        ("mutations", format!("mutation {{ {mutations} }}")),
        (
            "exponential fragments",
            format!("{{ ...f0 }} {fragments} fragment f60 on Query {{ __typename }}"),
        ),
        ("unused fragments", format!("{{ __typename }} {unused} fragment f60 on Query {{ a }}")),
        (
            "cyclic fragments",
            "{ ...a } fragment a on Query { ...b ...b } fragment b on Query { ...a ...a }".into(),
        ),
        ("directives", format!("{{ __typename {directives} }}")),
        (
            "deep introspection",
            format!(
                "{{ __schema {{ types {{ {} name {} }} }} }}",
                "fields { type { ".repeat(25),
                "} } ".repeat(25)
            ),
        ),
        (
            "introspection a little too deep",
            format!(
                "{{ __schema {{ types {{ {} name {} }} }} }}",
                "fields { type { ".repeat(7),
                "} } ".repeat(7)
            ),
        ),
        ("brackets", format!("{{ a(b: {}{}) }}", "[".repeat(50_000), "]".repeat(10_000))),
        ("length", " ".repeat(70_000)),
        ("cost", format!("{{ orders(first: 100) {{ edges {{ node {{ {history} }} }} }} }}")),
        ("cost of a list", format!("{{ getOrders {{ {history} }} }}")),
    ] {
        let began = Instant::now();
        let answer = api.ask("1", &query).await;
        let took = began.elapsed();
        assert_eq!(answer.status, 400, "{name}: {}", answer.text);
        assert_eq!(answer.json().get("data"), None, "{name}");
        assert!(took < Duration::from_millis(250), "{name} took {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn usual_tools_and_large_orders_stay_within_the_limits() {
    let Some(api) = TestApi::open(flask()).await else { return };
    // What GraphiQL and code generators send, as graphql-js 16 writes it.
    let introspection = "
        query IntrospectionQuery { __schema { queryType { name } mutationType { name }
          subscriptionType { name } types { ...FullType } directives { name description locations
          args { ...InputValue } } } }
        fragment FullType on __Type { kind name description specifiedByURL
          fields(includeDeprecated: true) { name description args { ...InputValue } type {
          ...TypeRef } isDeprecated deprecationReason } inputFields { ...InputValue } interfaces {
          ...TypeRef } enumValues(includeDeprecated: true) { name description isDeprecated
          deprecationReason } possibleTypes { ...TypeRef } }
        fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
        fragment TypeRef on __Type { kind name ofType { kind name ofType { kind name ofType { kind
          name ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType {
          kind name ofType { kind name } } } } } } } } } }";
    let body = json!({"query": introspection}).to_string();
    let answer = api.post(body, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json().get("errors"), None, "no token is needed for that");
    let items = "{productId: 1, quantity: 1} ".repeat(500);
    let place = format!("mutation {{ placeOrder(userId: 1, items: [{items}]) {{ success }} }}");
    assert_eq!(api.data("1", &place).await["placeOrder"]["success"], true);
    let all = "id userId user_id productId quantity status total total_amount currency address \
               version createdAt updatedAt items { id productId product_id quantity name \
               unitPrice }";
    let page = format!("{{ orders(first: 100) {{ edges {{ cursor node {{ {all} }} }} }} }}");
    api.data("1", &page).await;
    api.data("1", &format!("{{ getOrders {{ {all} }} }}")).await;
    let histories = "{ orders(first: 10) { edges { node { id history { version } } } } }";
    api.data("1", histories).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_suggested_to_those_who_guess() {
    let Some(api) = TestApi::open(flask()).await else { return };
    for query in
        ["{ getOrdes { id } }", "{ getOrder(di: 1) { id } }", "{ getOrder(id: 1) { ide } }"]
    {
        let answer = api.ask("1", query).await;
        assert_eq!(answer.status, 400);
        assert!(!answer.text.contains("mean"), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_needs_a_token_and_says_what_is_wrong_with_it() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let body = json!({"query": "{ getOrder(id: 1) { id } order(id: 1) { success message } }"});
    let good = api.bearer("1", false);
    let expired = api.expired("1");
    let tampered = format!("{good}x");
    for (authorization, code, message) in [
        (None, "TOKEN_MISSING", "Authorization header missing."),
        (Some("Basic abc"), "TOKEN_MISSING", "Authorization header missing."),
        (Some(expired.as_str()), "TOKEN_EXPIRED", "Token has expired."),
        (Some(tampered.as_str()), "TOKEN_INVALID", "Invalid token."),
    ] {
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
        let answer = api.post(body.to_string(), &headers).await;
        assert_eq!(answer.status, 200);
        let reply = answer.json();
        assert_eq!(reply["data"]["order"], json!({"success": false, "message": message}));
        assert_eq!(reply["errors"][0]["extensions"]["code"], code);
        assert_eq!(reply["errors"][0]["message"], message);
    }
    let twice = [("authorization", good.as_str()), ("authorization", good.as_str())];
    let reply = api.post(body.to_string(), &twice).await.json();
    assert_eq!(reply["errors"][0]["extensions"]["code"], "TOKEN_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_streams_events_until_its_order_is_deleted() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let place = "mutation { placeOrder(userId: 1, productId: 1, quantity: 1) { success } }";
    api.data("1", place).await;
    let watch = json!({"query": "subscription { orderUpdated(id: 1) { id status version } }"});
    let request = Request::post("/graphql")
        .header("content-type", "application/json")
        .header("accept", "text/event-stream")
        .header("authorization", api.bearer("1", false))
        .body(Body::from(watch.to_string()))
        .unwrap();
    let response = tower::ServiceExt::oneshot(api.router.clone(), request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body().into_data_stream();
    let confirm = "mutation { updateOrder(id: 1, status: \"confirmed\") { success } }";
    let delete = "mutation { deleteOrder(id: 1) { success } }";
    // While somebody watches, every later watch sees each change from its first moment on, and
    // the stream below is read before anything changes.
    let _watched = api.engine.watch(&crate::harness::user("1"), None).await.unwrap();
    let change = async {
        api.data("1", confirm).await;
        api.data("1", delete).await;
    };
    let read = async {
        let mut text = String::new();
        while let Some(chunk) = body.next().await {
            text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
        text
    };
    let limit = Duration::from_secs(30);
    let (text, ()) =
        tokio::time::timeout(limit, async { tokio::join!(read, change) }).await.expect("an end");
    let events: Vec<&str> = text.split("\n\n").filter(|event| event.starts_with("event")).collect();
    let shown = |status: &str, version: u32| {
        let order = json!({"id": "1", "status": status, "version": version});
        format!("event: next\ndata: {}", json!({"data": {"orderUpdated": order}}))
    };
    let expected = [shown("Confirmed", 2), shown("Cancelled", 3), "event: complete".to_owned()];
    assert_eq!(events, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_a_subscription_are_events() {
    let Some(api) = TestApi::open(flask()).await else { return };
    for (query, code) in [
        ("subscription { orderUpdated { id } }", "TOKEN_MISSING"),
        ("subscription { nope }", "INVALID_INPUT"),
        ("subscription {", "INVALID_INPUT"),
    ] {
        let body = json!({"query": query}).to_string();
        let answer = api.post(body.clone(), &[("accept", "text/event-stream")]).await;
        assert_eq!(answer.status, 200);
        let code = format!(r#""code":"{code}""#);
        assert!(answer.text.starts_with("event: next\ndata: {"), "{}", answer.text);
        assert!(answer.text.contains(&code), "{}", answer.text);
        assert!(answer.text.ends_with("event: complete\n\n"), "{}", answer.text);
        assert_eq!(api.post(body, &[]).await.status, 400, "not over plain HTTP");
    }
    let malformed = api.post("{", &[("accept", "text/event-stream")]).await;
    assert_eq!(malformed.status, 400);
    assert_eq!(malformed.header(header::CONTENT_TYPE), "application/json");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_a_page_that_says_how_to_get_the_playground() {
    let Some(api) = TestApi::open(flask()).await else { return };
    // N10: curl, the probes of load balancers and HEAD get it too.
    for accept in [vec![], vec![("accept", "*/*")]] {
        let answer = api.get("/graphql", &accept).await;
        assert_eq!(answer.status, 200, "{accept:?}");
        assert!(answer.header(header::CONTENT_TYPE).starts_with("text/html"), "{accept:?}");
        let head = Request::head("/graphql").body(Body::empty()).unwrap();
        let answer = api.send(head).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text, "");
    }
    let answer = api.get("/graphql", &[("accept", "application/json")]).await;
    assert_eq!(answer.status, 400, "there is no query");
    let answer = api.get("/graphql", &[("accept", "text/html,*/*;q=0.8")]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains("make build"));
    assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    assert!(answer.header(header::CONTENT_SECURITY_POLICY).contains("frame-ancestors 'none'"));
    assert_eq!(api.get("/", &[]).await.text, "server running");
    assert_eq!(api.get("/nope", &[]).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_orders_are_counted_by_outcome() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let place = |quantity: u32| {
        format!(
            "mutation {{ placeOrder(userId: 1, productId: 2, quantity: {quantity}) {{ success }} }}"
        )
    };
    api.data("1", &place(5)).await;
    api.data("1", &place(1)).await;
    api.ask("1", "{ nope }").await;
    api.ask("1", "{").await;
    let answer = api.get("/metrics", &[]).await;
    assert_eq!(answer.header(header::CONTENT_TYPE), "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        r#"order_engine_requests_total{DOOR,operation="placeOrder",outcome="OK"} 1"#,
        r#"order_engine_requests_total{DOOR,operation="placeOrder",outcome="OUT_OF_STOCK"} 1"#,
        r#"order_engine_requests_total{DOOR,operation="none",outcome="REFUSED"} 2"#,
        r#"order_engine_request_duration_seconds_count{DOOR,operation="placeOrder"} 2"#,
        r#"order_engine_orders_total{outcome="PLACED"} 1"#,
        r#"order_engine_orders_total{outcome="OUT_OF_STOCK"} 1"#,
        "order_engine_subscriptions 0",
        "# TYPE process_resident_memory_bytes gauge",
        "# TYPE process_cpu_seconds_total counter",
    ] {
        let line = line.replace("DOOR", r#"contract="flask""#);
        assert!(answer.text.lines().any(|found| found == line), "{line} in {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_request_times_out_with_a_message() {
    let parts: Arc<[Arc<dyn Probe>]> = Arc::new([]);
    let Some(api) = TestApi::open_with(flask(), parts, Duration::from_millis(200)).await else {
        return;
    };
    let mut blocker = api.database.connection().await;
    sqlx::raw_sql("begin; lock table orders in access exclusive mode")
        .execute(&mut blocker)
        .await
        .unwrap();
    let answer = api.ask("1", "{ getOrder(id: 1) { id } }").await;
    sqlx::raw_sql("rollback").execute(&mut blocker).await.unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["errors"][0]["extensions"]["code"], "UNAVAILABLE");
}

async fn panics() -> &'static str {
    panic!("a secret of the inside")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_one_fixed_answer() {
    let Some(mut api) = TestApi::open(flask()).await else { return };
    api.router = api.server.with_common_routes(Router::new().route("/panic", get(panics)));
    let answer = api.get("/panic", &[]).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.json()["errors"][0]["extensions"]["code"], "INTERNAL");
    assert!(!answer.text.contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_database_are_shown_without_their_cause() {
    let Some(api) = TestApi::open(flask()).await else { return };
    let mut connection = api.database.connection().await;
    sqlx::raw_sql("alter table orders rename to gone").execute(&mut connection).await.unwrap();
    let answer = api.ask("1", "{ getOrder(id: 1) { id } order(id: 1) { message } }").await;
    assert_eq!(answer.status, 200);
    let reply: Value = answer.json();
    assert_eq!(reply["errors"][0]["extensions"]["code"], "MISCONFIGURED");
    for inside in ["gone", "orders", "relation", "sql", "postgres"] {
        assert!(!answer.text.to_lowercase().contains(inside), "{inside}: {}", answer.text);
    }
}
