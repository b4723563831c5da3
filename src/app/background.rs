//! Background tasks: the relays and consumers of the contracts, and the sink channels.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::sinks::{self, SinkChannel};
use crate::app::{Role, options};
use crate::config::Settings;
use crate::config::messages::MessageSettings;
use crate::consumer::{EventConsumer, EventConsumerStats};
use crate::contracts::{Contract, Exchange, JobOptions, Transport};
use crate::engine::Engine;
use crate::engine::ports::{MessageSourceFactory, PublisherFactory};
use crate::error::Result;
#[cfg(not(feature = "kafka"))]
use crate::error::{Error, ErrorKind};
use crate::outbox::{Relay, RelayOptions, RelayStats, RequireQueue};
#[cfg(feature = "kafka")]
use crate::transport::kafka::{
    KafkaMessageSourceFactory, KafkaPublisherFactory, KafkaSourceOptions,
};
use crate::transport::rabbitmq::{
    RabbitMessageSourceFactory, RabbitPublisherFactory, RabbitSourceOptions,
};
use crate::transport::sink_channel::sink_channel;

/// The engine's own queue, which is durable: consumed messages survive a restart of the broker. A
/// queue with another name may be declared by an older service, with options of its own.
const OWN_QUEUE: &str = "order_engine_queue";

/// The background tasks of one engine.
pub(super) struct Background {
    pub(super) tasks: TaskTracker,
    pub(super) stopping: CancellationToken,
    counters: Vec<Counters>,
    /// The consumers that are running.
    consumers: Vec<&'static str>,
}

/// The counters of one contract's relay and consumer.
#[derive(Clone)]
pub(super) struct Counters {
    /// The contract.
    pub contract: &'static str,
    /// The component that transports the messages.
    pub component: &'static str,
    /// Of the relay, if this process runs it.
    pub relay: Option<Arc<RelayStats>>,
    /// Of the consumer, if this process runs it.
    pub consumer: Option<Arc<EventConsumerStats>>,
}

/// What every relay and consumer of an engine needs.
#[derive(Clone, Copy)]
pub(super) struct Messaging<'a> {
    pub engine: &'a Engine,
    pub settings: &'a Settings,
    pub role: Role,
}

impl Messaging<'_> {
    fn publishes(&self) -> bool {
        self.role.publishes(&self.settings.messages)
    }

    fn consumes(&self) -> bool {
        self.role.consumes(&self.settings.messages)
    }
}

impl Counters {
    fn none(contract: &dyn Contract) -> Self {
        let component = match contract.transport() {
            Transport::RabbitMq(_) => "rabbitmq",
            Transport::BullMq(_) => "redis",
            Transport::Kafka => "kafka",
        };
        Self { contract: contract.name(), component, relay: None, consumer: None }
    }
}

impl Background {
    pub(super) fn new() -> Self {
        Self {
            tasks: TaskTracker::new(),
            stopping: CancellationToken::new(),
            counters: Vec::new(),
            consumers: Vec::new(),
        }
    }

    /// Starts the relay and the consumer of a contract, as settings and role require.
    ///
    /// # Errors
    /// `Misconfigured`.
    pub(super) fn start(&mut self, contract: &dyn Contract, with: Messaging<'_>) -> Result<()> {
        let counters = match contract.transport() {
            Transport::RabbitMq(exchange) => self.start_rabbitmq(contract, &exchange, with)?,
            Transport::BullMq(jobs) => self.start_bullmq(contract, &jobs, with)?,
            Transport::Kafka => self.start_kafka(contract, with)?,
        };
        if counters.relay.is_some() && contract.publishes_order_lists() {
            self.publish_order_lists(with.engine);
        }
        self.counters.push(counters);
        Ok(())
    }

    fn start_rabbitmq(
        &mut self,
        contract: &dyn Contract,
        exchange: &Exchange,
        with: Messaging<'_>,
    ) -> Result<Counters> {
        let mut counters = Counters::none(contract);
        let Some(rabbitmq) = with.settings.rabbitmq.if_set() else {
            return Ok(without("RABBITMQ_URL", counters));
        };
        if with.publishes() {
            let exchange = exchange.name(&rabbitmq.rabbitmq_exchange);
            let publishers = RabbitPublisherFactory::new(options::rabbitmq(rabbitmq, exchange)?);
            let topics = rabbitmq.topics_require_queue.clone();
            counters.relay = Some(self.relay(contract.name(), publishers, topics, with));
        }
        // Contracts that consume the same messages share a consumer.
        if with.consumes() && !self.consumers.contains(&contract.consumer()) {
            self.consumers.push(contract.consumer());
            let queue = rabbitmq.rabbitmq_queue.clone();
            let source_options = RabbitSourceOptions {
                queue_durable: rabbitmq.rabbitmq_exchange_durable || queue == OWN_QUEUE,
                queue,
                topics: topics(contract),
                prefetch: rabbitmq.rabbitmq_prefetch,
            };
            let broker = options::rabbitmq(rabbitmq, &rabbitmq.rabbitmq_exchange)?;
            let sources = RabbitMessageSourceFactory::new(broker, &source_options)?;
            counters.consumer = Some(self.consumer(contract, sources, with));
        }
        Ok(counters)
    }

