pub mod domain;
pub mod engine;
pub mod error;
pub mod store;
