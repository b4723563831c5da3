//! Users, as known from events.

use chrono::{DateTime, Utc};

use crate::domain::ids::UserId;

/// A user. Unknown fields are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub id: UserId,
    /// The display name.
    pub username: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The delivery address.
    pub address: Option<String>,
    /// A telephone number or similar.
    pub contact: Option<String>,
    /// The notification preferences, a JSON object.
    pub preferences: Option<String>,
    /// The time of the last event about the user.
    pub updated_at: DateTime<Utc>,
}
