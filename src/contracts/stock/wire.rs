//! The types of requests, responses and messages.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::contracts::amount::Amount;
use crate::contracts::status_word::{self, StatusWord};
use crate::contracts::{lenient_id, quantity};
use crate::json_object::{JsonObject, objects};

/// The topic of new orders.
pub(super) const ORDER_CREATED: &str = "order_created";
/// The topic of the lists of users' orders.
pub(super) const USER_ORDERS: &str = "user_orders";
/// The topic of the product service's stock.
pub(super) const PRODUCT_EVENTS: &str = "product_events";
/// The topic of the user service's logins.
pub(super) const USER_LOGGED_IN: &str = "user_logged_in";

/// An order.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Order)]
pub(super) struct StockOrder {
    /// 24 hex digits.
    #[serde(rename = "_id")]
    #[schema(example = "6a216ba00000000000000011", pattern = "^[0-9a-f]{24}$")]
    pub id: String,
    /// The user who placed the order.
    pub user_id: String,
    /// The lines.
    pub products: Vec<StockLine>,
    /// The total price, without products that have no price in the catalog.
    #[schema(value_type = f64, minimum = 0)]
    pub total_amount: Amount,
    /// pending, confirmed, shipped, delivered, cancelled or returned.
    pub status: &'static str,
    /// When the order was placed.
    #[schema(format = DateTime, example = "2025-01-29T00:00:00.000Z")]
    pub created_at: String,
    /// When the order was last changed.
    #[schema(format = DateTime, example = "2025-01-29T00:00:00.000Z")]
    pub updated_at: String,
    /// The version key of Mongoose.
    #[serde(rename = "__v")]
    #[schema(minimum = 0, maximum = 0)]
    pub mongoose_version: u8,
}

/// A product with its quantity.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Line)]
pub(super) struct StockLine {
    /// The product's id.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$",
        example = "product_id_1"
    )]
    pub product_id: String,
    /// The quantity.
    #[schema(minimum = 1, maximum = 2_147_483_647, example = 2)]
    pub quantity: u32,
    /// Identifies the line, as Mongoose does; it is the same in every response.
    #[serde(rename = "_id")]
    #[schema(pattern = "^[0-9a-f]{24}$", example = "6a216ba0f000000000000011")]
    pub line_id: String,
}

/// A product of a new order, with its quantity.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewLine)]
pub(super) struct StockNewLine {
    /// The product's id.
    #[serde(deserialize_with = "lenient_id::read")]
    #[schema(schema_with = lenient_id::product_schema)]
    pub product_id: String,
    /// The quantity.
    #[serde(deserialize_with = "quantity::read")]
    #[schema(schema_with = quantity::request_schema)]
    pub quantity: u32,
}

/// A request for an order.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewOrder)]
pub(super) struct StockNewOrder {
    /// The user. Default: the caller.
    #[serde(default, deserialize_with = "lenient_id::read_optional")]
    #[schema(schema_with = lenient_id::user_schema)]
    pub user_id: Option<String>,
    /// The lines.
    #[serde(deserialize_with = "objects")]
    #[schema(min_items = 1, max_items = 500)]
    pub products: Vec<StockNewLine>,
    #[serde(default)]
    #[schema(schema_with = status_word::pending_schema)]
    pub status: Option<String>,
    // Read with the spelling of deployed services only.
    #[serde(default)]
    #[schema(ignore)]
    pub total_amount: Option<Box<RawValue>>,
}

/// A change of an order.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Change)]
pub(super) struct StockStatusChange {
    // A doc comment here would replace the description of `StatusWord`.
    #[schema(value_type = StatusWord, inline)]
    pub status: String,
}

/// The message about a new order: the fields that the notification service reads, and the order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OrderCreated)]
pub(super) struct StockOrderCreated {
    /// The same as `_id`.
    #[schema(example = "6a216ba00000000000000011", pattern = "^[0-9a-f]{24}$")]
    pub order_id: String,
    /// The user's e-mail address; null if no login has named it.
    pub email: Option<String>,
    /// The order.
    #[serde(flatten)]
    pub order: StockOrder,
}

/// The deployed response to a new order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Placed)]
pub(super) struct StockPlaced {
    /// Human-readable text.
    pub message: &'static str,
    /// The order.
    pub new_order: StockOrder,
    /// The same order, under the documented name.
    pub order: StockOrder,
}

/// A change of an order, as deployed clients send it: the whole order, or some of its fields. Only
/// the status can differ.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StockOrderChange {
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default, deserialize_with = "lenient_id::read_optional")]
    pub user_id: Option<String>,
    #[serde(default)]
    pub products: Option<Vec<JsonObject<StockNewLine>>>,
    #[serde(default)]
    pub total_amount: Option<Amount>,
}

/// The result and the order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Done)]
pub(super) struct OrderDone {
    /// Human-readable text.
    pub message: &'static str,
    /// The order.
    pub order: StockOrder,
}

/// A message: the result, or the error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct StockMessage<'a> {
    /// Human-readable text.
    pub message: &'a str,
}

/// The message about a user's orders.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UserOrders)]
pub(super) struct UserOrders<'a> {
    /// The user's id.
    pub user_id: &'a str,
    /// The newest orders, oldest first.
    pub orders: &'a [StockOrder],
}
