//! The rules of orders. Pure: no I/O, no async, no wire types.

pub mod caller;
pub mod event;
pub mod external_event;
pub mod ids;
pub mod message;
pub mod money;
pub mod order;
pub mod placement;
pub mod preferences;
pub mod product;
pub mod query;
pub mod quote;
pub mod replay;
pub mod routing_rule;
pub mod status;
pub mod stock;
pub mod stock_answer;
pub mod stream;
pub mod user;
