//! Callers and their permissions. All permissions are decided here.

use crate::domain::ids::{Actor, UserId};
use crate::domain::status::OrderStatus;
use crate::error::{Error, ErrorKind, Result};

/// What a valid token allows. The setting `access`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Read, place, change and delete own orders; staff may do so for every user.
    #[default]
    Owner,
    /// As `Owner`, but only staff may change a status. Owners may still cancel.
    Roles,
    /// Everything, as in the old Flask application.
    AnyValidToken,
}

/// The caller of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The operator or the embedding program. It has no token and full access.
    System,
    /// The embedding program on behalf of somebody: the rights of `System`, named in the history.
    Operator(Actor),
    /// The bearer of a valid token.
    User {
        /// The user of the token.
        id: UserId,
        /// Whether the token has an admin role or scope.
        staff: bool,
    },
}

/// The orders that a caller may access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All orders.
    Everyone,
    /// Only orders of this user.
    Owner(UserId),
}

impl Scope {
    /// The user that access is limited to, if it is limited.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        match self {
            Self::Everyone => None,
            Self::Owner(user) => Some(user.as_str()),
        }
    }
}

impl Caller {
    /// The orders that this caller may read and write.
    #[must_use]
    pub fn scope(&self, access: Access) -> Scope {
        match self {
            Self::User { id, staff: false } if access != Access::AnyValidToken => {
                Scope::Owner(id.clone())
            }
            Self::System | Self::Operator(_) | Self::User { .. } => Scope::Everyone,
        }
    }

    /// Checks whether this caller may place an order for `user`.
    ///
    /// # Errors
    /// `Forbidden` when the order would belong to another user.
    pub fn check_may_place_for(&self, user: &UserId, access: Access) -> Result<()> {
        match self.scope(access) {
            Scope::Owner(own) if own != *user => Err(Error::new(
                ErrorKind::Forbidden,
                format!("The token's user may not place orders for user {user}."),
            )),
            Scope::Everyone | Scope::Owner(_) => Ok(()),
        }
    }

    /// Checks whether this caller may set an order that it can read to `status`.
    ///
    /// # Errors
    /// `Forbidden` when only staff may change a status.
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

    /// The caller's name in the history.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::System => "system",
            Self::Operator(actor) => actor.as_str(),
            Self::User { id, .. } => id.as_str(),
        }
    }

    /// The scope of the caller's idempotency keys. Scopes of different callers differ.
    #[must_use]
    pub fn key_scope(&self) -> String {
        match self {
            Self::System | Self::Operator(_) => "system".to_owned(),
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
    fn customers_are_limited_to_their_orders_unless_any_token_may_do_anything() {
        let own = UserId::parse("1").unwrap();
        assert_eq!(user("1", false).scope(Access::Owner), Scope::Owner(own.clone()));
        assert_eq!(user("1", false).scope(Access::Roles), Scope::Owner(own));
        assert_eq!(user("1", false).scope(Access::AnyValidToken), Scope::Everyone);
        assert_eq!(user("1", true).scope(Access::Owner), Scope::Everyone);
        assert_eq!(Caller::System.scope(Access::Roles), Scope::Everyone);
    }

    #[test]
    fn customers_cannot_place_orders_for_others() {
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
    #[test]
    fn an_operator_has_the_rights_and_keys_of_the_system_and_its_own_name() {
        let operator = Caller::Operator(Actor::parse("support:anna").unwrap());
        assert_eq!(operator.scope(Access::Roles), Scope::Everyone);
        assert!(operator.check_may_set(OrderStatus::Delivered, Access::Roles).is_ok());
        assert_eq!(operator.name(), "support:anna");
        assert_eq!(operator.key_scope(), Caller::System.key_scope());
    }
}
