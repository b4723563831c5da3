//! RabbitMQ: connecting, and the exchange that everything goes through.
//!
//! lapin's own recovery is not used: with it a confirm can hang for ever after a reset. Every call
//! has a deadline; after any failure the connection is given up and made anew by whoever uses it.

mod dead_letters;
mod headers;
mod publisher;
mod source;

pub use dead_letters::{DeadLetteredDelivery, RabbitDeadLetters};
pub use publisher::RabbitPublisherFactory;
pub use source::{RabbitMessageSourceFactory, RabbitSourceOptions};

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Result};

/// How long a connection may take, TLS and log-in included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one call may take, such as a declaration.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Twice this without a sign of life is the end of a connection.
const HEARTBEAT_S: u16 = 4;
/// Longest name in AMQP, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// The delivery mode of a message that survives a restart of the broker where the queue does.
const PERSISTENT: u8 = 2;
/// What a client says first.
const GREETING: &[u8] = b"AMQP\x00\x00\x09\x01";

/// A RabbitMQ and the exchange to use there. Never prints the password.
#[derive(Clone)]
pub struct RabbitOptions {
    uri: AMQPUri,
    exchange: ShortString,
    exchange_durable: bool,
}

impl RabbitOptions {
    /// Reads a URL such as `amqps://user:password@host:5671/vhost?heartbeat=20`; no vhost, or an
    /// empty one, is `/`. The exchange is used as it is; where it is absent it is declared as
    /// direct, and as durable only where `exchange_durable` asks for it.
    ///
    /// # Errors
    /// `Misconfigured` when the URL or the exchange's name cannot be used.
    pub fn new(url: &str, exchange: &str, exchange_durable: bool) -> Result<Self> {
        // The parser's own message may repeat the password.
        let mut uri: AMQPUri = url.parse().map_err(|_| {
            Error::new(
                ErrorKind::Misconfigured,
                "The RabbitMQ URL is not of the form amqp://user:password@host:5672/vhost.",
            )
        })?;
        if let Some(host) = ipv6_host(url) {
            host.clone_into(&mut uri.authority.host);
        }
        if uri.vhost.is_empty() {
            uri.vhost.push('/');
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
        Ok(Self { uri, exchange: name(exchange, "exchange")?, exchange_durable })
    }

    /// `host:port`, for messages.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{}", self.uri.authority.host, self.uri.authority.port)
    }

    fn failed(
        &self,
        doing: &str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::new(
            ErrorKind::Unavailable,
            format!(
                "RabbitMQ at {} cannot be used. Start it, or set RABBITMQ_URL.",
                self.address()
            ),
        )
        .with("component", "rabbitmq")
        .with("doing", doing)
        .with_source(cause)
    }

    /// One call, under its deadline.
    async fn call<T>(
        &self,
        doing: &str,
        call: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T> {
        match timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.failed(doing, error)),
            Err(elapsed) => Err(self.failed(doing, elapsed)),
        }
    }

    /// Makes sure that the exchange is there, without touching one that is.
    async fn ensure_exchange(&self, connection: &Connection) -> Result<()> {
        let declare = async |options| {
            let channel = connection.create_channel().await?;
            let (name, direct) = (self.exchange.clone(), ExchangeKind::Direct);
            channel.exchange_declare(name, direct, options, FieldTable::default()).await?;
            channel.close(200, "OK".into()).await
        };
        let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
        // The broker closes the channel of a question that it answers with no.
        if self.is_there("looking for the exchange", declare(passive)).await? {
            return Ok(());
        }
        let durable = self.exchange_durable;
        let options = ExchangeDeclareOptions { durable, ..Default::default() };
        self.call("declaring the exchange", declare(options)).await
    }

    /// Makes sure that a queue is there, without touching one that is.
    async fn ensure_queue(
        &self,
        connection: &Connection,
        queue: &ShortString,
        durable: bool,
    ) -> Result<()> {
        let declare = async |options| {
            let channel = connection.create_channel().await?;
            channel.queue_declare(queue.clone(), options, FieldTable::default()).await?;
            channel.close(200, "OK".into()).await
        };
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        if self.is_there("looking for the queue", declare(passive)).await? {
            return Ok(());
        }
        let options = QueueDeclareOptions { durable, ..Default::default() };
        self.call("declaring the queue", declare(options)).await
    }

    /// The answer to a passive declaration.
    async fn is_there(
        &self,
        doing: &str,
        question: impl Future<Output = lapin::Result<()>>,
    ) -> Result<bool> {
        match timeout(CALL_TIMEOUT, question).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) if is_soft(&error, AMQPSoftError::NOTFOUND) => Ok(false),
            Ok(Err(error)) => Err(self.failed(doing, error)),
            Err(elapsed) => Err(self.failed(doing, elapsed)),
        }
    }

    async fn channel(&self, connection: &Connection) -> Result<Channel> {
        self.call("opening a channel", connection.create_channel()).await
    }
}

