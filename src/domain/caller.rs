//! Who asks, and what that person may do: the one place where permission is decided.

use crate::domain::ids::UserId;
use crate::domain::status::OrderStatus;
use crate::error::{Error, ErrorKind, Result};

/// What a valid token allows. The setting `access`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// See, place, change and delete one's own orders; staff may for everybody.
    #[default]
    Owner,
    /// As `Owner`, but only staff changes a status; the owner may still cancel.
    Roles,
    /// Everything, as the old Flask app let it.
    AnyValidToken,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The operator or the embedding program: no token, no limits of ownership.
    System,
    /// The bearer of a valid token.
    User {
        /// Whose token it is.
        id: UserId,
        /// Whether the token carries an admin role or scope.
        staff: bool,
    },
}

/// Whose orders a statement may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's.
    Everyone,
    /// Only this user's.
    Owner(UserId),
}

impl Scope {
    /// The user to restrict to, if any.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        match self {
            Self::Everyone => None,
            Self::Owner(user) => Some(user.as_str()),
        }
    }
}

impl Caller {
    /// Whose orders this caller may read and write.
    #[must_use]
    pub fn scope(&self, access: Access) -> Scope {
        match self {
            Self::User { id, staff: false } if access != Access::AnyValidToken => {
                Scope::Owner(id.clone())
            }
            Self::System | Self::User { .. } => Scope::Everyone,
        }
    }

    /// Whether this caller may place an order for `user`.
    ///
    /// # Errors
    /// `Forbidden` when the order would be somebody else's.
    pub fn check_may_place_for(&self, user: &UserId, access: Access) -> Result<()> {
        match self.scope(access) {
            Scope::Owner(own) if own != *user => Err(Error::new(
                ErrorKind::Forbidden,
                format!("The token's user may not place orders for user {user}."),
            )),
            Scope::Everyone | Scope::Owner(_) => Ok(()),
        }
    }

    /// Whether this caller may set an order that it can see to `status`.
    ///
    /// # Errors
    /// `Forbidden` where only staff changes a status.
    pub fn check_may_set(&self, status: OrderStatus, access: Access) -> Result<()> {
        let customer = matches!(self, Self::User { staff: false, .. });
        if customer && access == Access::Roles && status != OrderStatus::Cancelled {
            return Err(Error::new(
                ErrorKind::Forbidden,
                format!("Only staff may set an order to {}.", status.as_str()),
            ));
        }
        Ok(())
    }

    /// The name under which the caller's idempotency keys and history entries are kept.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::System => "system",
            Self::User { id, .. } => id.as_str(),
        }
    }

    /// The name that scopes idempotency keys: never equal for two callers.
    #[must_use]
    pub fn key_scope(&self) -> String {
        match self {
            Self::System => "system".to_owned(),
            Self::User { id, .. } => format!("user:{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str, staff: bool) -> Caller {
        Caller::User { id: UserId::parse(id).unwrap(), staff }
    }

    #[test]
    fn customers_are_confined_unless_the_setting_opens_everything() {
        let own = UserId::parse("1").unwrap();
        assert_eq!(user("1", false).scope(Access::Owner), Scope::Owner(own.clone()));
        assert_eq!(user("1", false).scope(Access::Roles), Scope::Owner(own));
        assert_eq!(user("1", false).scope(Access::AnyValidToken), Scope::Everyone);
        assert_eq!(user("1", true).scope(Access::Owner), Scope::Everyone);
        assert_eq!(Caller::System.scope(Access::Roles), Scope::Everyone);
    }

    #[test]
    fn nobody_places_for_another() {
        let other = UserId::parse("2").unwrap();
        assert!(user("1", false).check_may_place_for(&other, Access::Owner).is_err());
        assert!(user("2", false).check_may_place_for(&other, Access::Owner).is_ok());
        assert!(user("1", true).check_may_place_for(&other, Access::Roles).is_ok());
        assert!(user("1", false).check_may_place_for(&other, Access::AnyValidToken).is_ok());
    }

    #[test]
    fn under_roles_an_owner_may_only_cancel() {
        let customer = user("1", false);
        assert!(customer.check_may_set(OrderStatus::Cancelled, Access::Roles).is_ok());
        assert!(customer.check_may_set(OrderStatus::Delivered, Access::Roles).is_err());
        assert!(customer.check_may_set(OrderStatus::Delivered, Access::Owner).is_ok());
        assert!(user("1", true).check_may_set(OrderStatus::Delivered, Access::Roles).is_ok());
    }

    #[test]
    fn a_user_named_system_does_not_share_the_systems_keys() {
        assert_ne!(user("system", false).key_scope(), Caller::System.key_scope());
    }
}
