//! Types spelled as this dialect spells them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::contracts::quantity;
use crate::json_object::objects;

/// The `type` of a message about a new order.
pub(super) const ORDER_PLACED: &str = "order-placed";
/// The `type` of a message about an order on its way.
pub(super) const ORDER_SHIPPED: &str = "order-shipped";
/// The `type` of a message about a product's stock.
pub(super) const PRODUCT_UPDATED: &str = "product-updated";

/// An order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = gateway::Order)]
pub(super) struct WireOrder {
    /// 24 hex digits.
    #[serde(rename = "_id")]
    #[schema(example = "6a216ba00000000000000011", pattern = "^[0-9a-f]{24}$")]
    pub id: String,
    /// Whose it is.
    #[serde(rename = "userId")]
    pub user_id: String,
    /// What was ordered.
    pub products: Vec<WireLine>,
    /// When it was placed.
    #[serde(rename = "createdAt")]
    #[schema(format = DateTime, example = "2025-01-29T00:00:00.000Z")]
    pub created_at: String,
    /// When it last changed.
    #[serde(rename = "updatedAt")]
    #[schema(format = DateTime, example = "2025-01-29T00:00:00.000Z")]
    pub updated_at: String,
}

/// So many of a product.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[schema(as = gateway::Line)]
pub(super) struct WireLine {
    /// Which product.
    #[serde(rename = "_id")]
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$",
        example = "product_id_1"
    )]
    pub id: String,
    /// How many.
    #[serde(deserialize_with = "quantity::read")]
    #[schema(minimum = 1, maximum = 2_147_483_647, example = 2)]
    pub quantity: u32,
}

/// A request for an order.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = gateway::NewOrder)]
pub(super) struct NewOrder {
    /// Whose it will be. Absent: the user of the header `x-user-id`, else who asks.
    #[serde(default, rename = "userId")]
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

/// Why not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = gateway::Failure)]
pub(super) struct Failure<'a> {
    /// A sentence for people.
    pub error: &'a str,
}

/// An answer as deployed.
#[derive(Debug, Serialize)]
pub(super) struct Enveloped<T> {
    pub result: T,
}

/// A message about an order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = gateway::OrderEvent)]
pub(super) struct WireEvent {
    /// `order-placed` or `order-shipped`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The order after it.
    pub payload: WireOrder,
}
