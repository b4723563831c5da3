//! What the core needs from outside: contracts that put events into words, and ways out and in.

use std::future::Future;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use crate::domain::event::OrderEvent;
use crate::domain::fact::Fact;
use crate::domain::message::{Message, OutgoingMessage};
use crate::domain::stock::{Seen, ShownLevel};
use crate::error::Result;

/// A contract's words for what happened. Called inside the transaction that makes it happen, so it
/// must be quick and must not wait.
pub trait Announcer: Send + Sync {
    /// The messages that this contract sends about `event`; none is an answer too.
    ///
    /// # Errors
    /// `Internal` when the event cannot be put into this contract's words. The transaction fails.
    fn announce(&self, event: &OrderEvent) -> Result<Vec<Message>>;
}

/// A contract's understanding of what others say.
pub trait Interpreter: Send + Sync {
    /// The facts in a delivery.
    ///
    /// # Errors
    /// `InvalidInput` saying what could not be understood. The delivery is parked.
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