impl fmt::Debug for RabbitOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitOptions")
            .field("address", &self.address())
            .field("exchange", &self.exchange.as_str())
            .finish_non_exhaustive()
    }
}

/// Makes connections, one after the other.
struct Connector {
    options: RabbitOptions,
    /// Whether the last try was accepted and then met silence.
    silent: AtomicBool,
}

impl Connector {
    fn new(options: RabbitOptions) -> Self {
        Self { options, silent: AtomicBool::new(false) }
    }

    /// Connects and makes sure of the exchange.
    async fn connect(&self) -> Result<Connection> {
        let doing = "connecting";
        let options = &self.options;
        if self.silent.load(Ordering::Relaxed) {
            self.greet().await?;
        }
        let properties =
            ConnectionProperties::default().with_connection_name("order-engine".into());
        let connecting = Connection::connect_uri(options.uri.clone(), properties);
        let connection = match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error| options.failed(doing, error))?,
            Err(elapsed) => {
                self.silent.store(true, Ordering::Relaxed);
                return Err(options.failed(doing, elapsed));
            }
        };
        options.ensure_exchange(&connection).await?;
        Ok(connection)
    }

    /// Asks a broker that was silent whether it speaks again. lapin keeps a thread for every
    /// connection whose other side never answers, so it must not be let at a silent one again and
    /// again.
    async fn greet(&self) -> Result<()> {
        let authority = &self.options.uri.authority;
        let greeting = async {
            let stream = TcpStream::connect((authority.host.as_str(), authority.port)).await?;
            if self.options.uri.scheme == AMQPScheme::AMQP {
                stream.writable().await?;
                stream.try_write(GREETING)?;
                stream.readable().await?;
            }
            Ok::<(), std::io::Error>(())
        };
        match timeout(CONNECT_TIMEOUT, greeting).await {
            Ok(Ok(())) => self.silent.store(false, Ordering::Relaxed),
            Ok(Err(error)) => return Err(self.options.failed("greeting", error)),
            Err(elapsed) => return Err(self.options.failed("greeting", elapsed)),
        }
        Ok(())
    }
}

/// Checks the name of an exchange or queue: 1 to 255 bytes.
fn name(text: &str, what: &str) -> Result<ShortString> {
    let problem = || {
        Error::new(
            ErrorKind::Misconfigured,
            format!("The name of a RabbitMQ {what} has 1 to {NAME_BYTES_MAX} bytes."),
        )
    };
    if text.is_empty() {
        return Err(problem());
    }
    ShortString::try_new(text).map_err(|_| problem())
}

/// Whether the broker closed a channel for this reason.
fn is_soft(error: &lapin::Error, reason: AMQPSoftError) -> bool {
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(refusal)
        if *refusal.kind() == AMQPErrorKind::Soft(reason))
}

/// The address between brackets in a URL's authority, which the parser takes for no host at all.
fn ipv6_host(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    host.strip_prefix('[')?.split_once(']').map(|(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> RabbitOptions {
        RabbitOptions::new(url, "event_exchange", false).unwrap()
    }

    #[test]
    fn urls_are_read_as_other_clients_read_them() {
        assert_eq!(options("amqp://localhost").uri.vhost, "/");
        assert_eq!(options("amqp://localhost/").uri.vhost, "/");
        assert_eq!(options("amqp://localhost/%2F").uri.vhost, "/");
        assert_eq!(options("amqp://u:p%40@host:1234/shop").address(), "host:1234");
        assert_eq!(options("amqp://u:p%40@host:1234/shop").uri.vhost, "shop");
        assert_eq!(options("amqps://host").address(), "host:5671");
        assert_eq!(options("amqp://u:p@[::1]:1234/").address(), "::1:1234");
        assert_eq!(options("amqp://host?heartbeat=7").uri.query.heartbeat, Some(7));
        assert_eq!(options("amqp://host").uri.query.heartbeat, Some(HEARTBEAT_S));
    }

    #[test]
    fn the_password_is_never_printed() {
        let shown = format!("{:?}", options("amqp://user:hunter2@host/"));
        assert!(!shown.contains("hunter2"), "{shown}");
        for bad in ["hunter2", "amqp:hunter2", "http://user:hunter2@host", "amqp://u:hunter2@:x/"] {
            let error = RabbitOptions::new(bad, "event_exchange", false).unwrap_err();
            assert!(!crate::error::error_chain(&error).contains("hunter2"));
        }
    }

    #[test]
    fn names_are_checked() {
        assert!(RabbitOptions::new("amqp://host", "", false).is_err());
        assert!(RabbitOptions::new("amqp://host", &"x".repeat(256), false).is_err());
    }
}
