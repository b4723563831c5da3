//! Places orders after checks by upstream services: the user service knows the user, and the
//! product service quotes price and stock.
//!
//! No transaction is open during the calls. Quoted stock is checked again when the order is placed.

use std::collections::BTreeSet;

use secrecy::SecretString;

use crate::domain::caller::Caller;
use crate::domain::ids::ProductId;
use crate::domain::placement::{PlacementRequest, Prices};
use crate::domain::quote::{self, Quote};
use crate::domain::stock;
use crate::engine::placing::PlacementResult;
use crate::engine::placing::request::{fingerprint, key_mismatch};
use crate::engine::ports::{ProductService, UserService};
use crate::engine::upstream_stats::UpstreamStats;
use crate::engine::{Engine, stock_projection};
use crate::error::{Error, ErrorKind, Result};
use crate::store::quotes::{self, KnownProduct};
use crate::store::{self, Connection, catalog, orders, preparing};

/// The quotes of the product service, and what was known before it was asked.
struct QuotedProducts {
    quotes: Vec<Quote>,
    known: Vec<KnownProduct>,
}

impl Engine {
    /// As [`Engine::place_order`], after the configured upstream services were asked. Prices are
    /// those of the product service. A retry of a placed order is answered without asking. `token`
    /// is the caller's and is passed to the services.
    ///
    /// # Errors
    /// As [`Engine::place_order`]; `UnknownUser` for a user whom the user service does not know,
    /// `Unavailable` naming a service that does not answer.
    pub async fn place_order_with_upstream_checks(
        &self,
        caller: &Caller,
        request: PlacementRequest,
        token: Option<&SecretString>,
    ) -> Result<PlacementResult> {
        let users = self.shared.ports.users.as_deref();
        self.place_checked(caller, request, token, users).await
    }

    /// As [`Engine::place_order`], at the prices of the product service if one is configured. The
    /// user service is not asked: the token vouches for the user.
    ///
    /// # Errors
    /// As [`Engine::place_order_with_upstream_checks`], without `UnknownUser`.
    pub async fn place_order_at_quoted_prices(
        &self,
        caller: &Caller,
        request: PlacementRequest,
        token: Option<&SecretString>,
    ) -> Result<PlacementResult> {
        if self.shared.ports.products.is_none() {
            return self.place_order(caller, request).await;
        }
        self.place_checked(caller, request, token, None).await
    }

    async fn place_checked(
        &self,
        caller: &Caller,
        request: PlacementRequest,
        token: Option<&SecretString>,
        users: Option<&dyn UserService>,
    ) -> Result<PlacementResult> {
        self.check_request(caller, &request)?;
        if let Some(placed) = self.placed_before(caller, &request).await? {
            return Ok(placed);
        }
        let products = self.shared.ports.products.as_deref();
        let (user, answers) = tokio::join!(
            self.check_user(users, &request, token),
            self.quote_products(products, &request, token),
        );
        user?;
        let Some(answers) = answers? else {
            return self.submit(caller, request, Prices::new()).await;
        };
        quote::check(&request.lines, &answers.quotes)?;
        self.apply_quotes(&answers).await?;
        let priced =
            answers.quotes.into_iter().filter_map(|quote| Some((quote.product, quote.price?)));
        self.submit(caller, request, priced.collect()).await
    }

    /// The result of an earlier request with the same key.
    async fn placed_before(
        &self,
        caller: &Caller,
        request: &PlacementRequest,
    ) -> Result<Option<PlacementResult>> {
        let Some(key) = &request.key else { return Ok(None) };
        let mut connection = self.shared.store.acquire().await?;
        let scope = caller.key_scope();
        let record =
            preparing::idempotency_records(&mut connection, &[(&scope, key.as_str())]).await?.pop();
        let Some(record) = record.flatten() else { return Ok(None) };
        if record.fingerprint != fingerprint(request) {
            return Err(key_mismatch());
        }
        let order = orders::get_placed(&mut connection, record.order).await?;
        Ok(Some(PlacementResult { order, replayed: true }))
    }

