//! The API of a contract on a database of its own, called without a network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use chrono::Utc;
use order_engine::auth::{AuthOptions, Authenticator, Verifier};
use order_engine::contracts::Contract;
use order_engine::domain::ids::UserId;
use order_engine::engine::Engine;
use order_engine::server::ServerContext;
use order_engine::server::health::Probe;
use order_engine::server::metrics::Metrics;
use order_engine::server::open_limits::{OpenLimitOptions, OpenLimits};
use order_engine::server::rate_limit::{RateLimitOptions, RateLimiter};
use order_engine::server::request_log::RequestLog;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::harness::{Database, product};

/// The secret of the tests' tokens.
const SECRET: &str = "a-secret-of-the-tests-with-32-bytes-or-more";

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error} in {}: {}", self.status, self.text))
    }

    /// A header's value, empty where there is none.
    pub fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The API of one contract.
pub struct TestApi {
    pub database: Database,
    pub engine: Engine,
    pub router: Router,
    pub server: ServerContext,
}

impl TestApi {
    /// Opens one with product 1 (a thousand at 9.50) and 2 (five at 3.25); none where the tests
    /// were given no server.
    pub async fn open(contract: &dyn Contract) -> Option<Self> {
        Self::open_with(contract, Arc::new([]), Duration::from_secs(10)).await
    }

    /// As [`TestApi::open`], with parts to probe and a time for requests.
    pub async fn open_with(
        contract: &dyn Contract,
        probes: Arc<[Arc<dyn Probe>]>,
        time_max: Duration,
    ) -> Option<Self> {
        let database = Database::new().await?;
        let engine = database.engine(vec![contract.event_encoder()]);
        engine.apply_events(&[product("1", "9.5", 1000), product("2", "3.25", 5)]).await.unwrap();
        let verifier = Verifier::new(AuthOptions::new(SECRET.into())).unwrap();
        let server = ServerContext {
            contract: contract.name(),
            authenticator: Authenticator::Jwt(Arc::new(verifier)),
            metrics: Arc::new(Metrics::new()),
            probes,
            metrics_sources: Arc::new([]),
            pages_dir: None,
            time_max,
            rate_limiter: None,
            open_limits: Arc::new(OpenLimits::new(OpenLimitOptions::default())),
            request_log: RequestLog::Off,
            origins: Arc::default(),
            is_on_loopback: false,
            shutdown_pending: CancellationToken::new(),
            shutdown: CancellationToken::new(),
        };
        let router = contract.router(&engine, &server);
        Some(Self { database, engine, router, server })
    }

    /// Serves it with other limits, on a port of its own.
    pub async fn serve(
        &self,
        contract: &dyn Contract,
        limits: OpenLimitOptions,
        rates: Option<RateLimitOptions>,
    ) -> SocketAddr {
        let server = ServerContext {
            open_limits: Arc::new(OpenLimits::new(limits)),
            rate_limiter: rates.and_then(RateLimiter::new).map(Arc::new),
            ..self.server.clone()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = contract.router(&self.engine, &server);
        let listeners = vec![(listener, router)];
        tokio::spawn(order_engine::server::serve(
            listeners,
            None,
            server.shutdown,
            Duration::from_secs(1),
        ));
        address
    }

    fn verifier(&self) -> &Verifier {
        self.server.authenticator.verifier().expect("the apis of the tests go by tokens")
    }

    /// A good `Authorization` value of `user`.
    pub fn bearer(&self, user: &str, admin: bool) -> String {
        let user = UserId::parse(user).unwrap();
        let lifetime = Duration::from_hours(1);
        format!("Bearer {}", self.verifier().mint(&user, admin, lifetime, Utc::now()).unwrap())
    }

    /// An `Authorization` value that expired an hour ago.
    pub fn expired(&self, user: &str) -> String {
        let user = UserId::parse(user).unwrap();
        let then = Utc::now() - Duration::from_hours(2);
        let token = self.verifier().mint(&user, false, Duration::from_hours(1), then).unwrap();
        format!("Bearer {token}")
    }

    /// Sends a request.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.into()).expect("answers are UTF-8");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Posts JSON text to `/graphql`, with headers.
    pub async fn post(&self, body: impl Into<Body>, headers: &[(&str, &str)]) -> Answer {
        let mut request =
            Request::post("/graphql").header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Gets a path, with headers.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Calls a path of a REST api as a customer with an ordinary token.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        user: &str,
        body: Option<Value>,
    ) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, self.bearer(user, false));
        let body = body.map_or_else(Body::empty, |body| body.to_string().into());
        self.send(request.body(body).unwrap()).await
    }

    /// Asks as a customer with an ordinary token.
    pub async fn ask(&self, user: &str, query: &str) -> Answer {
        self.ask_with(user, query, json!({})).await
    }

    /// As [`TestApi::ask`], with variables.
    pub async fn ask_with(&self, user: &str, query: &str, variables: Value) -> Answer {
        let body = json!({"query": query, "variables": variables}).to_string();
        self.post(body, &[("authorization", &self.bearer(user, false))]).await
    }

    /// The data of an answer without errors.
    pub async fn data(&self, user: &str, query: &str) -> Value {
        let mut answer = self.ask(user, query).await.json();
        assert_eq!(answer.get("errors"), None, "{query}");
        answer["data"].take()
    }

    /// How many orders and messages there are.
    pub async fn written(&self) -> (i64, i64) {
        let orders = self.database.number("select count(*) from orders").await;
        let messages = self.database.number("select count(*) from outbox").await;
        (orders, messages)
    }
}
