//! Executes GraphQL requests within the limits, for every transport: HTTP, server-sent events,
//! WebSocket and Python.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::parser::types::{OperationDefinition, OperationType, Selection};
use async_graphql::{Executor, Request, Response, ServerError, Value};
use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Result};
use crate::server::graphql::document_cache::DocumentCache;
use crate::server::graphql::error::{code_extension, graphql_error};
use crate::server::graphql::operation_summary;
use crate::server::graphql::spec_response::{FieldTypes, PreparedOperation};
use crate::server::graphql::variables::{self, TypeNames};
use crate::server::metrics::{Metrics, NO_OPERATION};
use crate::server::open_limits::OpenLimits;
use crate::server::rate_limit::RateLimiter;
use crate::server::request_log::{self, AnsweredRequest, RequestLog};
use crate::server::session::Session;
use crate::server::{ServerContext, rate_limit};

/// A contract's GraphQL API. Cheap to clone.
#[derive(Clone)]
pub struct GraphQl(Arc<Inner>);

struct Inner {
    schema: Box<dyn Schema>,
    types: FieldTypes,
    type_names: TypeNames,
    documents: DocumentCache,
    /// The root fields of the schema, which are labels of metrics.
    operations: &'static [&'static str],
    contract: &'static str,
    metrics: Arc<Metrics>,
    rate_limiter: Option<Arc<RateLimiter>>,
    open_limits: Arc<OpenLimits>,
    request_log: RequestLog,
    time_max: Duration,
    shutdown: CancellationToken,
}

/// A schema, without its three root types.
trait Schema: Send + Sync {
    fn run(&self, request: Request) -> BoxFuture<'_, Response>;
    fn stream(&self, request: Request) -> BoxStream<'static, Response>;
}

impl<E: Executor> Schema for E {
    fn run(&self, request: Request) -> BoxFuture<'_, Response> {
        self.execute(request).boxed()
    }

    fn stream(&self, request: Request) -> BoxStream<'static, Response> {
        self.execute_stream(request, None)
    }
}

/// How far a request was processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutionStage {
    /// It was executed. Fields may have failed.
    Executed,
    /// The document is invalid or exceeds a limit.
    Rejected,
    /// It is a mutation, and the transport (`GET`) only allows queries.
    MutationNotAllowed,
    /// It exceeded the time limit.
    TimedOut,
    /// The caller exceeded its rate limit. Seconds until the next request is allowed.
    RateLimited(u64),
}

impl ExecutionStage {
    /// The outcome in metrics and logs: `OK`, or why the request failed.
    pub(super) fn outcome(self, session: &Session) -> &'static str {
        match self {
            Self::RateLimited(_) => ErrorKind::RateLimited.code(),
            Self::Executed => session.failure().map_or(request_log::OK, ErrorKind::code),
            Self::Rejected | Self::MutationNotAllowed => "REFUSED",
            Self::TimedOut => ErrorKind::Unavailable.code(),
        }
    }

    /// The status of HTTP.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Executed => StatusCode::OK,
            Self::Rejected => StatusCode::BAD_REQUEST,
            Self::MutationNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
            Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
        }
    }
}

/// The result of a request.
#[derive(Debug)]
pub struct ExecutionResult {
    /// Data and errors.
    pub response: Response,
    /// How far the request was processed.
    pub stage: ExecutionStage,
}

/// A validated request.
struct PreparedRequest {
    request: Request,
    operation: PreparedOperation,
    label: &'static str,
}

