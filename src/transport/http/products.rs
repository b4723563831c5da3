//! The product service, over REST or GraphQL: prices and stock of products.

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

/// The name in error messages.
pub const NAME: &str = "product service";
/// Most concurrent calls of one placement over REST, which needs one call per product.
const AT_ONCE: usize = 16;
/// The GraphQL query.
const QUERY: &str = "query Products($ids: [ID!]!) { productByIds(ids: $ids) { id price stock } }";

/// A product service over REST: `GET {url}/{id}` returns the product.
pub struct RestProducts(Remote);

/// A product service over GraphQL, called with the caller's token.
pub struct GraphQlProducts(Remote);

impl RestProducts {
    /// The service at `url`.
    ///
    /// # Errors
    /// `Misconfigured` if the URL is invalid.
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
        let response = self.0.ask(deadline, |client| client.get(address.clone())).await?;
        if matches!(response.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(self.0.unavailable(&format!("answers {}", response.status)));
        }
        if !response.status.is_success() {
            return Ok(None);
        }
        responses::product(product, &response.body).map_err(|why| self.0.unusable_response(why))
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
    /// The service with its GraphQL endpoint at `url`.
    ///
    /// # Errors
    /// `Misconfigured` if the URL is invalid.
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
        let response = self.0.ask(self.0.deadline(), request).await?;
        if !response.status.is_success() {
            return Err(self.0.unavailable(&format!("answers {}", response.status)));
        }
        responses::products(products, &response.body).map_err(|why| self.0.unusable_response(why))
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
