//! Types and words spelled as this dialect spells them, for requests, answers and messages.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::contracts::amount::Amount;
use crate::contracts::quantity;
use crate::contracts::status_word::StatusWord;
use crate::json_object::objects;

/// The topic of new orders.
pub(super) const ORDER_CREATED: &str = "order_created";
/// The topic of the lists of users' orders.
pub(super) const USER_ORDERS: &str = "user_orders";
/// The topic on which the product service tells its stock.
pub(super) const PRODUCT_EVENTS: &str = "product_events";
/// The topic on which the user service tells who has logged in.
pub(super) const USER_LOGGED_IN: &str = "user_logged_in";

/// An order; the message about a new one is the order.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = stock::Order)]
pub(super) struct WireOrder {
    /// 24 hex digits.
    #[serde(rename = "_id")]
    #[schema(example = "6a216ba00000000000000011", pattern = "^[0-9a-f]{24}$")]
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// What was ordered.
    pub products: Vec<WireLine>,
    /// What all of it costs, as far as the catalogue knows.
    #[schema(value_type = f64, minimum = 0)]
    pub total_amount: Amount,
    /// pending, confirmed, shipped, delivered, cancelled or returned.
    pub status: &'static str,
    /// When it was placed.
    #[schema(format = DateTime, example = "2025-01-29T00:00:00.000Z")]
    pub created_at: String,
    /// When it last changed.
    #[schema(format = DateTime, example = "2025-01-29T00:00:00.000Z")]
    pub updated_at: String,
}

/// So many of a product.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = stock::Line)]
pub(super) struct WireLine {
    /// Which product.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$",
        example = "product_id_1"
    )]
    pub product_id: String,
    /// How many.
    #[serde(deserialize_with = "quantity::read")]
    #[schema(minimum = 1, maximum = 2_147_483_647, example = 2)]
    pub quantity: u32,
}

/// A request for an order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = stock::NewOrder)]
pub(super) struct NewOrder {
    /// Whose it will be. Absent: who asks.
    #[serde(default)]
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$",
        example = "user_id_1"
    )]
    pub user_id: Option<String>,
    /// What is wanted.
    #[serde(deserialize_with = "objects")]
    #[schema(min_items = 1, max_items = 500)]
    pub products: Vec<WireLine>,
}

/// A change of an order.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = stock::Change)]
pub(super) struct Change {
    // A comment of its own would keep utoipa from showing the word's.
    #[schema(value_type = StatusWord, inline)]
    pub status: String,
}

/// What was done, and the order after it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = stock::Done)]
pub(super) struct Done {
    /// A sentence for people.
    pub message: &'static str,
    /// The order.
    pub order: WireOrder,
}

/// What happened, or what went wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = stock::Told)]
pub(super) struct Told<'a> {
    /// A sentence for people.
    pub message: &'a str,
}

/// The message about a user's orders.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = stock::UserOrders)]
pub(super) struct UserOrders<'a> {
    /// Whose.
    pub user_id: &'a str,
    /// The newest of them, the oldest of these first.
    pub orders: &'a [WireOrder],
}
