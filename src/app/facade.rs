//! The API of an open engine for the program that embeds it: GraphQL, HTTP requests and
//! `WebSocket` connections that another server has accepted, messages that another program has
//! received, and the migration router.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::app::App;
use crate::app::dry_run::DryRunApi;
use crate::app::enabled_contracts::ContractApi;
use crate::app::probes::{self, Check};
use crate::engine::ports::Delivery;
use crate::error::{Error, ErrorKind, Result};
use crate::migration_router::{MigrationRouter, MigrationRouterOptions};
use crate::server::ServerContext;
use crate::server::graphql::GraphQl;
use crate::server::graphql::params::Params;
use crate::server::in_process::{
    self, Headers, InProcessRequest, InProcessResponse, InProcessSocket, header_map,
};
use crate::server::session::Session;

impl App {
    /// Executes a GraphQL request with `headers` as `/graphql` of the first contract that has a
    /// GraphQL API would. Returns the response as JSON text; errors of the request itself are part
    /// of the response.
    ///
    /// # Errors
    /// `Misconfigured` when no contract has a GraphQL API, or the settings do not say how that
    /// contract authenticates its callers; `InvalidInput` when `variables` is not a JSON object or
    /// a header is malformed.
    pub async fn execute(
        &self,
        query: String,
        variables: Option<&str>,
        operation_name: Option<String>,
        headers: Headers,
    ) -> Result<String> {
        let (graphql, context) = self.graphql()?;
        let variables: Value = match variables {
            None => Value::Null,
            Some(text) => serde_json::from_str(text).map_err(|error| {
                Error::new(ErrorKind::InvalidInput, format!("variables is not JSON: {error}."))
            })?,
        };
        let body = json!({
            "query": query, "operationName": operation_name, "variables": variables,
        });
        let params = Params::from_json(body.to_string().as_bytes())?;
        let headers = header_map(headers)?;
        let session = Session::from_headers(&context.authenticator, &headers, None).await;
        let deadline = graphql.deadline();
        let request = params.into();
        let answered = graphql.execute(request, Arc::new(session), false, deadline).await;
        String::from_utf8(answered.to_json()).map_err(|error| {
            Error::new(ErrorKind::Internal, "A GraphQL response is not UTF-8.").with_source(error)
        })
    }

    /// Answers an HTTP request as the API of the first contract would.
    ///
    /// # Errors
    /// `Misconfigured` when the settings do not say how the contract authenticates its callers;
    /// `InvalidInput` for a request that is not valid HTTP.
    pub async fn answer(&self, request: InProcessRequest) -> Result<InProcessResponse> {
        if self.lazy.router.get().is_none() {
            let (api, context) = self.first()?;
            let router = api.contract().router(&self.engine, &context);
            // Another request may have set an equal router meanwhile.
            let _ = self.lazy.router.set(router);
        }
        let router = self.lazy.router.get().cloned().unwrap_or_default();
        in_process::handle(router, request).await
    }

    /// Opens the server's end of a GraphQL WebSocket for a request with `headers`; none when the
    /// client offers no GraphQL subprotocol.
    ///
    /// # Errors
    /// As [`App::execute`].
    pub fn socket(
        &self,
        headers: Headers,
        client: Option<IpAddr>,
    ) -> Result<Option<InProcessSocket>> {
        let (graphql, context) = self.graphql()?;
        InProcessSocket::open(graphql, context, headers, client)
    }

    /// Applies a message that another program has received, as the first contract decodes it.
    ///
    /// # Errors
    /// `InvalidInput` when it cannot be decoded; `Unavailable`.
    pub async fn apply_message(&self, delivery: &Delivery) -> Result<()> {
        let contract = self.contracts.first()?.contract();
        let interpreter = contract.message_decoder();
        self.engine.apply_message(interpreter.as_ref(), contract.consumer(), delivery).await
    }

    /// The migration router between the program's own code and the engine, opened at the first
    /// call.
    ///
    /// # Errors
    /// `Misconfigured` when the settings do not say how the first contract authenticates its
    /// callers.
    pub async fn migration_router(&self) -> Result<Arc<MigrationRouter>> {
        let opened = self.migration_router.get_or_try_init(async || {
            let (api, context) = self.first()?;
            let store = self.engine.store().isolated();
            let engine = self.engine.dry_run(&store);
            let shadow_runner = Box::new(DryRunApi::new(engine, api.contract(), &context));
            let options = MigrationRouterOptions {
                store,
                shadow_runner,
                authenticator: context.authenticator.clone(),
                metrics: Arc::clone(&context.metrics),
                default_stage: self.stage,
                operations: api.contract().operations(),
            };
            Ok(Arc::new(MigrationRouter::open(options).await))
        });
        opened.await.cloned()
    }

    /// The state of each component that the engine uses.
    pub async fn health(&self) -> Vec<Check> {
        let mut checks = Vec::with_capacity(self.probes.len());
        for probe in &self.probes {
            checks.push(probes::check(probe.as_ref()).await);
        }
        checks
    }

    /// The API of the first contract and its context.
    fn first(&self) -> Result<(&ContractApi, ServerContext)> {
        let api = self.contracts.first()?;
        Ok((api, self.shared.of(api)?))
    }

    /// The GraphQL API of the first contract that has one, with that contract's context.
    fn graphql(&self) -> Result<&(GraphQl, ServerContext)> {
        if let Some(opened) = self.lazy.graphql.get() {
            return Ok(opened);
        }
        let none =
            || Error::new(ErrorKind::Misconfigured, "No contract in `contract` has a GraphQL API.");
        let has_graphql = |api: &&ContractApi| !api.contract().operations().is_empty();
        let api = self.contracts.apis().iter().find(has_graphql).ok_or_else(none)?;
        let context = self.shared.of(api)?;
        let graphql = api.contract().graphql(&self.engine, &context).ok_or_else(none)?;
        Ok(self.lazy.graphql.get_or_init(|| (graphql, context)))
    }
}
