//! The APIs of a closed engine. They parse and check requests as usual, and then respond that the
//! engine is unavailable. No database is needed.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use order_engine::auth::Authenticator;
use order_engine::contracts;
use order_engine::domain::caller::Access;
use order_engine::domain::money::Currency;
use order_engine::domain::placement::PlacementLimits;
use order_engine::engine::{Engine, Rules};
use order_engine::server::ServerContext;
use order_engine::server::graphql::params::Params;
use order_engine::server::graphql::{ExecutionResult, GraphQl};
use order_engine::server::metrics::Metrics;
use order_engine::server::open_limits::{OpenLimitOptions, OpenLimits};
use order_engine::server::request_log::RequestLog;
use order_engine::server::session::Session;
use order_engine::store::{Store, StoreOptions};
use sqlx::postgres::PgConnectOptions;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::identity;

/// The status of a valid request.
pub const UNDERSTOOD: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
/// Time limit for a response.
const TIME_MAX: Duration = Duration::from_secs(20);

thread_local! {
    static APIS: Apis = Apis::open();
}

struct Apis {
    runtime: Runtime,
    routers: HashMap<&'static str, Router>,
    schemas: HashMap<&'static str, GraphQl>,
    server: ServerContext,
}

impl Apis {
    fn open() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let engine = runtime.block_on(async {
            let engine = Engine::new(Store::unconnected(&nowhere()), rules(), Vec::new());
            engine.close().await;
            engine
        });
        let (mut routers, mut schemas) = (HashMap::new(), HashMap::new());
        let entered = runtime.enter();
        for member in contracts::ALL {
            let contract = contracts::open(member.name).expect("a contract");
            let authenticator = match contract.operations() {
                [] => Authenticator::Disabled,
                _ => Authenticator::Jwt(identity::verifier()),
            };
            let server = server(member.name, authenticator);
            routers.insert(member.name, contract.router(&engine, &server));
            if let Some(schema) = contract.graphql(&engine, &server) {
                schemas.insert(member.name, schema);
            }
        }
        drop(entered);
        Self {
            runtime,
            routers,
            schemas,
            server: server("flask", Authenticator::Jwt(identity::verifier())),
        }
    }
}

fn nowhere() -> StoreOptions {
    StoreOptions {
        connect: PgConnectOptions::new_without_pgpass(),
        other_hosts: Vec::new(),
        address: "nowhere".to_owned(),
        schema: "order_engine".to_owned(),
        connections: 1,
        acquire_timeout: Duration::from_secs(1),
        statement_timeout: Duration::from_secs(1),
    }
}

fn rules() -> Rules {
    let placement = PlacementLimits::default();
    Rules { access: Access::Owner, placement, currency: Currency::NONE }
}

fn server(contract: &'static str, authenticator: Authenticator) -> ServerContext {
    ServerContext {
        contract,
        authenticator,
        metrics: Arc::new(Metrics::new()),
        probes: Arc::new([]),
        metrics_sources: Arc::new([]),
        pages_dir: None,
        time_max: TIME_MAX,
        rate_limiter: None,
        open_limits: Arc::new(OpenLimits::new(OpenLimitOptions::default())),
        request_log: RequestLog::Off,
        origins: Arc::default(),
        is_on_loopback: false,
        shutdown_pending: CancellationToken::new(),
        shutdown: CancellationToken::new(),
    }
}

/// The response of a contract's API.
pub fn send(contract: &str, request: Request<Body>) -> (StatusCode, Vec<u8>) {
    APIS.with(|apis| {
        let router = apis.routers[contract].clone();
        with_timeout(&apis.runtime, async {
            let Ok(response) = router.oneshot(request).await;
            let (parts, body) = response.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.expect("a whole answer");
            (parts.status, body.to_vec())
        })
    })
}

/// The result of a GraphQL request to a contract.
pub fn execute(contract: &str, params: Params) -> ExecutionResult {
    APIS.with(|apis| {
        let schema = &apis.schemas[contract];
        with_timeout(&apis.runtime, async {
            let authenticator = Authenticator::Jwt(identity::verifier());
            let session =
                Session::from_authorization(&authenticator, Some(identity::bearer())).await;
            schema.execute(params.into(), Arc::new(session), false, schema.deadline()).await
        })
    })
}

/// Runs a closure with the GraphQL API of `flask` and its context.
pub fn with_schema<T, F: Future<Output = T>>(run: impl FnOnce(GraphQl, ServerContext) -> F) -> T {
    APIS.with(|apis| {
        let schema = apis.schemas["flask"].clone();
        with_timeout(&apis.runtime, run(schema, apis.server.clone()))
    })
}

fn with_timeout<T>(runtime: &Runtime, work: impl Future<Output = T>) -> T {
    let work = async { tokio::time::timeout(TIME_MAX, work).await };
    runtime.block_on(work).expect("an answer in time")
}
