//! The commands besides serving: migrate, check, issue a token, describe a contract, manage dead
//! letters, route operations, create demo data. Each opens what it needs and closes it again;
//! operations that an open engine offers too take the engine as an argument.

mod adopt;
mod demo;
pub mod describing;
mod doctor;
mod events;
mod replay;
mod routing_rules;

use std::time::Duration;

use chrono::Utc;

use crate::app;
use crate::config::Settings;
use crate::domain::ids::UserId;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{self, Store};

pub use crate::adoption::StatusMap;
pub use adopt::{AdoptOptions, AdoptReport, Progress, adopt, undo_adoption};
pub use demo::{Demo, seed_demo};
pub use doctor::doctor;
pub use events::{DeadLetter, events_dead_letters, events_retry, events_skip, events_tail};
pub use replay::{ReplayOptions, Replayed, events_replay};
pub use routing_rules::{
    RuleScope, ShadowReport, StoredRoutingRule, routing_rules, set_common_routing_rule,
    set_routing_rule, shadow_clear, shadow_ignore, shadow_report,
};

/// Longest lifetime of a token: a year.
const TOKEN_SECONDS_MAX: u64 = 31_536_000;

/// Applies pending migrations and returns their names.
///
/// # Errors
/// `Misconfigured`, `Unavailable`.
pub async fn migrate(settings: &Settings) -> Result<Vec<String>> {
    with_store(settings, async |store| store::migrate::migrate(&store).await).await
}

/// Empties the tables of a test database.
///
/// # Errors
/// `Misconfigured`, `Unavailable`, `Forbidden` if the server is not a test server.
pub async fn reset_test_database(settings: &Settings) -> Result<()> {
    with_store(settings, async |store| store::reset::reset(&mut *store.acquire().await?).await)
        .await
}

/// Issues a token for `user` that is valid for `lifetime`, 1 second to a year.
///
/// # Errors
/// `Misconfigured` without a secret, `InvalidInput` for a lifetime out of range.
pub fn mint_token(
    settings: &Settings,
    user: &UserId,
    admin: bool,
    lifetime: Duration,
) -> Result<String> {
    if !(1..=TOKEN_SECONDS_MAX).contains(&lifetime.as_secs()) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "The lifetime of a token must be 1 to {TOKEN_SECONDS_MAX} seconds, not {}.",
                lifetime.as_secs()
            ),
        ));
    }
    app::verifier(&settings.auth)?.mint(user, admin, lifetime, Utc::now())
}

/// Runs `work` on an open store and closes the store, also after an error.
async fn with_store<T>(
    settings: &Settings,
    work: impl AsyncFnOnce(Store) -> Result<T>,
) -> Result<T> {
    let store = Store::connect(app::database(settings)?).await?;
    let result = work(store.clone()).await;
    store.close().await;
    result
}

/// Checks the maximum number of rows to return: 1 to 1000.
///
/// # Errors
/// `InvalidInput`.
pub fn checked_limit(limit: i64) -> Result<u32> {
    u32::try_from(limit).ok().filter(|n| (1..=1000).contains(n)).ok_or_else(|| {
        Error::new(ErrorKind::InvalidInput, format!("limit must be 1 to 1000, not {limit}."))
    })
}
