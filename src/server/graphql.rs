//! A GraphQL schema behind its limits, for every transport: HTTP, event streams, sockets and
//! Python.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::parser::types::{OperationDefinition, OperationType, Selection};
use async_graphql::{ErrorExtensionValues, Executor, Pos, Request, Response, ServerError, Value};
use axum::Router;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};
use crate::server::completion::{Asked, Types};
use crate::server::documents::Documents;
use crate::server::metrics::{Metrics, NO_OPERATION};
use crate::server::playground::Playground;
use crate::server::rates::Rates;
use crate::server::session::Session;
use crate::server::variables::TypeNames;
use crate::server::{Shell, graphql_http, rates, variables};

/// A schema that can be asked. Cheap to clone.
#[derive(Clone)]
pub struct GraphQl(Arc<Inner>);

struct Inner {
    schema: Box<dyn Schema>,
    types: Types,
    type_names: TypeNames,
    documents: Documents,
    /// The fields at the roots of the schema, which may be labels of metrics.
    operations: &'static [&'static str],
    contract: &'static str,
    metrics: Arc<Metrics>,
    rates: Option<Arc<Rates>>,
    time_max: Duration,
    shutdown: CancellationToken,
}

/// Any schema: its three root types do not matter here.
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

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It was executed, with whatever result.
    Executed,
    /// Its document cannot be executed.
    Refused,
    /// It would change something, and the transport only reads.
    NotForReading,
    /// It was not done in time.
    OutOfTime,
    /// Its caller asks too often, and may ask again after so many seconds.
    TooOften(u64),
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answered {
    /// Data and errors.
    pub response: Response,
    /// How far the request came.
    pub stage: Stage,
}

/// A checked request.
struct Prepared {
    request: Request,
    asked: Asked,
    label: &'static str,
}

