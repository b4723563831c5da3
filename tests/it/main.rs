//! The engine against a real PostgreSQL and a real RabbitMQ. `make test` gives it both.

mod harness;
mod orders;
mod placing;
mod store;