impl GraphQl {
    /// An API with `schema`. `sdl` is the schema's definition, `operations` its root fields.
    pub fn new(
        schema: impl Executor,
        sdl: &str,
        operations: &'static [&'static str],
        server: &ServerContext,
    ) -> Self {
        Self(Arc::new(Inner {
            schema: Box::new(schema),
            types: FieldTypes::of(sdl),
            type_names: TypeNames::of(sdl),
            documents: DocumentCache::new(),
            operations,
            contract: server.contract,
            metrics: Arc::clone(&server.metrics),
            rate_limiter: server.rate_limiter.clone(),
            open_limits: Arc::clone(&server.open_limits),
            request_log: server.request_log,
            time_max: server.time_max,
            shutdown: server.shutdown.clone(),
        }))
    }

    /// The deadline of a request that starts now.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.0.time_max
    }

    /// Cancelled when the server stops.
    pub(super) fn shutdown(&self) -> &CancellationToken {
        &self.0.shutdown
    }

    /// What clients may hold open.
    pub(in crate::server) fn open_limits(&self) -> &OpenLimits {
        &self.0.open_limits
    }

    /// Counts a request or a ping against its caller's rate limit.
    ///
    /// # Errors
    /// `RateLimited`.
    pub(super) fn admit(&self, session: &Session) -> Result<()> {
        let limiter = self.0.rate_limiter.as_ref();
        let admitted = limiter.map_or(Ok(()), |limiter| limiter.admit(session));
        admitted.inspect_err(|_| self.0.metrics.rate_limited())
    }

    /// Executes a query or mutation. With `is_read_only`, mutations are rejected.
    pub async fn execute(
        &self,
        request: Request,
        session: Arc<Session>,
        is_read_only: bool,
        deadline: Instant,
    ) -> ExecutionResult {
        let began = Instant::now();
        let prepared = self.prepare(request, &session);
        self.execute_prepared(prepared, &session, is_read_only, deadline, began).await
    }

    /// Executes a request, if it is valid, and counts it.
    async fn execute_prepared(
        &self,
        prepared: std::result::Result<PreparedRequest, Box<ExecutionResult>>,
        session: &Session,
        is_read_only: bool,
        deadline: Instant,
        began: Instant,
    ) -> ExecutionResult {
        let (label, result) = match prepared {
            Err(rejected) => (NO_OPERATION, *rejected),
            Ok(prepared) => (prepared.label, self.run(prepared, is_read_only, deadline).await),
        };
        self.record(label, result.stage, session, began.elapsed());
        result
    }

    /// Counts a request, and logs it as the settings say.
    fn record(
        &self,
        operation: &'static str,
        stage: ExecutionStage,
        session: &Session,
        time: Duration,
    ) {
        let outcome = stage.outcome(session);
        self.0.metrics.request(self.0.contract, operation, outcome, time);
        self.log(operation, stage, session, time);
    }

    fn log(
        &self,
        operation: &'static str,
        stage: ExecutionStage,
        session: &Session,
        time: Duration,
    ) {
        let (contract, outcome) = (self.0.contract, stage.outcome(session));
        let status = stage.status();
        let answered = AnsweredRequest { contract, operation, outcome, status, time, session };
        self.0.request_log.record(&answered);
    }

    /// Which requests are logged.
    pub(super) fn request_log(&self) -> RequestLog {
        self.0.request_log
    }

    async fn run(
        &self,
        prepared: PreparedRequest,
        is_read_only: bool,
        deadline: Instant,
    ) -> ExecutionResult {
        let PreparedRequest { request, operation, .. } = prepared;
        match operation.definition().ty {
            OperationType::Mutation if is_read_only => {
                return ExecutionResult::mutation_not_allowed();
            }
            OperationType::Subscription => {
                let message = "Subscriptions need a WebSocket or Accept: text/event-stream.";
                return ExecutionResult::failed(
                    ExecutionStage::Rejected,
                    ErrorKind::InvalidInput,
                    message,
                );
            }
            OperationType::Query | OperationType::Mutation => {}
        }
        match timeout_at(deadline, self.0.schema.run(request)).await {
            Ok(response) => self.complete(response, &operation),
            Err(_) => ExecutionResult::failed(
                ExecutionStage::TimedOut,
                ErrorKind::Unavailable,
                "The request timed out and may still take effect. Retry it with the same \
                 Idempotency-Key.",
            ),
        }
    }

    /// Completes the library's response as the specification requires.
    ///
    /// The library gives an error no path if the whole document is invalid. An argument that only
    /// its resolver can check, such as an integer over 32 bits, also makes the document invalid, if
    /// no other field was executed.
    fn complete(&self, mut response: Response, operation: &PreparedOperation) -> ExecutionResult {
        let is_single_field = operation.definition().selection_set.node.items.len() == 1;
        let is_invalid_document = |error: &ServerError| {
            error.path.is_empty()
                || (is_single_field && error.path.len() == 1 && error.extensions.is_none())
        };
        let is_rejected = response.data == Value::Null
            && !response.errors.is_empty()
            && response.errors.iter().all(is_invalid_document);
        for error in &mut response.errors {
            // Errors of resolvers have a code already.
            error.extensions.get_or_insert_with(|| code_extension(ErrorKind::InvalidInput));
        }
        if is_rejected {
            for error in &mut response.errors {
                error.path.clear();
            }
            return ExecutionResult::rejected(response.errors);
        }
        self.0.types.complete(operation, &mut response);
        ExecutionResult { response, stage: ExecutionStage::Executed }
    }

    /// Executes any operation as a stream of responses. A subscription ends by itself, when its
    /// token expires, or when the server stops. Other operations have one response. With
    /// `is_read_only`, mutations are rejected.
    ///
    /// # Errors
    /// The result of a request that was rejected before execution.
    pub fn stream(
        &self,
        request: Request,
        session: Arc<Session>,
        is_read_only: bool,
    ) -> std::result::Result<BoxStream<'static, Response>, Box<ExecutionResult>> {
        let began = Instant::now();
        let prepared = self.prepare(request, &session).inspect_err(|rejected| {
            self.record(NO_OPERATION, rejected.stage, &session, began.elapsed());
        })?;
        match prepared.operation.definition().ty {
            OperationType::Subscription => {
                let label = prepared.label;
                let responses = self.subscribe(prepared, Arc::clone(&session));
                let stage =
                    responses.as_ref().map_or_else(|no| no.stage, |_| ExecutionStage::Executed);
                self.log(label, stage, &session, began.elapsed());
                return responses;
            }
            OperationType::Mutation if is_read_only => {
                let refused = ExecutionResult::mutation_not_allowed();
                self.record(prepared.label, refused.stage, &session, began.elapsed());
                return Err(Box::new(refused));
            }
            OperationType::Query | OperationType::Mutation => {}
        }
        let graphql = self.clone();
        let response = stream::once(async move {
            let (deadline, began) = (graphql.deadline(), Instant::now());
            let executing =
                graphql.execute_prepared(Ok(prepared), &session, is_read_only, deadline, began);
            executing.await.response
        });
        Ok(response.boxed())
    }

    /// Counts and logs a request that was rejected before execution.
    pub(super) fn record_rejected(&self, session: &Session) {
        self.record(NO_OPERATION, ExecutionStage::Rejected, session, Duration::ZERO);
    }

    fn subscribe(
        &self,
        prepared: PreparedRequest,
        session: Arc<Session>,
    ) -> std::result::Result<BoxStream<'static, Response>, Box<ExecutionResult>> {
        let slot = self.0.open_limits.subscription(&session).map_err(|error| {
            self.0.metrics.rate_limited();
            Box::new(ExecutionResult::rate_limited(&error))
        })?;
        let guard = (self.0.metrics.subscription(), slot);
        let shutdown = self.0.shutdown.clone();
        let was_authenticated = session.caller().is_ok();
        let left = session.time_left();
        let expired = async move {
            match was_authenticated {
                true => tokio::time::sleep(left).await,
                // The resolver returns the error, and the stream ends.
                false => std::future::pending().await,
            }
        };
        let end = async move {
            tokio::select! {
                () = shutdown.cancelled_owned() => {}
                () = expired => {}
            }
        };
        let expiry_error = stream::once(async move {
            let expired = session.caller().err().filter(|_| was_authenticated);
            expired.map(|error| Response::from_errors(vec![graphql_error(&error, None)]))
        });
        let graphql = self.clone();
        let responses = self
            .0
            .schema
            .stream(prepared.request)
            .take_until(end)
            .chain(expiry_error.filter_map(std::future::ready))
            .map(move |response| {
                // Dropped with the stream.
                let _ = &guard;
                graphql.complete(response, &prepared.operation).response
            });
        Ok(responses.boxed())
    }

    /// Applies the rate limit and validates the request.
    fn prepare(
        &self,
        request: Request,
        session: &Arc<Session>,
    ) -> std::result::Result<PreparedRequest, Box<ExecutionResult>> {
        self.admit(session).map_err(|error| Box::new(ExecutionResult::rate_limited(&error)))?;
        self.validate(request, session)
            .map_err(|errors| Box::new(ExecutionResult::rejected(errors)))
    }

    fn validate(
        &self,
        mut request: Request,
        session: &Arc<Session>,
    ) -> std::result::Result<PreparedRequest, Vec<ServerError>> {
        let document = self.0.documents.parse(&request.query).map_err(|error| vec![error])?;
        self.0.type_names.check(&document)?;
        let name = request.operation_name.as_deref();
        let Some(operation) = PreparedOperation::select(document, name) else {
            let message = match name {
                Some(_) => "The document has no operation with this operationName.",
                None => "The document has several operations; operationName must name one.",
            };
            return Err(vec![graphql_error(&Error::new(ErrorKind::InvalidInput, message), None)]);
        };
        variables::check_values(operation.definition(), &request.variables)?;
        if self.0.request_log != RequestLog::Off
            && let Some(order) =
                operation_summary::order(operation.definition(), &request.variables)
        {
            session.record_order(&order);
        }
        let label = self.label(operation.definition());
        request.set_parsed_query(operation.document().clone());
        Ok(PreparedRequest { request: request.data(Arc::clone(session)), operation, label })
    }

    /// The operation label of metrics: the only root field, if the schema has it.
    fn label(&self, operation: &OperationDefinition) -> &'static str {
        let [only] = operation.selection_set.node.items.as_slice() else {
            return "several";
        };
        let Selection::Field(field) = &only.node else {
            return "several";
        };
        let name = field.node.name.node.as_str();
        if name.starts_with("__") {
            return "introspection";
        }
        self.0
            .operations
            .iter()
            .find(|operation| **operation == name)
            .copied()
            .unwrap_or(NO_OPERATION)
    }
}