    fn start_bullmq(
        &self,
        contract: &dyn Contract,
        jobs: &JobOptions,
        with: Messaging<'_>,
    ) -> Result<Counters> {
        let mut counters = Counters::none(contract);
        let Some(url) = with.settings.redis.url() else {
            return Ok(without("REDIS_URL", counters));
        };
        let publishers = options::bullmq(url, &with.settings.redis, jobs)?;
        if with.publishes() {
            let queues = jobs.queues.clone();
            counters.relay = Some(self.relay(contract.name(), publishers, queues, with));
        }
        Ok(counters)
    }

    #[cfg(feature = "kafka")]
    #[expect(clippy::unnecessary_wraps, reason = "fails in a build without Kafka")]
    fn start_kafka(&self, contract: &dyn Contract, with: Messaging<'_>) -> Result<Counters> {
        let mut counters = Counters::none(contract);
        let kafka = &with.settings.kafka;
        if kafka.kafka_brokers.is_none() {
            return Ok(without("KAFKA_BROKERS", counters));
        }
        if with.publishes() {
            let publishers = KafkaPublisherFactory::new(kafka.into());
            // A missing topic has not been created yet.
            counters.relay = Some(self.relay(contract.name(), publishers, RequireQueue::All, with));
        }
        if with.consumes() {
            let source_options = KafkaSourceOptions {
                group: format!("{}-{}", kafka.kafka_group, contract.name()),
                topics: topics(contract),
            };
            let sources = KafkaMessageSourceFactory::new(kafka.into(), source_options);
            counters.consumer = Some(self.consumer(contract, sources, with));
        }
        Ok(counters)
    }

    #[cfg(not(feature = "kafka"))]
    #[expect(clippy::unused_self, reason = "as in a build with Kafka")]
    fn start_kafka(&self, contract: &dyn Contract, with: Messaging<'_>) -> Result<Counters> {
        if with.settings.kafka.kafka_brokers.is_none() {
            return Ok(without("KAFKA_BROKERS", Counters::none(contract)));
        }
        let text = format!(
            "The contract {} uses Kafka, and this build does not support Kafka. Build it with the \
             Cargo feature kafka, which is on by default.",
            contract.name()
        );
        Err(Error::new(ErrorKind::Misconfigured, text))
    }

    /// Starts delivering the messages of the sinks `names` to this process. Returns the channels
    /// in the same order.
    pub(super) fn open_sinks(&mut self, names: &[String], with: Messaging<'_>) -> Vec<SinkChannel> {
        let mut channels = Vec::with_capacity(names.len());
        for name in names {
            let name = sinks::intern(name);
            let (publishers, channel) =
                sink_channel(name, with.settings.messages.sink_timeout_seconds);
            channels.push(channel);
            if with.publishes() {
                let relay = Some(self.relay(name, publishers, Vec::new(), with));
                let (contract, component) = (name, name);
                self.counters.push(Counters { contract, component, relay, consumer: None });
            }
        }
        channels
    }

    /// Starts publishing the messages of a destination through `publishers`.
    fn relay<O: PublisherFactory>(
        &self,
        destination: &'static str,
        publishers: O,
        require_queue: impl Into<RequireQueue>,
        with: Messaging<'_>,
    ) -> Arc<RelayStats> {
        let MessageSettings { publish_attempts_max, .. } = with.settings.messages;
        let options = RelayOptions {
            destination,
            require_queue: require_queue.into(),
            attempts_max: publish_attempts_max,
        };
        let relay = Relay::new(with.engine.clone(), publishers, options);
        let stats = relay.stats();
        self.tasks.spawn(relay.run(self.stopping.clone()));
        stats
    }

    /// Starts consuming the messages of a contract.
    fn consumer<I: MessageSourceFactory>(
        &self,
        contract: &dyn Contract,
        sources: I,
        with: Messaging<'_>,
    ) -> Arc<EventConsumerStats> {
        let engine = with.engine.clone();
        let consumer =
            EventConsumer::new(contract.consumer(), engine, sources, contract.message_decoder());
        let stats = consumer.stats();
        self.tasks.spawn(consumer.run(self.stopping.clone()));
        stats
    }

    /// Whether this process publishes anything.
    pub(super) fn publishes(&self) -> bool {
        self.counters.iter().any(|counters| counters.relay.is_some())
    }

    /// The counters of relays and consumers.
    pub(super) fn counters(&self) -> &[Counters] {
        &self.counters
    }

    /// Stops all tasks after the work in progress.
    pub(super) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn topics(contract: &dyn Contract) -> Vec<String> {
    contract.topics().iter().map(|topic| (*topic).to_owned()).collect()
}

/// The counters of a contract whose transport is not set.
fn without(variable: &str, counters: Counters) -> Counters {
    tracing::info!(
        contract = counters.contract,
        "events stay in the outbox: set {variable} to publish them"
    );
    counters
}
