//! RabbitMQ: connections, and declaring the exchange and queues.
//!
//! lapin's automatic recovery is not used, because with it a publisher confirm can hang forever
//! after a connection reset. Every call has a timeout, and after any failure the connection is
//! replaced.

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
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::{Error, ErrorKind, Result};

/// Time limit for connecting, including TLS and authentication.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit for one call, such as a declaration.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Heartbeat interval in seconds. A connection is closed after twice this time without a frame.
const HEARTBEAT_S: u16 = 4;
/// Longest short string in AMQP, such as the name of a queue, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// The delivery mode of persistent messages. In a durable queue they survive a restart.
const PERSISTENT: u8 = 2;
/// The protocol header that a client sends first.
const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// The address of RabbitMQ and the exchange to use. `Debug` omits the password.
#[derive(Clone)]
pub struct RabbitOptions {
    uri: AMQPUri,
    exchange: ShortString,
    exchange_durable: bool,
}

impl RabbitOptions {
    /// Parses a URL such as `amqps://user:password@host:5671/vhost?heartbeat=20`. The default vhost
    /// is `/`. An existing exchange is used as it is. Otherwise a direct exchange is declared,
    /// durable if `exchange_durable`.
    ///
    /// # Errors
    /// `Misconfigured` if the URL or the exchange's name is invalid.
    pub fn new(url: &str, exchange: &str, exchange_durable: bool) -> Result<Self> {
        // The parser's message may contain the password.
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
        let cause = cause.into();
        let text = format!("RabbitMQ at {} cannot be used.", self.address());
        Error::new(ErrorKind::Unavailable, text)
            .with_advice(advice(doing, cause.downcast_ref()))
            .with("component", "rabbitmq")
            .with("doing", doing)
            .with_source(cause)
    }

    /// Runs one call, with a timeout.
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

    /// Declares the exchange if it does not exist. An existing one is not changed.
    async fn ensure_exchange(&self, connection: &Connection) -> Result<()> {
        let declare = async |options| {
            let channel = connection.create_channel().await?;
            let (name, direct) = (self.exchange.clone(), ExchangeKind::Direct);
            channel.exchange_declare(name, direct, options, FieldTable::default()).await?;
            channel.close(200, "OK".into()).await
        };
        let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
        // If the exchange does not exist, the broker closes the channel.
        if self.exists("checking the exchange", declare(passive)).await? {
            return Ok(());
        }
        let durable = self.exchange_durable;
        let options = ExchangeDeclareOptions { durable, ..Default::default() };
        self.call("declaring the exchange", declare(options)).await
    }

    /// Declares a queue if it does not exist. An existing one is not changed.
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
        if self.exists("checking the queue", declare(passive)).await? {
            return Ok(());
        }
        let options = QueueDeclareOptions { durable, ..Default::default() };
        self.call("declaring the queue", declare(options)).await
    }

    /// Whether a passive declaration finds its exchange or queue.
    async fn exists(
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

/// What the activity of opening a connection is called.
const CONNECTING: &str = "connecting";

/// What to do about an error of the broker or of its library.
fn advice(doing: &str, error: Option<&lapin::Error>) -> &'static str {
    let refusal = match error.map(lapin::Error::kind) {
        Some(lapin::ErrorKind::ProtocolError(refusal)) => Some(refusal.kind()),
        _ => None,
    };
    match refusal {
        Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)) if doing == CONNECTING => {
            "Correct the user and the password in RABBITMQ_URL."
        }
        Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)) => {
            "Grant the user of RABBITMQ_URL the missing right on the exchange or queue \
             (rabbitmqctl set_permissions: configure, write, read)."
        }
        Some(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)) => {
            "Correct the virtual host in RABBITMQ_URL, or grant the user access to it."
        }
        _ => "Start it, or correct RABBITMQ_URL (amqps:// for TLS).",
    }
}

/// Connects to RabbitMQ.
struct Connector {
    options: RabbitOptions,
    /// Whether the last connection was accepted but the broker did not respond.
    was_unresponsive: AtomicBool,
}

impl Connector {
    fn new(options: RabbitOptions) -> Self {
        Self { options, was_unresponsive: AtomicBool::new(false) }
    }

    /// Connects, and declares the exchange if it does not exist.
    async fn connect(&self) -> Result<Connection> {
        let doing = CONNECTING;
        let options = &self.options;
        if self.was_unresponsive.load(Ordering::Relaxed) {
            self.check_responsive().await?;
        }
        let properties =
            ConnectionProperties::default().with_connection_name("order-engine".into());
        let connecting = Connection::connect_uri(options.uri.clone(), properties);
        let connection = match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error| options.failed(doing, error))?,
            Err(elapsed) => {
                self.was_unresponsive.store(true, Ordering::Relaxed);
                return Err(options.failed(doing, elapsed));
            }
        };
        options.ensure_exchange(&connection).await?;
        Ok(connection)
    }

    /// Checks whether an unresponsive broker responds again. lapin keeps a thread for each
    /// connection that never gets a response, so it must not connect to an unresponsive broker
    /// repeatedly.
    async fn check_responsive(&self) -> Result<()> {
        let authority = &self.options.uri.authority;
        let check = async {
            let stream = TcpStream::connect((authority.host.as_str(), authority.port)).await?;
            if self.options.uri.scheme == AMQPScheme::AMQP {
                stream.writable().await?;
                stream.try_write(PROTOCOL_HEADER)?;
                stream.readable().await?;
            }
            Ok::<(), std::io::Error>(())
        };
        match timeout(CONNECT_TIMEOUT, check).await {
            Ok(Ok(())) => self.was_unresponsive.store(false, Ordering::Relaxed),
            Ok(Err(error)) => return Err(self.options.failed("checking the broker", error)),
            Err(elapsed) => return Err(self.options.failed("checking the broker", elapsed)),
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

/// The IPv6 address in a URL. The parser ignores hosts in brackets.
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
