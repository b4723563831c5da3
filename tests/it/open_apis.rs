//! APIs without authentication: who reaches them, and from which pages.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use order_engine::app::{App, Headers, InProcessRequest};
use order_engine::auth::Authenticator;
use order_engine::contracts;
use order_engine::server::ServerContext;
use order_engine::server::request_origin::OriginOptions;
use order_engine::setting::{Problems, Values};
use serde_json::json;

use crate::test_api::TestApi;

/// The contract `gateway` on a loopback address.
async fn open(authenticator: Option<Authenticator>, origins: OriginOptions) -> Option<TestApi> {
    let gateway =
        (contracts::gateway::DEFINITION.open)(&Values::default(), &mut Problems::default());
    let mut api = TestApi::open(gateway.as_ref()).await?;
    // The api itself keeps the verifier that signs tokens.
    let server = ServerContext {
        authenticator: authenticator.unwrap_or_else(|| api.server.authenticator.clone()),
        origins: Arc::new(origins),
        is_on_loopback: true,
        ..api.server.clone()
    };
    api.router = gateway.router(&api.engine, &server);
    Some(api)
}

/// Places an order as a page of `origin` would, at the name `host`.
async fn place(api: &TestApi, host: &str, origin: Option<&str>) -> StatusCode {
    let body = json!({"userId": "1", "products": [{"_id": "1", "quantity": 1}]}).to_string();
    let mut request = Request::post("/")
        .header("content-type", "application/json")
        .header("authorization", api.bearer("1", false))
        .header("host", host);
    if let Some(origin) = origin {
        request = request.header("origin", origin);
    }
    api.send(request.body(body.into()).unwrap()).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_pages_of_other_sites_do_not_reach_an_open_api() {
    let open_api = open(Some(Authenticator::Disabled), OriginOptions::default());
    let Some(api) = open_api.await else { return };
    for (host, origin) in [
        ("rebind.example:8002", None),
        ("rebind.example:8002", Some("http://rebind.example:8002")),
        ("localhost:8002", Some("https://evil.example")),
        ("localhost:8002", Some("null")),
    ] {
        assert_eq!(place(&api, host, origin).await, 403, "{host} {origin:?}");
    }
    assert_eq!(api.written().await.0, 0);
    for (host, origin) in
        [("localhost:8002", None), ("127.0.0.1:8002", Some("http://127.0.0.1:8002"))]
    {
        assert_eq!(place(&api, host, origin).await, 201, "{host} {origin:?}");
    }
    let probe = Request::get("/healthz").header("host", "10.0.0.7").body(Body::empty()).unwrap();
    assert_eq!(api.send(probe).await.status, 200, "probes call by address");
}

#[tokio::test(flavor = "multi_thread")]
async fn a15_browsers_call_from_the_origins_of_the_settings_only() {
    let shop = "https://shop.example.com";
    let origins = OriginOptions { allowed_hosts: Vec::new(), cors_origins: vec![shop.to_owned()] };
    let Some(api) = open(None, origins).await else { return };
    let preflight = async |origin: &str| {
        let request = Request::builder()
            .method(Method::OPTIONS)
            .uri("/")
            .header("host", "api.example.com")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type");
        api.send(request.body(Body::empty()).unwrap()).await
    };
    let allowed = preflight(shop).await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.headers["access-control-allow-origin"], shop);
    assert_eq!(allowed.headers["vary"], "origin");
    for (header, value) in [
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "authorization"),
        ("access-control-allow-headers", "idempotency-key"),
    ] {
        let listed = allowed.headers[header].to_str().unwrap();
        assert!(listed.contains(value), "{header}: {listed}");
    }
    let other = preflight("https://evil.example").await;
    assert!(!other.headers.contains_key("access-control-allow-origin"));
    assert_eq!(place(&api, "api.example.com", Some(shop)).await, 201);
    let read = Request::get("/").header("origin", shop).body(Body::empty()).unwrap();
    let answer = api.send(read).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.headers["access-control-allow-origin"], shop, "errors can be read too");
    let without = open(None, OriginOptions::default()).await.unwrap();
    let read = Request::get("/").header("origin", shop).body(Body::empty()).unwrap();
    let answer = without.send(read).await;
    assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control")));
}

async fn list(app: &App, client: Option<IpAddr>) -> u16 {
    let request = InProcessRequest {
        method: "GET".to_owned(),
        target: "/".to_owned(),
        headers: Headers::new(),
        client,
        body: Vec::new(),
    };
    app.answer(request).await.unwrap().status
}

#[tokio::test]
async fn n15_only_the_given_networks_need_no_authentication() {
    let flags = [
        ("contract", "gateway"),
        ("gateway_auth", "none"),
        ("gateway_auth_networks", "10.0.0.0/8, ::1"),
    ];
    let Some(app) = crate::embedded::open(&flags).await else { return };
    for (client, status) in [
        (Some("10.1.2.3"), 200),
        (Some("::1"), 200),
        (Some("11.1.2.3"), 401),
        (Some("127.0.0.1"), 401),
        (None, 401),
    ] {
        let client = client.map(|text| text.parse().unwrap());
        assert_eq!(list(&app, client).await, status, "{client:?}");
    }
    app.close().await;
}
