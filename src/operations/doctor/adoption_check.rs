//! The check of an adopted database.

use crate::adoption::{self, Adoption, AdoptionSession, AdoptionStep};
use crate::app::{self, Check};
use crate::config::Settings;
use crate::error::Result;
use crate::operations::doctor::entries::{failed, passed};
use crate::store::{Store, adoption_state};

const NAME: &str = "adoption";

/// What was found out about an adoption.
struct Findings {
    adoption: Adoption,
    /// What keeps the sides from being synchronised.
    drift: Vec<String>,
    /// Orders that break a rule and were not imported.
    left_behind: i64,
}

/// None if no database was adopted.
pub(super) async fn check(settings: &Settings, store: &Store) -> Option<Check> {
    match find(settings, store).await {
        Ok(findings) => findings.as_ref().map(describe),
        Err(error) => Some(failed(NAME, &error, "See the database server's log.")),
    }
}

async fn find(settings: &Settings, store: &Store) -> Result<Option<Findings>> {
    let mut connection = store.acquire().await?;
    let Some(adoption) = adoption::adoption(&mut connection, store.schema()).await? else {
        return Ok(None);
    };
    let left_behind = adoption_state::orders_left_behind(&mut connection).await?.unwrap_or(0);
    let drift = match adoption.step {
        AdoptionStep::Live => drift(settings, &adoption).await?,
        AdoptionStep::Copying | AdoptionStep::Undone => Vec::new(),
    };
    Ok(Some(Findings { adoption, drift, left_behind }))
}

async fn drift(settings: &Settings, adoption: &Adoption) -> Result<Vec<String>> {
    let mut session = AdoptionSession::open(app::database(settings)?).await?;
    let drift = session.drift(&adoption.old_schema).await;
    session.close().await;
    drift
}

fn describe(findings: &Findings) -> Check {
    let Findings { adoption, drift, left_behind } = findings;
    let schema = &adoption.old_schema;
    match adoption.step {
        AdoptionStep::Copying => broken(
            format!(
                "The adoption of {schema}, started on {}, is incomplete.",
                adoption.started_at.format("%Y-%m-%d %H:%M UTC")
            ),
            "Run: order-engine adopt",
        ),
        AdoptionStep::Undone => passed(NAME, &format!("The adoption of {schema} was undone.")),
        AdoptionStep::Live if !drift.is_empty() => broken(
            format!(
                "The tables in {schema} were changed, and the sides are no longer synchronised. {}",
                drift.join(" ")
            ),
            "Restore what was changed and run order-engine adopt, or end the adoption with \
             order-engine adopt --undo.",
        ),
        AdoptionStep::Live if *left_behind > 0 => Check {
            remedy: Some(
                "Run order-engine adopt to list them. Correct the rows, or say with --map-status \
                 what their status means."
                    .to_owned(),
            ),
            ..passed(
                NAME,
                &format!(
                    "Synchronised with the tables in {schema}, except {left_behind} orders that \
                     break a rule and were not imported."
                ),
            )
        },
        AdoptionStep::Live => passed(NAME, &format!("Synchronised with the tables in {schema}.")),
    }
}

fn broken(detail: String, remedy: &str) -> Check {
    Check { name: NAME.to_owned(), is_ok: false, detail, remedy: Some(remedy.to_owned()) }
}
