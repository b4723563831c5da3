//! Warnings about authentication.

use std::collections::BTreeSet;

use crate::app::enabled_contracts::ContractApi;
use crate::auth::Authenticator;
use crate::domain::caller::Access;

/// Logs what an operator should know about the authentication of these APIs.
pub(super) fn warn(apis: &[ContractApi], access: Access) {
    for api in apis.iter().filter(|api| matches!(api.authenticator(), Ok(Authenticator::Disabled)))
    {
        tracing::warn!(
            contract = api.contract().name(),
            port = api.port(),
            "authentication is disabled: any client that can reach this port has full access"
        );
    }
    for api in apis {
        if let Ok(Authenticator::Networks(networks)) = api.authenticator() {
            tracing::info!(
                contract = api.contract().name(),
                port = api.port(),
                ?networks,
                "authentication is disabled for clients in these networks; others have no access"
            );
        }
    }
    let verifiers = apis.iter().filter_map(|api| api.authenticator().ok()?.verifier());
    let warnings: BTreeSet<_> = verifiers.flat_map(|verifier| verifier.warnings()).collect();
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if access == Access::AnyValidToken {
        tracing::warn!(
            "access is any-valid-token: any user with a valid token can read and change every order"
        );
    }
}
