//! Types and words spelled as this dialect spells them, for requests, answers and jobs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::contracts::amount::Amount;
use crate::contracts::moment::moment;
use crate::contracts::quantity;
use crate::contracts::status_word::StatusWord;
use crate::json_object::objects;

/// The job of a new order, which the deployed workers know.
pub(super) const ORDER_PLACED: &str = "order-placed";
/// The job that asks for an order's payment.
pub(super) const PROCESS_PAYMENT: &str = "process-payment";
/// The job that gives up an order's payment, or gives it back.
pub(super) const CANCEL_PAYMENT: &str = "cancel-payment";
/// The job that takes an order's products out of the inventory.
pub(super) const UPDATE_INVENTORY: &str = "update-inventory";
/// The job that gives them back.
pub(super) const RESTORE_INVENTORY: &str = "restore-inventory";
/// The job that tells the customer where an order stands.
pub(super) const SEND_NOTIFICATION: &str = "send-notification";

/// A product of an order, and how many of it.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Product)]
pub(super) struct WireProduct {
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$",
        example = "product-id"
    )]
    pub product_id: String,
    #[serde(deserialize_with = "quantity::read")]
    #[schema(minimum = 1, maximum = 2_147_483_647, example = 2)]
    pub quantity: u32,
}

/// The body of `POST /orders`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewOrder {
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$",
        example = "user-id"
    )]
    pub user_id: String,
    #[serde(deserialize_with = "objects")]
    #[schema(min_items = 1, max_items = 500)]
    pub products: Vec<WireProduct>,
    /// What all of it costs, with at most 4 decimals.
    #[schema(value_type = f64, minimum = 0, exclusive_maximum = 1_000_000_000_000_000_i64,
             multiple_of = 0.0001,
             example = 200.00)]
    pub total_amount: Amount,
}

/// The body of `PUT /orders/{id}`.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewStatus {
    // A comment of its own would keep utoipa from showing the word's.
    #[schema(value_type = StatusWord, inline)]
    pub status: String,
}

/// An order.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Order)]
pub(super) struct WireOrder {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    pub id: String,
    /// The same as `id`.
    #[serde(rename = "_id")]
    #[schema(pattern = "^[0-9a-f]{24}$")]
    pub mongo_id: String,
    pub user_id: String,
    pub products: Vec<WireProduct>,
    /// pending, confirmed, shipped, delivered, cancelled or returned.
    pub status: &'static str,
    #[schema(value_type = f64, minimum = 0)]
    pub total_amount: Amount,
    pub created_at: WireTime,
    pub updated_at: WireTime,
}

/// The answer to `POST /orders`: the order as documented, and its fields as deployed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Created {
    #[schema(example = "Order created successfully")]
    pub message: &'static str,
    pub order: WireOrder,
    #[serde(flatten)]
    pub fields: WireOrder,
}

/// What happened, or what went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Told {
    pub message: String,
}

/// The data of a job: the order, and beside it what happened.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobData {
    #[serde(flatten)]
    pub order: WireOrder,
    /// Where the order stood before; absent for a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub previous_status: Option<&'static str>,
    /// Why, where a reason was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// The event's id: the same in the jobs of all queues.
    #[schema(value_type = String, format = "uuid")]
    pub event_id: Uuid,
    /// 1 for a new order, one more with every change.
    pub version: i32,
}

/// A time as JavaScript writes it: `2024-10-04T10:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub(super) struct WireTime(pub DateTime<Utc>);

impl Serialize for WireTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&moment(self.0))
    }
}
