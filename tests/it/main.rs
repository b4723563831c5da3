//! The engine against a real PostgreSQL and a real RabbitMQ. `make test` gives it both.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is a failure, reported where it happened"
)]

mod broker;
mod clock;
mod conformance;
mod connecting;
mod consumer;
mod dead_letters;
mod embedded;
mod fail_points;
mod flask_contract;
mod graphql_http;
mod harness;
mod legacy_changes;
mod model;
mod open_apis;
mod open_limits;
mod optimistic;
mod order_lists;
mod orders;
mod placing;
mod pool;
mod query_plans;
mod rabbitmq;
mod reads;
mod relay;
mod replay;
mod request_log;
mod server;
mod stock_answers;
mod stock_projection;
mod store;
mod test_api;
mod upstream_checks;
mod user_projection;
