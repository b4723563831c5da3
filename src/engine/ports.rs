//! What the core needs from outside: contracts that put events into words, ways out and in, and the
//! services that are asked before an order is placed.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use secrecy::SecretString;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::event::OrderEvent;
use crate::domain::fact::Fact;
use crate::domain::ids::{OrderId, ProductId, UserId};
use crate::domain::message::{Message, OutgoingMessage};
use crate::domain::order::Order;
use crate::domain::quote::Quote;
use crate::domain::stock::{Seen, ShownLevel};
use crate::domain::user::User;
use crate::error::Result;

/// A contract's words for what happened. Called inside the transaction that makes it happen, so it
/// must be quick and must not wait.
pub trait Announcer: Send + Sync {
    /// The messages that this contract sends about `event`; none is an answer too.
    ///
    /// # Errors
    /// `Internal` when the event cannot be put into this contract's words. The transaction fails.
    fn announce(&self, event: &OrderEvent) -> Result<Vec<Message>>;

    /// The messages that this contract sends about all orders of `user`, which come oldest first.
    /// Few contracts know such a thing.
    ///
    /// # Errors
    /// As [`Announcer::announce`].
    fn announce_list(&self, user: &UserId, orders: &[Order]) -> Result<Vec<Message>> {
        let _ = (user, orders);
        Ok(Vec::new())
    }
}

/// A contract's understanding of what others say.
pub trait Interpreter: Send + Sync {
    /// The facts in a delivery.
    ///
    /// # Errors
    /// `InvalidInput` saying what could not be understood. The delivery becomes a dead letter.
    fn interpret(&self, delivery: &Delivery) -> Result<Vec<Fact>>;
}

/// What became of one published message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The broker has it and has routed it.
    Confirmed,
    /// The broker has it and knows nobody who wants it; it is gone there.
    Unroutable,
    /// The broker refused this message, with its reason.
    Refused(String),
}

/// A connected way out.
pub trait Publisher: Send {
    /// Sends `batch` in its order and waits for every verdict, in the same order.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost or silent: nothing is known about the batch, the
    /// publisher is spent, and everything must be sent again through a new one.
    fn publish(
        &mut self,
        batch: &[OutgoingMessage],
    ) -> impl Future<Output = Result<Vec<Verdict>>> + Send;
}

/// Makes publishers; asked again whenever one is spent.
pub trait Outlet: Send + Sync + 'static {
    /// What it makes.
    type Publisher: Publisher;

    /// Connects, under a deadline of its own.
    ///
    /// # Errors
    /// `Unavailable` naming the component and its address.
    fn connect(&self) -> impl Future<Output = Result<Self::Publisher>> + Send;
}

/// The stock that other services see and change outside the database.
pub trait StockKeys: Send + Sync + 'static {
    /// Which of `products` have a number, in their order.
    ///
    /// # Errors
    /// `Unavailable`.
    fn have<'a>(&'a self, products: &'a [&str]) -> BoxFuture<'a, Result<Vec<bool>>>;

    /// The numbers of products, in the order of `levels`; none for one that has no number. A number
    /// that was there before any was shown counts as a change of its level here.
    ///
    /// # Errors
    /// `Unavailable`.
    fn read<'a>(&'a self, levels: &'a [ShownLevel]) -> BoxFuture<'a, Result<Vec<Option<Seen>>>>;

    /// Shows levels, but for those of which a later version is shown already.
    ///
    /// # Errors
    /// `Unavailable`: some may be shown and some not.
    fn show<'a>(&'a self, levels: &'a [ShownLevel]) -> BoxFuture<'a, Result<()>>;
}

/// What other services see of users outside the database.
pub trait UserKeys: Send + Sync + 'static {
    /// Shows what is known of users.
    ///
    /// # Errors
    /// `Unavailable`: some may be shown and some not.
    fn show<'a>(&'a self, users: &'a [User]) -> BoxFuture<'a, Result<()>>;

    /// Some of the preferences that are shown, by whomever: at `cursor`, which is 0 at first and
    /// then what the page before says.
    ///
    /// # Errors
    /// `Unavailable`.
    fn preferences(&self, cursor: u64) -> BoxFuture<'_, Result<PreferencesPage>>;
}

/// Some of the preferences that are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferencesPage {
    /// Users' ids and what stands there, unread.
    pub found: Vec<(String, String)>,
    /// Where the next page is; 0 behind the last one.
    pub next: u64,
}

