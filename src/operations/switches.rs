//! Sets who answers which operation while a service is moved over, and reads what the rehearsals
//! have shown.

use crate::app::enabled_contracts::EnabledContracts;
use crate::config::Settings;
use crate::domain::ids::UserId;
use crate::domain::switch::{ALL_OPERATIONS, Stage};
use crate::error::{Error, ErrorKind, Result};
use crate::operations::{checked_limit, with_store};
use crate::store::shadow::{Difference, Since};
use crate::store::{self, shadow, switches as kept};

pub use crate::store::switches::Setting as SetSwitch;

/// Longest name of an operation or a field, in characters.
const NAME_LENGTH_MAX: usize = 200;
/// Most users, or fields to ignore, of one switch.
const LIST_MAX: usize = 1000;

/// For whom a stage holds. Neither: for everybody.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    /// The share of users, 0 to 100.
    pub percent: Option<i64>,
    /// Users in any case.
    pub users: Vec<String>,
}

/// What the rehearsals have shown.
#[derive(Debug)]
pub struct Report {
    /// What became of the requests of each operation.
    pub counts: Vec<Since>,
    /// The newest differences, newest first, with their numbers.
    pub differences: Vec<(i64, Difference)>,
}

/// Everything that is set.
///
/// # Errors
/// `Misconfigured`, `Unavailable`.
pub async fn switches(settings: &Settings) -> Result<Vec<SetSwitch>> {
    with_store(settings, async |store| kept::all(&mut *store.acquire().await?).await).await
}

/// Sets the stage of one operation, none for the stage of all, and for whom it holds. Tells
/// whether the engine has an operation of that name: if not, the old code may.
///
/// # Errors
/// `InvalidInput` for a name, share or user out of bounds, or a share of the stage `legacy`, which
/// has no stage before it; `Misconfigured`, `Unavailable`.
pub async fn switch(
    settings: &Settings,
    operation: &str,
    stage: Option<&str>,
    holders: Holders,
) -> Result<bool> {
    check_name("operation", operation)?;
    let (stage, percent, users) = checked(stage, holders)?;
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

/// Sets the stage of every operation at once; what was set for single ones is forgotten.
///
/// # Errors
/// As [`switch`].
pub async fn switch_all(settings: &Settings, stage: Option<&str>, holders: Holders) -> Result<()> {
    let (stage, percent, users) = checked(stage, holders)?;
    with_store(settings, async |store| {
        let mut transaction = store.begin().await?;
        kept::unset_others(&mut transaction, ALL_OPERATIONS).await?;
        kept::set(&mut transaction, ALL_OPERATIONS, stage, percent, &users).await?;
        store::commit(transaction).await
    })
    .await
}

/// Sets the fields of one operation's answers, or of all with `*`, that are not compared.
///
/// # Errors
/// `InvalidInput` for a name out of bounds; `Misconfigured`, `Unavailable`.
pub async fn shadow_ignore(settings: &Settings, operation: &str, fields: &[String]) -> Result<()> {
    check_name("operation", operation)?;
    check_count("fields", fields)?;
    fields.iter().try_for_each(|field| check_name("field", field))?;
    with_store(settings, async |store| {
        kept::ignore(&mut *store.acquire().await?, operation, fields).await
    })
    .await
}

/// What the rehearsals of one operation, or of all, have shown, with at most `limit` differences.
///
/// # Errors
/// `InvalidInput` for a limit outside 1 to 1000; `Misconfigured`, `Unavailable`.
pub async fn shadow_report(
    settings: &Settings,
    operation: Option<&str>,
    limit: i64,
) -> Result<Report> {
    let limit = checked_limit(limit)?;
    with_store(settings, async |store| {
        let mut connection = store.acquire().await?;
        let counts = shadow::counts(&mut connection, operation).await?;
        let differences = shadow::differences(&mut connection, operation, limit).await?;
        Ok(Report { counts, differences })
    })
    .await
}

/// Begins to count anew, one operation or all; returns how many differences were forgotten.
///
/// # Errors
/// `Misconfigured`, `Unavailable`.
pub async fn shadow_clear(settings: &Settings, operation: Option<&str>) -> Result<u64> {
    with_store(settings, async |store| {
        let mut transaction = store.begin().await?;
        let gone = shadow::clear(&mut transaction, operation).await?;
        store::commit(transaction).await?;
        Ok(gone)
    })
    .await
}

fn checked(
    stage: Option<&str>,
    holders: Holders,
) -> Result<(Option<Stage>, Option<u8>, Vec<String>)> {
    let stage = stage.map(Stage::parse).transpose()?;
    let Holders { percent, users } = holders;
    let is_for_some = percent.is_some() || !users.is_empty();
    if is_for_some && !matches!(stage, Some(Stage::Shadow | Stage::Engine)) {
        return Err(refused("Only shadow and engine can hold for some users and not for others."));
    }
    let percent = percent.map(|percent| {
        u8::try_from(percent)
            .ok()
            .filter(|percent| *percent <= 100)
            .ok_or_else(|| refused(format!("percent must be 0 to 100, not {percent}.")))
    });
    check_count("users", &users)?;
    let users = users.into_iter().map(|user| UserId::parse(user).map(|id| id.to_string()));
    Ok((stage, percent.transpose()?, users.collect::<Result<_>>()?))
}

fn check_name(what: &str, name: &str) -> Result<()> {
    let is_good = !name.is_empty()
        && name.chars().count() <= NAME_LENGTH_MAX
        && !name.chars().any(char::is_control);
    if is_good {
        return Ok(());
    }
    let text = format!("The name of a {what} is 1 to {NAME_LENGTH_MAX} printable characters.");
    Err(refused(text))
}

fn check_count(what: &str, list: &[String]) -> Result<()> {
    if list.len() > LIST_MAX {
        return Err(refused(format!("There are at most {LIST_MAX} {what} of one switch.")));
    }
    Ok(())
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}
