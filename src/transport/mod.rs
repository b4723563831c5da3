//! The ways out and in: bytes only, one module for each kind of broker.

pub mod bullmq;
pub mod rabbitmq;
pub mod redis;