    /// Counters of the configured upstream services, by the service's name in metrics.
    pub fn upstream_stats(&self) -> impl Iterator<Item = (&'static str, &UpstreamStats)> {
        let (ports, counters) = (&self.shared.ports, &self.shared.upstream);
        let users = ports.users.as_ref().map(|_| ("users", &counters.users));
        let products = ports.products.as_ref().map(|_| ("products", &counters.products));
        [users, products].into_iter().flatten()
    }

    async fn check_user(
        &self,
        service: Option<&dyn UserService>,
        request: &PlacementRequest,
        token: Option<&SecretString>,
    ) -> Result<()> {
        let Some(service) = service else { return Ok(()) };
        if self.shared.upstream.users.count(service.knows(&request.user, token)).await? {
            return Ok(());
        }
        let text = format!("The user service does not know user {}.", request.user);
        Err(Error::new(ErrorKind::UnknownUser, text))
    }

    /// What is known is read before the service is asked: a quote is applied only if no message
    /// about its product arrives in between.
    async fn quote_products(
        &self,
        service: Option<&dyn ProductService>,
        request: &PlacementRequest,
        token: Option<&SecretString>,
    ) -> Result<Option<QuotedProducts>> {
        let Some(service) = service else { return Ok(None) };
        let products: BTreeSet<_> = request.lines.iter().map(|item| &item.product).collect();
        let products: Vec<ProductId> = products.into_iter().cloned().collect();
        let known = {
            let mut connection = self.shared.store.acquire().await?;
            quotes::known(&mut connection, &names(&products)).await?
        };
        let quotes = self.shared.upstream.products.count(service.quotes(&products, token)).await?;
        Ok(Some(QuotedProducts { quotes, known }))
    }

    /// Applies the quotes that change something, in a transaction of its own.
    async fn apply_quotes(&self, answers: &QuotedProducts) -> Result<()> {
        let news: Vec<_> = answers
            .quotes
            .iter()
            .map(|quote| (quote, answers.known.iter().find(|known| known.product == quote.product)))
            .filter(|(quote, known)| known.is_none_or(|known| is_new(quote, known)))
            .collect();
        if news.is_empty() {
            return Ok(());
        }
        let mut transaction = self.shared.store.begin().await?;
        let products: Vec<_> = news.iter().map(|(quote, _)| quote.product.as_str()).collect();
        let locked = quotes::lock(&mut transaction, &products).await?;
        for (quote, before) in news {
            let now = locked.iter().find(|known| known.product == quote.product);
            match (before, now) {
                (None, None) => {
                    quotes::insert(&mut transaction, quote, self.shared.rules.currency).await?;
                }
                (Some(before), Some(now)) if before.stock_revision == now.stock_revision => {
                    apply_quote(&mut transaction, quote, now).await?;
                }
                // A message has arrived in between; it may be newer than the quote.
                _ => {}
            }
        }
        store::commit(transaction).await?;
        stock_projection::project(&self.shared, &products).await;
        Ok(())
    }
}

fn names(products: &[ProductId]) -> Vec<&str> {
    products.iter().map(ProductId::as_str).collect()
}

fn is_new(quote: &Quote, known: &KnownProduct) -> bool {
    has_new_price(quote, known) || has_new_stock(quote, known)
}

fn has_new_price(quote: &Quote, known: &KnownProduct) -> bool {
    quote.price.is_some() && quote.price != known.price
}

/// Stock that is known from messages is not overwritten: a quote may have overtaken a message.
fn has_new_stock(quote: &Quote, known: &KnownProduct) -> bool {
    let counts = known.is_upstream || known.level.reported.is_none();
    counts && known.level.reported != Some(quote.stock)
}

/// Applies a quote of a locked product that has not changed since the service was asked.
async fn apply_quote(
    connection: &mut Connection,
    quote: &Quote,
    known: &KnownProduct,
) -> Result<()> {
    if let Some(price) = quote.price.filter(|_| has_new_price(quote, known)) {
        quotes::set_price(connection, &quote.product, price).await?;
    }
    if has_new_stock(quote, known) {
        let fall = known.level.reported.map_or(0, |was| was.saturating_sub(quote.stock)).max(0);
        let reservations = catalog::oldest_reservations(connection, &quote.product, fall).await?;
        let reconciled = stock::reconcile(known.level, quote.stock, reservations);
        catalog::apply_reconciled(connection, &quote.product, &reconciled, true).await?;
    }
    Ok(())
}
