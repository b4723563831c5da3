//! Reads one user.

use crate::domain::ids::UserId;
use crate::domain::user::User;
use crate::engine::Engine;
use crate::error::Result;
use crate::store::users;

impl Engine {
    /// One user. There is no permission check: no contract exposes users.
    ///
    /// # Errors
    /// `NotFound` when no event about this user was received; `Unavailable`.
    pub async fn get_user(&self, id: &UserId) -> Result<User> {
        let mut connection = self.shared.store.acquire().await?;
        users::get(&mut connection, id).await
    }
}
