//! The traits through which the engine uses contracts, brokers, Redis and upstream services.

use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use secrecy::SecretString;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::domain::event::OrderEvent;
use crate::domain::external_event::ExternalEvent;
use crate::domain::ids::{OrderId, ProductId, UserId};
use crate::domain::message::{Message, OutgoingMessage};
use crate::domain::order::Order;
use crate::domain::quote::Quote;
use crate::domain::stock::{ProjectedStock, StockReading};
use crate::domain::user::User;
use crate::error::Result;
pub use crate::store::cache_state::CacheNamespace;

/// Encodes order events as messages of a contract. Called inside the transaction that writes the
/// event, so it must not block.
pub trait EventEncoder: Send + Sync {
    /// The messages that this contract sends for `event`; may be empty.
    ///
    /// # Errors
    /// `Internal` when the event cannot be encoded. The transaction fails.
    fn encode(&self, event: &OrderEvent) -> Result<Vec<Message>>;

    /// The messages that this contract sends for the order list of `user`; `orders` are sorted
    /// oldest first. Most contracts have no such message.
    ///
    /// # Errors
    /// As [`EventEncoder::encode`].
    fn encode_order_list(&self, user: &UserId, orders: &[Order]) -> Result<Vec<Message>> {
        let _ = (user, orders);
        Ok(Vec::new())
    }
}

/// Decodes messages of other services.
pub trait MessageDecoder: Send + Sync {
    /// The events in a delivery.
    ///
    /// # Errors
    /// `InvalidInput` naming what is malformed. The delivery becomes a dead letter.
    fn decode(&self, delivery: &Delivery) -> Result<Vec<ExternalEvent>>;
}

/// The broker's answer to one published message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The broker has stored and routed it.
    Confirmed,
    /// No queue is bound for it; the broker has discarded it.
    Unroutable,
    /// The broker rejected it for this reason.
    Rejected(String),
}

/// A connection on which messages are published.
pub trait Publisher: Send {
    /// Publishes `batch` in order and returns the outcome of each message, in the same order.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost or times out. The outcome of the whole batch is
    /// unknown: drop this publisher and send the batch again through a new one.
    fn publish(
        &mut self,
        batch: &[OutgoingMessage],
    ) -> impl Future<Output = Result<Vec<PublishOutcome>>> + Send;
}

/// Connects publishers. Called again after each lost connection.
pub trait PublisherFactory: Send + Sync + 'static {
    /// The publisher that it connects.
    type Publisher: Publisher;

    /// Connects. The implementation limits how long this takes.
    ///
    /// # Errors
    /// `Unavailable` naming the component and its address.
    fn connect(&self) -> impl Future<Output = Result<Self::Publisher>> + Send;
}

/// The stock keys in Redis, which other services read and change.
pub trait StockProjection: Send + Sync + 'static {
    /// Whether each of `products` has a key, in the same order.
    ///
    /// # Errors
    /// `Unavailable`.
    fn have<'a>(&'a self, products: &'a [&str]) -> BoxFuture<'a, Result<Vec<bool>>>;

    /// The value of each product's key, in the order of `levels`; none without a key. A value that
    /// was there before the engine first wrote the key counts as an external change.
    ///
    /// # Errors
    /// `Unavailable`.
    fn read<'a>(
        &'a self,
        levels: &'a [ProjectedStock],
    ) -> BoxFuture<'a, Result<Vec<Option<StockReading>>>>;

    /// Writes `levels`, except those of which Redis has a later version already.
    ///
    /// # Errors
    /// `Unavailable`: some may have been written.
    fn write<'a>(&'a self, levels: &'a [ProjectedStock]) -> BoxFuture<'a, Result<()>>;
}

/// The user keys in Redis, which other services read.
pub trait UserProjection: Send + Sync + 'static {
    /// Writes the keys of `users`.
    ///
    /// # Errors
    /// `Unavailable`: some may have been written.
    fn write<'a>(&'a self, users: &'a [User]) -> BoxFuture<'a, Result<()>>;

    /// One page of all preference keys, whoever wrote them. `cursor` is 0 for the first page, then
    /// [`PreferencesPage::next`] of the page before.
    ///
    /// # Errors
    /// `Unavailable`.
    fn preferences(&self, cursor: u64) -> BoxFuture<'_, Result<PreferencesPage>>;
}

/// One page of the preference keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferencesPage {
    /// Pairs of user id and value, not validated.
    pub found: Vec<(String, String)>,
    /// Cursor of the next page; 0 after the last one.
    pub next: u64,
}

/// One message received from a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Identifies the delivery when it is acknowledged.
    pub tag: u64,
    /// The routing key or topic.
    pub topic: String,
    /// The body, not decoded.
    pub body: Vec<u8>,
    /// The message id that the sender set, if any.
    pub message_id: Option<String>,
    /// The id of the message that this one answers, if any.
    pub correlation_id: Option<String>,
    /// Whether the broker may have delivered it before.
    pub redelivered: bool,
    /// The other headers.
    pub headers: Map<String, Value>,
}

