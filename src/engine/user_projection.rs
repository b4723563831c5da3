//! Projects users' e-mail addresses and preferences into Redis, where other services read them.
//!
//! The database is authoritative. What could not be written is written by the next sweep.
//! Preferences that Redis has already are imported for users who have none in the database, so that
//! a team that migrates keeps them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::domain::external_event::ExternalEvent;
use crate::domain::ids::UserId;
use crate::domain::preferences::Preferences;
use crate::domain::user::User;
use crate::engine::Engine;
use crate::engine::shared::Shared;
use crate::error::{Result, error_chain};
use crate::store::users;

/// Users per page of a sweep.
const PAGE: i64 = 100;

/// Projects the committed users of `events`. After a failure the next sweep projects them: see
/// [`Engine::project_users_since`].
pub(super) async fn project(shared: &Shared, events: &[ExternalEvent]) {
    let ids: Vec<_> = events.iter().filter_map(user_of).map(UserId::as_str).collect();
    if shared.ports.user_projection.is_none() || ids.is_empty() {
        return;
    }
    let projected = async {
        let mut connection = shared.store.acquire().await?;
        let users = users::get_many(&mut connection, &ids).await?;
        drop(connection);
        write(shared, &users).await
    };
    if let Err(error) = projected.await {
        tracing::debug!(error = error_chain(&error), "user projection is delayed");
    }
}

async fn write(shared: &Shared, users: &[User]) -> Result<()> {
    match &shared.ports.user_projection {
        Some(projection) if !users.is_empty() => projection.write(users).await,
        _ => Ok(()),
    }
}

fn user_of(event: &ExternalEvent) -> Option<&UserId> {
    match event {
        ExternalEvent::User(user) => Some(&user.user),
        ExternalEvent::LoggedIn(_) | ExternalEvent::Product(_) | ExternalEvent::Stock(_) => None,
    }
}

impl Engine {
    /// Whether users are projected into Redis.
    #[must_use]
    pub fn projects_users(&self) -> bool {
        self.shared.ports.user_projection.is_some()
    }

    /// Projects all users that changed since `since`.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn project_users_since(&self, since: DateTime<Utc>) -> Result<()> {
        let mut after = String::new();
        loop {
            let mut connection = self.shared.store.acquire().await?;
            let users = users::changed_since(&mut connection, since, &after, PAGE).await?;
            drop(connection);
            let Some(last) = users.last() else { return Ok(()) };
            last.id.as_str().clone_into(&mut after);
            write(&self.shared, &users).await?;
        }
    }

    /// Imports preferences from Redis for users who have none in the database. Malformed ones are
    /// skipped.
    ///
    /// # Errors
    /// `Unavailable`: some may have been imported.
    pub async fn import_preferences(&self) -> Result<()> {
        let Some(projection) = &self.shared.ports.user_projection else { return Ok(()) };
        let (mut cursor, mut imported) = (0, 0);
        loop {
            let page = projection.preferences(cursor).await?;
            let found: BTreeMap<_, _> = page.found.iter().filter_map(parse).collect();
            if !found.is_empty() {
                let mut connection = self.shared.store.acquire().await?;
                imported += users::fill_in(&mut connection, &found).await?;
            }
            cursor = page.next;
            if cursor == 0 {
                break;
            }
        }
        if imported > 0 {
            tracing::info!(users = imported, "imported preferences from Redis");
        }
        Ok(())
    }
}

fn parse((user, json): &(String, String)) -> Option<(UserId, Preferences)> {
    let parsed = UserId::parse(user.as_str()).and_then(|id| Ok((id, Preferences::parse(json)?)));
    parsed
        .inspect_err(|error| {
            tracing::debug!(error = error_chain(error), "malformed preferences are skipped");
        })
        .ok()
}