/// One message that came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// What the source acknowledges it by.
    pub tag: u64,
    /// The routing key or topic.
    pub topic: String,
    /// The bytes, unread.
    pub body: Vec<u8>,
    /// The sender's id for it, if it gave one.
    pub message_id: Option<String>,
    /// What it answers, if it says so.
    pub correlation_id: Option<String>,
    /// Whether the broker says that it may have been delivered before.
    pub redelivered: bool,
    /// What else the sender says of it.
    pub headers: Map<String, Value>,
}

/// A connected way in.
pub trait Source: Send {
    /// Waits for the next message.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost; the source is spent.
    fn next(&mut self) -> impl Future<Output = Result<Delivery>> + Send;

    /// Tells the broker that this message has been dealt with for good.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost; the broker will deliver it again.
    fn acknowledge(&mut self, tag: u64) -> impl Future<Output = Result<()>> + Send;

    /// Ends the connection once the broker has heard every acknowledgement. A source that is
    /// dropped instead may leave some unheard.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost.
    fn close(self) -> impl Future<Output = Result<()>> + Send;
}

/// Makes sources; asked again whenever one is spent.
pub trait Inlet: Send + Sync + 'static {
    /// What it makes.
    type Source: Source;

    /// Connects, under a deadline of its own.
    ///
    /// # Errors
    /// `Unavailable` naming the component and its address.
    fn connect(&self) -> impl Future<Output = Result<Self::Source>> + Send;
}

/// The service that knows the users.
pub trait UserService: Send + Sync {
    /// Whether there is such a user. `token` is the caller's.
    ///
    /// # Errors
    /// `Unavailable` naming the service and its address when it does not say so, in time.
    fn knows<'a>(
        &'a self,
        user: &'a UserId,
        token: Option<&'a SecretString>,
    ) -> BoxFuture<'a, Result<bool>>;
}

/// The service that knows the products.
pub trait ProductService: Send + Sync {
    /// What it says of `products`, which has no doubles. One that it does not know is left out.
    /// `token` is the caller's.
    ///
    /// # Errors
    /// `Unavailable` naming the service and its address when it does not say so, in time.
    fn quotes<'a>(
        &'a self,
        products: &'a [ProductId],
        token: Option<&'a SecretString>,
    ) -> BoxFuture<'a, Result<Vec<Quote>>>;
}

/// What a cache keeps under one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// One order.
    Order(OrderId),
    /// A user's newest orders.
    ListOf(UserId),
}

/// What a cache answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cached {
    /// It has this.
    Hit(Vec<Order>),
    /// It has nothing.
    Miss,
    /// It has nothing and takes nothing: somebody is changing it.
    Closed,
}

/// Keeps copies of orders, for all processes. `space` names what belongs together: what was kept
/// under another one is not seen. Every call ends within a bound, with `Unavailable` where the
/// cache does not answer by then.
pub trait OrderCache: Send + Sync {
    /// What it has. After a miss, whoever gave a lease may put something in, as long as nobody has
    /// closed the entry and nobody else has come with a lease.
    fn get<'a>(
        &'a self,
        space: &'a str,
        subject: &'a Subject,
        lease: Option<Uuid>,
    ) -> BoxFuture<'a, Result<Cached>>;

    /// Keeps `orders`, if `lease` is still good and nothing newer is there.
    fn put<'a>(
        &'a self,
        space: &'a str,
        subject: &'a Subject,
        lease: Uuid,
        orders: &'a [Order],
    ) -> BoxFuture<'a, Result<()>>;

    /// Forgets entries, and takes nothing for them until they are reopened as often as they were
    /// closed, or a minute has passed.
    fn close<'a>(&'a self, space: &'a str, subjects: &'a [Subject]) -> BoxFuture<'a, Result<()>>;

    /// Reopens entries, empty.
    fn reopen<'a>(&'a self, space: &'a str, subjects: &'a [Subject]) -> BoxFuture<'a, Result<()>>;

    /// Whether it answers.
    fn ping(&self) -> BoxFuture<'_, Result<()>>;
}

/// What an engine may do without: each is there where settings name it.
#[derive(Clone, Default)]
pub struct Ports {
    /// Is asked whether a user may order.
    pub users: Option<Arc<dyn UserService>>,
    /// Is asked what products cost and how many there are.
    pub products: Option<Arc<dyn ProductService>>,
    /// Keeps copies of orders.
    pub orders: Option<Arc<dyn OrderCache>>,
    /// Shows stock to others.
    pub stock_keys: Option<Arc<dyn StockKeys>>,
    /// Shows users to others.
    pub user_keys: Option<Arc<dyn UserKeys>>,
}
