//! The product service, over REST or GraphQL: what products cost and how many there are.

use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::json;

use crate::domain::ids::ProductId;
use crate::domain::quote::Quote;
use crate::engine::ports::ProductService;
use crate::error::Result;
use crate::transport::http::{Remote, UpstreamOptions, responses, with_token};

/// What it is called in messages.
pub const NAME: &str = "product service";
/// Products that are asked about at the same time, where each takes a call of its own.
const AT_ONCE: usize = 16;
/// What is asked over GraphQL.
const QUERY: &str = "query Products($ids: [ID!]!) { productByIds(ids: $ids) { id price stock } }";

/// A product service over REST: `GET {url}/{id}` answers the product.
pub struct RestProducts(Remote);

/// A product service over GraphQL, which is asked with the caller's token.
pub struct GraphQlProducts(Remote);

impl RestProducts {
    /// The service at `url`.
    ///
    /// # Errors
    /// `Misconfigured` when the URL cannot be used.
    pub fn new(url: &str, options: UpstreamOptions) -> Result<Self> {
        Remote::new(url, NAME, options).map(Self)
    }

    async fn ask(&self, products: &[ProductId]) -> Result<Vec<Quote>> {
        let deadline = self.0.deadline();
        let asked: Vec<BoxFuture<'_, _>> =
            products.iter().map(|product| self.ask_about(product, deadline).boxed()).collect();
        let quotes: Vec<_> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        Ok(quotes.into_iter().flatten().collect())
    }

    async fn ask_about(&self, product: &ProductId, deadline: Instant) -> Result<Option<Quote>> {
        let Some(address) = self.0.address_of(product.as_str()) else { return Ok(None) };
        let answer = self.0.ask(deadline, |client| client.get(address.clone())).await?;
        if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(self.0.unavailable(&format!("answers {}", answer.status)));
        }
        if !answer.status.is_success() {
            return Ok(None);
        }
        responses::product(product, &answer.body).map_err(|why| self.0.useless(why))
    }
}

impl ProductService for RestProducts {
    fn quotes<'a>(
        &'a self,
        products: &'a [ProductId],
        _token: Option<&'a SecretString>,
    ) -> BoxFuture<'a, Result<Vec<Quote>>> {
        self.ask(products).boxed()
    }
}

impl GraphQlProducts {
    /// The service whose GraphQL is at `url`.
    ///
    /// # Errors
    /// `Misconfigured` when the URL cannot be used.
    pub fn new(url: &str, options: UpstreamOptions) -> Result<Self> {
        Remote::new(url, NAME, options).map(Self)
    }

    async fn ask(
        &self,
        products: &[ProductId],
        token: Option<&SecretString>,
    ) -> Result<Vec<Quote>> {
        let ids: Vec<_> = products.iter().map(ProductId::as_str).collect();
        let question = json!({"query": QUERY, "variables": {"ids": ids}});
        let request = |client: &reqwest::Client| {
            with_token(client.post(self.0.url.clone()), token).json(&question)
        };
        let answer = self.0.ask(self.0.deadline(), request).await?;
        if !answer.status.is_success() {
            return Err(self.0.unavailable(&format!("answers {}", answer.status)));
        }
        responses::products(products, &answer.body).map_err(|why| self.0.useless(why))
    }
}

impl ProductService for GraphQlProducts {
    fn quotes<'a>(
        &'a self,
        products: &'a [ProductId],
        token: Option<&'a SecretString>,
    ) -> BoxFuture<'a, Result<Vec<Quote>>> {
        self.ask(products, token).boxed()
    }
}
