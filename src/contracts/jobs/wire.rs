//! The types of requests, responses and jobs.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::contracts::amount::{self, Amount};
use crate::contracts::lenient_id;
use crate::contracts::moment::moment;
use crate::contracts::quantity;
use crate::contracts::status_word::{self, StatusWord};
use crate::json_object::objects;

/// The job of a new order, for the deployed workers.
pub(super) const ORDER_PLACED: &str = "order-placed";
/// The job that requests the payment of an order.
pub(super) const PROCESS_PAYMENT: &str = "process-payment";
/// The job that cancels or refunds the payment of an order.
pub(super) const CANCEL_PAYMENT: &str = "cancel-payment";
/// The job that removes the products of an order from the inventory.
pub(super) const UPDATE_INVENTORY: &str = "update-inventory";
/// The job that returns the products of an order to the inventory.
pub(super) const RESTORE_INVENTORY: &str = "restore-inventory";
/// The job that notifies the customer of the status of an order.
pub(super) const SEND_NOTIFICATION: &str = "send-notification";

/// A product of an order, with its quantity.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Product)]
pub(super) struct JobsProduct {
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$",
        example = "product-id"
    )]
    pub product_id: String,
    #[schema(minimum = 1, maximum = 2_147_483_647, example = 2)]
    pub quantity: u32,
    /// Identifies the line, as Mongoose does; it is the same in every response.
    #[serde(rename = "_id")]
    #[schema(pattern = "^[0-9a-f]{24}$")]
    pub line_id: String,
}

/// A product of a new order, with its quantity.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewProduct)]
pub(super) struct JobsNewProduct {
    #[serde(deserialize_with = "lenient_id::read")]
    #[schema(schema_with = lenient_id::product_schema)]
    pub product_id: String,
    #[serde(deserialize_with = "quantity::read")]
    #[schema(schema_with = quantity::request_schema)]
    pub quantity: u32,
}

/// The body of `POST /orders`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewOrder)]
pub(super) struct JobsNewOrder {
    #[serde(deserialize_with = "lenient_id::read")]
    #[schema(schema_with = lenient_id::user_schema)]
    pub user_id: String,
    #[serde(deserialize_with = "objects")]
    #[schema(min_items = 1, max_items = 500)]
    pub products: Vec<JobsNewProduct>,
    // A doc comment here would replace the description of the schema.
    #[schema(schema_with = amount::request_schema)]
    pub total_amount: Amount,
    #[serde(default)]
    #[schema(schema_with = status_word::pending_schema)]
    pub status: Option<String>,
}

/// The body of `PUT /orders/{id}`.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewStatus)]
pub(super) struct JobsNewStatus {
    // A doc comment here would replace the description of `StatusWord`.
    #[schema(value_type = StatusWord, inline)]
    pub status: String,
}

/// An order.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Order)]
pub(super) struct JobsOrder {
    #[schema(pattern = "^[0-9a-f]{24}$")]
    pub id: String,
    /// The same as `id`.
    #[serde(rename = "_id")]
    #[schema(pattern = "^[0-9a-f]{24}$")]
    pub mongo_id: String,
    pub user_id: String,
    pub products: Vec<JobsProduct>,
    /// pending, confirmed, shipped, delivered, cancelled or returned.
    pub status: &'static str,
    #[schema(value_type = f64, minimum = 0)]
    pub total_amount: Amount,
    pub created_at: JobsTime,
    pub updated_at: JobsTime,
    /// The version key of Mongoose.
    #[serde(rename = "__v")]
    #[schema(minimum = 0, maximum = 0)]
    pub mongoose_version: u8,
}

/// The response of `POST /orders`: the documented `order`, and the fields of the deployed service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Created)]
pub(super) struct OrderCreated {
    #[schema(example = "Order created successfully")]
    pub message: &'static str,
    pub order: JobsOrder,
    #[serde(flatten)]
    pub fields: JobsOrder,
}

/// A message: the result, or the error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct JobsMessage {
    pub message: String,
}

/// The data of a job: the order and the event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobData {
    #[serde(flatten)]
    pub order: JobsOrder,
    /// The previous status; absent for a new order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub previous_status: Option<&'static str>,
    /// The reason of the change, if one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// The event's id, the same in the jobs of all queues.
    #[schema(value_type = String, format = "uuid")]
    pub event_id: Uuid,
    /// 1 for a new order, incremented by each change.
    pub version: i32,
}

/// A time in the format of JavaScript: `2024-10-04T10:00:00.000Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = Time, value_type = String, format = DateTime)]
pub(super) struct JobsTime(pub DateTime<Utc>);

impl Serialize for JobsTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&moment(self.0))
    }
}
