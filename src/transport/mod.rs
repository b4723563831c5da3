//! The ways out and in: bytes only, one module for each kind of broker.

pub mod bullmq;
pub mod http;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod rabbitmq;
pub mod redis;
pub mod sink_channel;