/// A connection from which messages are received.
pub trait MessageSource: Send {
    /// Waits for the next message.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost; drop this source and connect a new one.
    fn next(&mut self) -> impl Future<Output = Result<Delivery>> + Send;

    /// Acknowledges a delivery, so that the broker does not deliver it again.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost; the broker delivers the message again.
    fn acknowledge(&mut self, tag: u64) -> impl Future<Output = Result<()>> + Send;

    /// Closes the connection after the broker has received every acknowledgement. Dropping the
    /// source instead may lose some.
    ///
    /// # Errors
    /// `Unavailable` when the connection is lost.
    fn close(self) -> impl Future<Output = Result<()>> + Send;
}

/// Connects message sources. Called again after each lost connection.
pub trait MessageSourceFactory: Send + Sync + 'static {
    /// The message source that it connects.
    type Source: MessageSource;

    /// Connects. The implementation limits how long this takes.
    ///
    /// # Errors
    /// `Unavailable` naming the component and its address.
    fn connect(&self) -> impl Future<Output = Result<Self::Source>> + Send;
}

/// The user service.
pub trait UserService: Send + Sync {
    /// Whether `user` exists. `token` is the caller's and is passed on.
    ///
    /// # Errors
    /// `Unavailable` naming the service and its address when it gives no usable answer in time.
    fn knows<'a>(
        &'a self,
        user: &'a UserId,
        token: Option<&'a SecretString>,
    ) -> BoxFuture<'a, Result<bool>>;
}

/// The product service.
pub trait ProductService: Send + Sync {
    /// Price and stock of `products`, which must be distinct. Products that the service does not
    /// know are missing from the result. `token` is the caller's and is passed on.
    ///
    /// # Errors
    /// `Unavailable` naming the service and its address when it gives no usable answer in time.
    fn quotes<'a>(
        &'a self,
        products: &'a [ProductId],
        token: Option<&'a SecretString>,
    ) -> BoxFuture<'a, Result<Vec<Quote>>>;
}

/// The key of a cache entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CacheKey {
    /// One order.
    Order(OrderId),
    /// The newest orders of a user.
    UserList(UserId),
}

/// The result of a cache lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheLookup {
    /// The entry exists.
    Hit(Vec<Order>),
    /// There is no entry; the caller may fill it.
    Miss,
    /// There is no entry, and none can be written: a transaction is changing the orders.
    Invalidated,
}

/// A cache of orders shared by all processes. Entries belong to a `namespace`; those of another
/// namespace are not visible. Every call ends within a bounded time, with `Unavailable` when the
/// cache does not answer, or when its server was restarted or replaced since the namespace began.
pub trait OrderCache: Send + Sync {
    /// Looks up an entry. After a miss with a `lease` the caller may [`put`](Self::put) the entry,
    /// unless it is invalidated or another lease is taken before that.
    fn get<'a>(
        &'a self,
        namespace: &'a CacheNamespace,
        key: &'a CacheKey,
        lease: Option<Uuid>,
    ) -> BoxFuture<'a, Result<CacheLookup>>;

    /// Writes an entry if `lease` is still valid and no newer version is stored.
    fn put<'a>(
        &'a self,
        namespace: &'a CacheNamespace,
        key: &'a CacheKey,
        lease: Uuid,
        orders: &'a [Order],
    ) -> BoxFuture<'a, Result<()>>;

    /// Deletes entries and blocks writes to them until each `invalidate` was followed by a
    /// [`release`](Self::release), or a minute has passed.
    fn invalidate<'a>(
        &'a self,
        namespace: &'a CacheNamespace,
        keys: &'a [CacheKey],
    ) -> BoxFuture<'a, Result<()>>;

    /// Ends an invalidation. The entries are empty.
    fn release<'a>(
        &'a self,
        namespace: &'a CacheNamespace,
        keys: &'a [CacheKey],
    ) -> BoxFuture<'a, Result<()>>;

    /// The run of the cache's server, which changes when it is restarted or replaced; empty if the
    /// server does not say.
    fn server(&self) -> BoxFuture<'_, Result<String>>;

    /// Fails unless the cache answers.
    fn ping(&self) -> BoxFuture<'_, Result<()>>;
}

/// The optional parts of an engine: each is present when its settings are.
#[derive(Clone, Default)]
pub struct Ports {
    /// Checks that the user of an order exists.
    pub users: Option<Arc<dyn UserService>>,
    /// Quotes price and stock of the ordered products.
    pub products: Option<Arc<dyn ProductService>>,
    /// Caches orders.
    pub orders: Option<Arc<dyn OrderCache>>,
    /// Projects stock into Redis.
    pub stock_projection: Option<Arc<dyn StockProjection>>,
    /// Projects users into Redis.
    pub user_projection: Option<Arc<dyn UserProjection>>,
}
