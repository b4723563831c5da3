//! Reads and sets routing rules, and reads the results of shadow requests.

use crate::app::enabled_contracts::EnabledContracts;
use crate::config::Settings;
use crate::domain::ids::UserId;
use crate::domain::routing_rule::{ALL_OPERATIONS, MigrationStage};
use crate::error::{Error, ErrorKind, Result};
use crate::operations::{checked_limit, with_store};
use crate::store::shadow::{Difference, Since};
use crate::store::{self, shadow, switches as kept};

pub use crate::store::switches::StoredRoutingRule;

/// Longest name of an operation or field, in characters.
const NAME_LENGTH_MAX: usize = 200;
/// Most users or ignored fields of one rule.
const LIST_MAX: usize = 1000;

/// The users to whom a stage applies. By default, everyone.
#[derive(Clone, Debug, Default)]
pub struct RuleScope {
    /// Percentage of users, 0 to 100.
    pub percent: Option<i64>,
    /// Ids of users to whom it applies regardless of `percent`.
    pub users: Vec<String>,
}

/// Results of shadow requests.
#[derive(Debug)]
pub struct ShadowReport {
    /// Counts by operation.
    pub counts: Vec<Since>,
    /// Differences with their ids, newest first.
    pub differences: Vec<(i64, Difference)>,
}

/// All routing rules.
///
/// # Errors
/// `Misconfigured`, `Unavailable`.
pub async fn routing_rules(settings: &Settings) -> Result<Vec<StoredRoutingRule>> {
    with_store(settings, async |store| kept::all(&mut *store.acquire().await?).await).await
}

/// Sets the rule of one operation. `stage: None` removes its own stage, so that the rule for all
/// operations applies. Returns whether the engine has an operation of that name. If it has not, it
/// may still be an operation of the legacy code.
///
/// # Errors
/// `InvalidInput` for an invalid name, percentage or user, or for a scope with the stage `legacy`,
/// which has no previous stage; `Misconfigured`, `Unavailable`.
pub async fn set_routing_rule(
    settings: &Settings,
    operation: &str,
    stage: Option<&str>,
    scope: RuleScope,
) -> Result<bool> {
    check_name("operation", operation)?;
    let (stage, percent, users) = parse_rule(stage, scope)?;
    with_store(settings, async |store| {
        let mut connection = store.acquire().await?;
        kept::set(&mut connection, operation, stage, percent, &users).await
    })
    .await?;
    let contracts = EnabledContracts::new(settings)?;
    let is_route = operation.contains(' ') || operation == ALL_OPERATIONS;
    Ok(is_route
        || contracts.apis().iter().any(|api| api.contract().operations().contains(&operation)))
}

/// Sets the rule for all operations, and removes the stages of single operations.
///
/// # Errors
/// `InvalidInput` for an invalid percentage or user, or for a scope with the stage `legacy`;
/// `Misconfigured`, `Unavailable`.
pub async fn set_common_routing_rule(
    settings: &Settings,
    stage: Option<&str>,
    scope: RuleScope,
) -> Result<()> {
    let (stage, percent, users) = parse_rule(stage, scope)?;
    with_store(settings, async |store| {
        let mut transaction = store.begin().await?;
        kept::unset_others(&mut transaction, ALL_OPERATIONS).await?;
        kept::set(&mut transaction, ALL_OPERATIONS, stage, percent, &users).await?;
        store::commit(transaction).await
    })
    .await
}

/// Sets the response fields that are not compared: of one operation, or of all with `*`.
///
/// # Errors
/// `InvalidInput` for an invalid name; `Misconfigured`, `Unavailable`.
pub async fn shadow_ignore(settings: &Settings, operation: &str, fields: &[String]) -> Result<()> {
    check_name("operation", operation)?;
    check_count("fields", fields)?;
    fields.iter().try_for_each(|field| check_name("field", field))?;
    with_store(settings, async |store| {
        kept::ignore(&mut *store.acquire().await?, operation, fields).await
    })
    .await
}

/// Results of shadow requests of one operation or all, with at most `limit` differences.
///
/// # Errors
/// `InvalidInput` for a limit outside 1 to 1000; `Misconfigured`, `Unavailable`.
pub async fn shadow_report(
    settings: &Settings,
    operation: Option<&str>,
    limit: i64,
) -> Result<ShadowReport> {
    let limit = checked_limit(limit)?;
    with_store(settings, async |store| {
        let mut connection = store.acquire().await?;
        let counts = shadow::counts(&mut connection, operation).await?;
        let differences = shadow::differences(&mut connection, operation, limit).await?;
        Ok(ShadowReport { counts, differences })
    })
    .await
}

/// Deletes counts and differences of one operation or all. Returns the number of deleted
/// differences.
///
/// # Errors
/// `Misconfigured`, `Unavailable`.
pub async fn shadow_clear(settings: &Settings, operation: Option<&str>) -> Result<u64> {
    with_store(settings, async |store| {
        let mut transaction = store.begin().await?;
        let deleted = shadow::clear(&mut transaction, operation).await?;
        store::commit(transaction).await?;
        Ok(deleted)
    })
    .await
}

fn parse_rule(
    stage: Option<&str>,
    scope: RuleScope,
) -> Result<(Option<MigrationStage>, Option<u8>, Vec<String>)> {
    let stage = stage.map(MigrationStage::parse).transpose()?;
    let RuleScope { percent, users } = scope;
    let is_for_some = percent.is_some() || !users.is_empty();
    if is_for_some && !matches!(stage, Some(MigrationStage::Shadow | MigrationStage::Engine)) {
        return Err(invalid("Only the stages shadow and engine can be limited to some users."));
    }
    let percent = percent.map(|percent| {
        u8::try_from(percent)
            .ok()
            .filter(|percent| *percent <= 100)
            .ok_or_else(|| invalid(format!("percent must be 0 to 100, not {percent}.")))
    });
    check_count("users", &users)?;
    let users = users.into_iter().map(|user| UserId::parse(user).map(|id| id.to_string()));
    Ok((stage, percent.transpose()?, users.collect::<Result<_>>()?))
}

fn check_name(what: &str, name: &str) -> Result<()> {
    let is_valid = !name.is_empty()
        && name.chars().count() <= NAME_LENGTH_MAX
        && !name.chars().any(char::is_control);
    if is_valid {
        return Ok(());
    }
    let text =
        format!("The name of a {what} must have 1 to {NAME_LENGTH_MAX} printable characters.");
    Err(invalid(text))
}

fn check_count(what: &str, list: &[String]) -> Result<()> {
    if list.len() > LIST_MAX {
        return Err(invalid(format!("A routing rule can have at most {LIST_MAX} {what}.")));
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}
