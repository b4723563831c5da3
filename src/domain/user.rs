//! A user, as other services have announced one.

use chrono::{DateTime, Utc};

use crate::domain::ids::UserId;

/// A user; what nobody has said is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// The name to show.
    pub username: Option<String>,
    /// Where to write to.
    pub email: Option<String>,
    /// Where orders go.
    pub address: Option<String>,
    /// A telephone number or the like.
    pub contact: Option<String>,
    /// What the user wants to hear of, as a JSON object.
    pub preferences: Option<String>,
    /// When any of this was last announced.
    pub updated_at: DateTime<Utc>,
}
