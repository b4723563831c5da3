//! Clients of message brokers, Redis and HTTP services: one module per client library. They
//! transport bytes and do not know the formats of contracts.

pub mod bullmq;
pub mod http;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod rabbitmq;
pub mod redis;
pub mod sink_channel;