impl ExecutionResult {
    /// The response as JSON. It has `data` only if the request was executed.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct ResponseBody<'a> {
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [ServerError],
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a Value>,
        }
        let data = (self.stage == ExecutionStage::Executed).then_some(&self.response.data);
        let body = ResponseBody { errors: &self.response.errors, data };
        serde_json::to_vec(&body).unwrap_or_else(|error| {
            tracing::error!(%error, "a GraphQL response could not be serialised");
            br#"{"errors":[{"message":"Internal error.","extensions":{"code":"INTERNAL"}}]}"#
                .to_vec()
        })
    }

    /// A result with a single error.
    #[must_use]
    pub fn failed(stage: ExecutionStage, kind: ErrorKind, message: &str) -> Self {
        let errors = vec![graphql_error(&Error::new(kind, message), None)];
        Self { response: Response::from_errors(errors), stage }
    }

    fn rate_limited(error: &Error) -> Self {
        let stage = ExecutionStage::RateLimited(rate_limit::retry_after(error).unwrap_or(1));
        Self::failed(stage, error.kind(), error.message())
    }

    fn mutation_not_allowed() -> Self {
        let message = "Mutations must be sent by POST.";
        Self::failed(ExecutionStage::MutationNotAllowed, ErrorKind::InvalidInput, message)
    }

    fn rejected(errors: Vec<ServerError>) -> Self {
        Self { response: Response::from_errors(errors), stage: ExecutionStage::Rejected }
    }
}