impl GraphQl {
    /// `schema`, described by `sdl`, whose root fields are `operations`, behind the limits of
    /// `shell`.
    pub fn new(
        schema: impl Executor,
        sdl: &str,
        operations: &'static [&'static str],
        shell: &Shell,
    ) -> Self {
        Self(Arc::new(Inner {
            schema: Box::new(schema),
            types: Types::of(sdl),
            type_names: TypeNames::of(sdl),
            documents: Documents::new(),
            operations,
            contract: shell.contract,
            metrics: Arc::clone(&shell.metrics),
            rates: shell.rates.clone(),
            time_max: shell.time_max,
            shutdown: shell.shutdown.clone(),
        }))
    }

    /// The routes of this schema: `/graphql` with its transports and the playground.
    pub fn routes(self, shell: &Shell) -> Router {
        let page = Playground::new(shell);
        let files = page.files();
        graphql_http::routes(self, shell.authenticator.clone(), page).merge(files)
    }

    /// Until when a request that begins now may take.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.0.time_max
    }

    /// Cancelled when the server is to stop.
    pub(super) fn shutdown(&self) -> &CancellationToken {
        &self.0.shutdown
    }

    /// Executes a query or, unless it `only_reads`, a mutation.
    pub async fn execute(
        &self,
        request: Request,
        session: Arc<Session>,
        only_reads: bool,
        deadline: Instant,
    ) -> Answered {
        let began = Instant::now();
        let prepared = self.prepare(request, &session);
        self.conclude(prepared, &session, only_reads, deadline, began).await
    }

    /// Executes what may be executed, and counts the request.
    async fn conclude(
        &self,
        prepared: std::result::Result<Prepared, Box<Answered>>,
        session: &Session,
        only_reads: bool,
        deadline: Instant,
        began: Instant,
    ) -> Answered {
        let (label, answered) = match prepared {
            Err(refused) => (NO_OPERATION, *refused),
            Ok(prepared) => (prepared.label, self.run(prepared, only_reads, deadline).await),
        };
        let outcome = match answered.stage {
            Stage::TooOften(_) => ErrorKind::RateLimited.code(),
            Stage::Executed => session.failure().map_or("OK", ErrorKind::code),
            Stage::Refused | Stage::NotForReading => "REFUSED",
            Stage::OutOfTime => ErrorKind::Unavailable.code(),
        };
        self.0.metrics.request(self.0.contract, label, outcome, began.elapsed());
        answered
    }

    async fn run(&self, prepared: Prepared, only_reads: bool, deadline: Instant) -> Answered {
        let Prepared { request, asked, .. } = prepared;
        match asked.operation().ty {
            OperationType::Mutation if only_reads => {
                let message = "Mutations must be sent by POST.";
                return Answered::failed(Stage::NotForReading, ErrorKind::InvalidInput, message);
            }
            OperationType::Subscription => {
                let message = "A subscription needs a WebSocket or Accept: text/event-stream.";
                return Answered::failed(Stage::Refused, ErrorKind::InvalidInput, message);
            }
            OperationType::Query | OperationType::Mutation => {}
        }
        match timeout_at(deadline, self.0.schema.run(request)).await {
            Ok(response) => self.answered(response, &asked),
            Err(_) => Answered::failed(
                Stage::OutOfTime,
                ErrorKind::Unavailable,
                "The request was not done in time and may still take effect; repeat it with the \
                 same Idempotency-Key.",
            ),
        }
    }

    /// The library tells by the path of an error whether a field failed or the whole document. The
    /// value of an argument that only its resolver refused, a number beyond 32 bits, is the
    /// document's fault too, as long as nothing else can have been executed.
    fn answered(&self, mut response: Response, asked: &Asked) -> Answered {
        let is_alone = asked.operation().selection_set.node.items.len() == 1;
        let is_refusal = |error: &ServerError| {
            error.path.is_empty()
                || (is_alone && error.path.len() == 1 && error.extensions.is_none())
        };
        let refused = response.data == Value::Null
            && !response.errors.is_empty()
            && response.errors.iter().all(is_refusal);
        for error in &mut response.errors {
            // Whatever a resolver says has a code.
            error.extensions.get_or_insert_with(|| code(ErrorKind::InvalidInput));
        }
        if refused {
            for error in &mut response.errors {
                error.path.clear();
            }
            return Answered::refused(response.errors);
        }
        self.0.types.complete(asked, &mut response);
        Answered { response, stage: Stage::Executed }
    }

    /// Executes any operation; a subscription goes on until it ends, its token expires or the
    /// server stops.
    pub fn stream(&self, request: Request, session: Arc<Session>) -> BoxStream<'static, Response> {
        match self.prepare(request, &session) {
            Err(refused) => {
                self.count_refused();
                stream::iter([refused.response]).boxed()
            }
            Ok(prepared) if prepared.asked.operation().ty == OperationType::Subscription => {
                self.watch(prepared, session)
            }
            Ok(prepared) => {
                let graphql = self.clone();
                stream::once(async move {
                    let (deadline, began) = (graphql.deadline(), Instant::now());
                    graphql.conclude(Ok(prepared), &session, false, deadline, began).await.response
                })
                .boxed()
            }
        }
    }

    /// Counts a request of which nothing can be executed.
    pub(super) fn count_refused(&self) {
        self.0.metrics.request(self.0.contract, NO_OPERATION, "REFUSED", Duration::ZERO);
    }

    fn watch(&self, prepared: Prepared, session: Arc<Session>) -> BoxStream<'static, Response> {
        let open = self.0.metrics.subscription();
        let shutdown = self.0.shutdown.clone();
        let was_good = session.caller().is_ok();
        let left = session.time_left();
        let expired = async move {
            match was_good {
                true => tokio::time::sleep(left).await,
                // The stream says what is wrong, and ends by itself.
                false => std::future::pending().await,
            }
        };
        let over = async move {
            tokio::select! {
                () = shutdown.cancelled_owned() => {}
                () = expired => {}
            }
        };
        let farewell = stream::once(async move {
            let expired = session.caller().err().filter(|_| was_good);
            expired.map(|error| Response::from_errors(vec![told(&error, None)]))
        });
        let graphql = self.clone();
        self.0
            .schema
            .stream(prepared.request)
            .take_until(over)
            .chain(farewell.filter_map(std::future::ready))
            .map(move |response| {
                // Counted for as long as the stream lives.
                let _ = &open;
                graphql.answered(response, &prepared.asked).response
            })
            .boxed()
    }

    /// Everything that can be refused before anything is executed.
    fn prepare(
        &self,
        request: Request,
        session: &Arc<Session>,
    ) -> std::result::Result<Prepared, Box<Answered>> {
        if let Some(rates) = &self.0.rates
            && let Err(error) = rates.admit(session)
        {
            self.0.metrics.rate_limited();
            let stage = Stage::TooOften(rates::retry_after(&error).unwrap_or(1));
            return Err(Box::new(Answered::failed(stage, error.kind(), error.message())));
        }
        self.check(request, session).map_err(|errors| Box::new(Answered::refused(errors)))
    }

    fn check(
        &self,
        mut request: Request,
        session: &Arc<Session>,
    ) -> std::result::Result<Prepared, Vec<ServerError>> {
        let document = self.0.documents.read(&request.query).map_err(|error| vec![error])?;
        self.0.type_names.check(&document)?;
        let name = request.operation_name.as_deref();
        let Some(asked) = Asked::of(document, name) else {
            let message = match name {
                Some(_) => "The document has no operation of that name.",
                None => "The document has several operations; operationName must name one.",
            };
            return Err(vec![told(&Error::new(ErrorKind::InvalidInput, message), None)]);
        };
        variables::check_values(asked.operation(), &request.variables)?;
        let label = self.label(asked.operation());
        request.set_parsed_query(asked.document().clone());
        Ok(Prepared { request: request.data(Arc::clone(session)), asked, label })
    }

    /// The metrics' label of an operation: its only field, if the schema has it.
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

impl Answered {
    /// The answer as JSON text. `data` is there exactly when something was executed.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [ServerError],
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a Value>,
        }
        let data = (self.stage == Stage::Executed).then_some(&self.response.data);
        let body = Body { errors: &self.response.errors, data };
        serde_json::to_vec(&body).unwrap_or_else(|error| {
            tracing::error!(%error, "an answer could not be written");
            br#"{"errors":[{"message":"Internal error.","extensions":{"code":"INTERNAL"}}]}"#
                .to_vec()
        })
    }

    /// An answer that is one error.
    #[must_use]
    pub fn failed(stage: Stage, kind: ErrorKind, message: &str) -> Self {
        let errors = vec![told(&Error::new(kind, message), None)];
        Self { response: Response::from_errors(errors), stage }
    }

    fn refused(errors: Vec<ServerError>) -> Self {
        Self { response: Response::from_errors(errors), stage: Stage::Refused }
    }
}

/// `error` as GraphQL shows it.
#[must_use]
pub fn told(error: &Error, position: Option<Pos>) -> ServerError {
    let mut told = ServerError::new(error.message(), position);
    told.extensions = Some(code(error.kind()));
    told
}

fn code(kind: ErrorKind) -> ErrorExtensionValues {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", kind.code());
    extensions
}
