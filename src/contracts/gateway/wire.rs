//! The types of requests, responses and messages.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::contracts::{lenient_id, quantity};
use crate::json_object::objects;

/// The `type` of a message about a new order.
pub(super) const ORDER_PLACED: &str = "order-placed";
/// The `type` of a message about a shipped order.
pub(super) const ORDER_SHIPPED: &str = "order-shipped";
/// The `type` of a message about a product's stock.
pub(super) const PRODUCT_UPDATED: &str = "product-updated";

/// An order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Order)]
pub(super) struct GatewayOrder {
    /// 24 hex digits.
    #[serde(rename = "_id")]
    #[schema(example = "6a216ba00000000000000011", pattern = "^[0-9a-f]{24}$")]
    pub id: String,
    /// The user who placed the order.
    #[serde(rename = "userId")]
    pub user_id: String,
    /// The lines.
    pub products: Vec<GatewayLine>,
    /// When the order was placed.
    #[serde(rename = "createdAt")]
    #[schema(format = DateTime, example = "2025-01-29T00:00:00.000Z")]
    pub created_at: String,
    /// When the order was last changed.
    #[serde(rename = "updatedAt")]
    #[schema(format = DateTime, example = "2025-01-29T00:00:00.000Z")]
    pub updated_at: String,
    /// The version key of Mongoose.
    #[serde(rename = "__v")]
    #[schema(minimum = 0, maximum = 0)]
    pub mongoose_version: u8,
}

/// A product with its quantity.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Line)]
pub(super) struct GatewayLine {
    /// The product's id.
    #[serde(rename = "_id")]
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$",
        example = "product_id_1"
    )]
    pub id: String,
    /// The quantity.
    #[schema(minimum = 1, maximum = 2_147_483_647, example = 2)]
    pub quantity: u32,
}

/// A product of a new order, with its quantity.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewLine)]
pub(super) struct GatewayNewLine {
    /// The product's id.
    #[serde(rename = "_id", deserialize_with = "lenient_id::read")]
    #[schema(schema_with = lenient_id::product_schema)]
    pub id: String,
    /// The quantity.
    #[serde(deserialize_with = "quantity::read")]
    #[schema(schema_with = quantity::request_schema)]
    pub quantity: u32,
}

/// A request for an order.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewOrder)]
pub(super) struct GatewayNewOrder {
    /// The user. Default: the user in the header `x-user-id`, otherwise the caller.
    #[serde(default, rename = "userId", deserialize_with = "lenient_id::read_optional")]
    #[schema(schema_with = lenient_id::user_schema)]
    pub user_id: Option<String>,
    /// The lines.
    #[serde(deserialize_with = "objects")]
    #[schema(min_items = 1, max_items = 500)]
    pub products: Vec<GatewayNewLine>,
}

/// An error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Failure)]
pub(super) struct GatewayFailure<'a> {
    /// Human-readable text.
    pub error: &'a str,
}

/// A response with the envelope of the deployed services.
#[derive(Debug, Serialize)]
pub(super) struct ResultEnvelope<T> {
    pub result: T,
}

/// A message about an order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrderEvent)]
pub(super) struct GatewayOrderEvent {
    /// `order-placed` or `order-shipped`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The order after the event.
    pub payload: GatewayOrder,
}
