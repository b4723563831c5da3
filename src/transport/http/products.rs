//! The product service, over REST or GraphQL: what products cost and how many there are.

use std::collections::HashMap;
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use reqwest::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::domain::ids::ProductId;
use crate::domain::money::{checked_amount, read_amount};
use crate::domain::quote::Quote;
use crate::engine::ports::ProductService;
use crate::error::Result;
use crate::transport::http::{AskOptions, Remote, with_token};

/// What it is called in messages.
pub const NAME: &str = "product service";
/// Products that are asked about at the same time, where each takes a call of its own.
const AT_ONCE: usize = 16;
/// What is asked over GraphQL.
const QUERY: &str = "query Products($ids: [ID!]!) { productByIds(ids: $ids) { id price stock } }";

/// A product service over REST: `GET {url}/{id}` answers the product, or it as the `result`.
pub struct RestProducts(Remote);

/// A product service over GraphQL, which is asked with the caller's token.
pub struct GraphQlProducts(Remote);

/// A product as a service spells it.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(rename = "_id", alias = "id", borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    price: Option<&'a RawValue>,
    #[serde(alias = "stock", borrow)]
    quantity: Option<&'a RawValue>,
}

/// A product, or it as the `result`.
#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

impl Told<'_> {
    /// The id as text, whether it came as text or as a number.
    fn id(&self) -> Option<String> {
        let json = self.id?.get();
        serde_json::from_str(json).ok().or_else(|| json.parse::<i64>().ok().map(|n| n.to_string()))
    }

    /// The quote, or what is wrong with it.
    fn quote(&self, product: &ProductId) -> std::result::Result<Quote, &'static str> {
        let stock = self.quantity.and_then(|stock| stock.get().parse().ok());
        let stock = stock.ok_or("its stock is no whole number")?;
        let price = self.price.map(|price| {
            read_amount(price.get())
                .and_then(|price| checked_amount(price).ok())
                .ok_or("its price is no amount")
        });
        Ok(Quote { product: product.clone(), price: price.transpose()?, stock })
    }
}

impl RestProducts {
    /// The service at `url`.
    ///
    /// # Errors
    /// `Misconfigured` when the URL cannot be used.
    pub fn new(url: &str, options: AskOptions) -> Result<Self> {
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
        let unread = |error| self.0.not_understood("it is no product").because(error);
        let body = std::str::from_utf8(&answer.body)
            .map_err(|error| self.0.not_understood("it is not UTF-8").because(error))?;
        let wrapped: Wrapped<'_> = serde_json::from_str(body).map_err(unread)?;
        let json = wrapped.result.map_or(body, RawValue::get);
        let told: Option<Told<'_>> = serde_json::from_str(json).map_err(unread)?;
        let Some(told) = told else { return Ok(None) };
        if told.id.is_some() && told.id().as_deref() != Some(product.as_str()) {
            return Err(self.0.not_understood("it is about another product"));
        }
        told.quote(product).map(Some).map_err(|why| self.0.not_understood(why))
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
    pub fn new(url: &str, options: AskOptions) -> Result<Self> {
        Remote::new(url, NAME, options).map(Self)
    }

    async fn ask(
        &self,
        products: &[ProductId],
        token: Option<&SecretString>,
    ) -> Result<Vec<Quote>> {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            data: Option<Data<'a>>,
            #[serde(default, borrow)]
            errors: Vec<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Data<'a> {
            #[serde(rename = "productByIds", borrow)]
            products: Option<Vec<Option<Told<'a>>>>,
        }
        let ids: Vec<_> = products.iter().map(ProductId::as_str).collect();
        let question = json!({"query": QUERY, "variables": {"ids": ids}});
        let request = |client: &reqwest::Client| {
            with_token(client.post(self.0.url.clone()), token).json(&question)
        };
        let answer = self.0.ask(self.0.deadline(), request).await?;
        if !answer.status.is_success() {
            return Err(self.0.unavailable(&format!("answers {}", answer.status)));
        }
        let body = std::str::from_utf8(&answer.body)
            .map_err(|error| self.0.not_understood("it is not UTF-8").because(error))?;
        let body: Body<'_> = serde_json::from_str(body)
            .map_err(|error| self.0.not_understood("it is no list of products").because(error))?;
        if let Some(error) = body.errors.first() {
            let error = format!("{:.200}", error.get());
            return Err(self.0.unavailable("answers with an error").because(error));
        }
        let list = body.data.and_then(|data| data.products);
        let list = list.ok_or_else(|| self.0.not_understood("it has no productByIds"))?;
        self.read(products, list.into_iter().flatten().collect())
    }

    /// Matches what is told to what was asked; the order is the service's own.
    fn read(&self, products: &[ProductId], told: Vec<Told<'_>>) -> Result<Vec<Quote>> {
        let mut asked: HashMap<_, _> = products.iter().map(|id| (id.as_str(), id)).collect();
        let mut quotes = Vec::with_capacity(told.len());
        for each in told {
            let id = each.id();
            let product = id.as_deref().and_then(|id| asked.remove(id));
            let product =
                product.ok_or_else(|| self.0.not_understood("it is about another product"))?;
            quotes.push(each.quote(product).map_err(|why| self.0.not_understood(why))?);
        }
        Ok(quotes)
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
