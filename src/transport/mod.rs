//! The ways out and in: bytes only, one module for each kind of broker.

pub mod http;
pub mod rabbitmq;
pub mod redis;
