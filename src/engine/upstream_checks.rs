//! Places an order that other services have to agree to: the user service knows the user, the
//! product service has the products and says what they cost.
//!
//! They are asked with no transaction open. What they say of stock is checked again by the
//! reservation, in the transaction that places the order.

use std::collections::BTreeSet;

use secrecy::SecretString;

use crate::domain::caller::Caller;
use crate::domain::ids::ProductId;
use crate::domain::placement::PlaceOrder;
use crate::domain::quote::{self, Prices, Quote};
use crate::domain::stock;
use crate::engine::batch::mismatch;
use crate::engine::place_order::{Placed, fingerprint};
use crate::engine::ports::{ProductService, UserService};
use crate::engine::{Engine, stock_projection};
use crate::error::{Error, ErrorKind, Result};
use crate::store::quotes::{self, Known};
use crate::store::{Connection, catalog, orders, preparing};

/// What the product service said, and what was known before it was asked.
struct Answers {
    quotes: Vec<Quote>,
    known: Vec<Known>,
}

impl Engine {
    /// As [`Engine::place_order`], once the services that there are have agreed. An order costs
    /// what the product service says. A request that was answered before is answered without
    /// asking. `token` is the caller's, for the services.
    ///
    /// # Errors
    /// As [`Engine::place_order`]; `Forbidden` for a user whom the user service does not know,
    /// `Unavailable` naming a service that does not answer.
    pub async fn place_order_with_upstream_checks(
        &self,
        caller: &Caller,
        request: PlaceOrder,
        token: Option<&SecretString>,
    ) -> Result<Placed> {
        self.check_request(caller, &request)?;
        if let Some(placed) = self.placed_before(caller, &request).await? {
            return Ok(placed);
        }
        let ports = &self.shared.ports;
        let (user, answers) = tokio::join!(
            self.ask_for_user(ports.users.as_deref(), &request, token),
            self.ask_for_products(ports.products.as_deref(), &request, token),
        );
        user?;
        let Some(answers) = answers? else {
            return self.submit(caller, request, Prices::new()).await;
        };
        quote::check(&request.items, &answers.quotes)?;
        self.learn(&answers).await?;
        let priced =
            answers.quotes.into_iter().filter_map(|quote| Some((quote.product, quote.price?)));
        self.submit(caller, request, priced.collect()).await
    }

    /// The answer to an earlier request with the same key.
    async fn placed_before(&self, caller: &Caller, request: &PlaceOrder) -> Result<Option<Placed>> {
        let Some(key) = &request.key else { return Ok(None) };
        let mut connection = self.shared.store.acquire().await?;
        let scope = caller.key_scope();
        let earlier = preparing::earlier(&mut connection, &[(&scope, key.as_str())]).await?.pop();
        let Some(earlier) = earlier.flatten() else { return Ok(None) };
        if earlier.fingerprint != fingerprint(request) {
            return Err(mismatch());
        }
        let order = orders::get_placed(&mut connection, earlier.order).await?;
        Ok(Some(Placed { order, replayed: true }))
    }

    async fn ask_for_user(
        &self,
        service: Option<&dyn UserService>,
        request: &PlaceOrder,
        token: Option<&SecretString>,
    ) -> Result<()> {
        let Some(service) = service else { return Ok(()) };
        if self.shared.asked.users.count(service.knows(&request.user, token)).await? {
            return Ok(());
        }
        let text = format!("The user service does not know user {}.", request.user);
        Err(Error::new(ErrorKind::UnknownUser, text))
    }

    /// What is known is read before the service is asked: an answer counts only as long as nobody
    /// has told anything since.
    async fn ask_for_products(
        &self,
        service: Option<&dyn ProductService>,
        request: &PlaceOrder,
        token: Option<&SecretString>,
    ) -> Result<Option<Answers>> {
        let Some(service) = service else { return Ok(None) };
        let products: BTreeSet<_> = request.items.iter().map(|item| &item.product).collect();
        let products: Vec<ProductId> = products.into_iter().cloned().collect();
        let known = {
            let mut connection = self.shared.store.acquire().await?;
            quotes::known(&mut connection, &names(&products)).await?
        };
        let quotes = self.shared.asked.products.count(service.quotes(&products, token)).await?;
        Ok(Some(Answers { quotes, known }))
    }

    /// Takes in what the answers change, in a transaction of its own; none is begun where they
    /// change nothing.
    async fn learn(&self, answers: &Answers) -> Result<()> {
        let news: Vec<_> = answers
            .quotes
            .iter()
            .map(|quote| (quote, answers.known.iter().find(|known| known.product == quote.product)))
            .filter(|(quote, known)| known.is_none_or(|known| is_news(quote, known)))
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
                (Some(before), Some(now)) if before.reports == now.reports => {
                    take_in(&mut transaction, quote, now).await?;
                }
                // Somebody else has told something meanwhile, which may be newer.
                _ => {}
            }
        }
        self.shared.commit(transaction).await?;
        stock_projection::show(&self.shared, &products).await;
        Ok(())
    }
}

fn names(products: &[ProductId]) -> Vec<&str> {
    products.iter().map(ProductId::as_str).collect()
}

fn is_news(quote: &Quote, known: &Known) -> bool {
    has_new_price(quote, known) || has_new_stock(quote, known)
}

fn has_new_price(quote: &Quote, known: &Known) -> bool {
    quote.price.is_some() && quote.price != known.price
}

/// Where messages tell the stock an answer does not: it may have overtaken them.
fn has_new_stock(quote: &Quote, known: &Known) -> bool {
    let counts = known.asked || known.level.reported.is_none();
    counts && known.level.reported != Some(quote.stock)
}

/// Takes in an answer about a locked product of which nobody has told anything since it was asked.
async fn take_in(connection: &mut Connection, quote: &Quote, known: &Known) -> Result<()> {
    if let Some(price) = quote.price.filter(|_| has_new_price(quote, known)) {
        quotes::set_price(connection, &quote.product, price).await?;
    }
    if has_new_stock(quote, known) {
        let fall = known.level.reported.map_or(0, |was| was.saturating_sub(quote.stock)).max(0);
        let holds = catalog::oldest_holds(connection, &quote.product, fall).await?;
        let reconciled = stock::reconcile(known.level, quote.stock, holds);
        catalog::keep(connection, &quote.product, &reconciled, true).await?;
    }
    Ok(())
}
