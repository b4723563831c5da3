//! Shows users' e-mail addresses and preferences to other services, in Redis.
//!
//! The database decides; Redis shows. What could not be shown is shown by the next sweep.
//! Preferences that are there already count where a user has told none here: a team that moves over
//! has them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::domain::external_event::ExternalEvent;
use crate::domain::ids::UserId;
use crate::domain::preferences::Preferences;
use crate::domain::user::User;
use crate::engine::{Engine, Shared};
use crate::error::{Result, error_chain};
use crate::store::users;

/// Users that are shown at a time.
const PAGE: i64 = 100;

/// Shows the users that facts are about, as they are committed now. What cannot be shown is shown
/// later, by [`Engine::show_users_since`].
pub(super) async fn show(shared: &Shared, facts: &[ExternalEvent]) {
    let ids: Vec<_> = facts.iter().filter_map(user_of).map(UserId::as_str).collect();
    if shared.ports.user_projection.is_none() || ids.is_empty() {
        return;
    }
    let shown = async {
        let mut connection = shared.store.acquire().await?;
        let users = users::get_many(&mut connection, &ids).await?;
        drop(connection);
        push(shared, &users).await
    };
    if let Err(error) = shown.await {
        tracing::debug!(error = error_chain(&error), "users are shown later");
    }
}

async fn push(shared: &Shared, users: &[User]) -> Result<()> {
    match &shared.ports.user_projection {
        Some(keys) if !users.is_empty() => keys.show(users).await,
        _ => Ok(()),
    }
}

fn user_of(fact: &ExternalEvent) -> Option<&UserId> {
    match fact {
        ExternalEvent::User(user) => Some(&user.user),
        ExternalEvent::LoggedIn(_) | ExternalEvent::Product(_) | ExternalEvent::Stock(_) => None,
    }
}

impl Engine {
    /// Whether users are shown in Redis.
    #[must_use]
    pub fn shows_users(&self) -> bool {
        self.shared.ports.user_projection.is_some()
    }

    /// Shows all users that have changed since `since`, whoever changed them.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn show_users_since(&self, since: DateTime<Utc>) -> Result<()> {
        let mut after = String::new();
        loop {
            let mut connection = self.shared.store.acquire().await?;
            let users = users::changed_since(&mut connection, since, &after, PAGE).await?;
            drop(connection);
            let Some(last) = users.last() else { return Ok(()) };
            last.id.as_str().clone_into(&mut after);
            push(&self.shared, &users).await?;
        }
    }

    /// Takes in the preferences that Redis shows of users who have told none here. What is none is
    /// left aside.
    ///
    /// # Errors
    /// `Unavailable`: some may be taken in and some not.
    pub async fn import_preferences(&self) -> Result<()> {
        let Some(keys) = &self.shared.ports.user_projection else { return Ok(()) };
        let (mut cursor, mut taken) = (0, 0);
        loop {
            let page = keys.preferences(cursor).await?;
            let found: BTreeMap<_, _> = page.found.iter().filter_map(read).collect();
            if !found.is_empty() {
                let mut connection = self.shared.store.acquire().await?;
                taken += users::fill_in(&mut connection, &found).await?;
            }
            cursor = page.next;
            if cursor == 0 {
                break;
            }
        }
        if taken > 0 {
            tracing::info!(users = taken, "took in preferences that Redis had");
        }
        Ok(())
    }
}

fn read((user, json): &(String, String)) -> Option<(UserId, Preferences)> {
    let read = UserId::parse(user.as_str()).and_then(|id| Ok((id, Preferences::parse(json)?)));
    read.inspect_err(|error| {
        tracing::debug!(error = error_chain(error), "preferences are ignored");
    })
    .ok()
}
