//! Adopts a database that an older application goes on using, reports on it, and undoes it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::adoption::{
    Adoption, AdoptionSession, AdoptionStep, CopyStage, CountComparison, Finding, Interpretation,
    OldTables, PendingPublications, StatusMap,
};
use crate::app;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::operations::migrate;

/// Default time zone of the older application's timestamps.
const TIME_ZONE: &str = "UTC";

/// How to adopt. Options that are absent keep the value of an earlier run.
#[derive(Clone, Debug, Default)]
pub struct AdoptOptions {
    /// Report only, change nothing.
    pub dry_run: bool,
    /// Whether the engine publishes the older application's changes. Default false.
    pub announce: Option<bool>,
    /// The time zone of the older application's timestamps. Default UTC.
    pub time_zone: Option<String>,
    /// What the older application's own words for a status mean, beside those of earlier runs.
    pub status_map: StatusMap,
}

/// The result of an adoption, a dry run or an undoing.
#[derive(Debug, Serialize)]
pub struct AdoptReport {
    /// `dry_run`, `adopted` or `undone`.
    pub outcome: &'static str,
    /// The schema of the old tables.
    pub old_schema: String,
    /// The time zone of their timestamps.
    pub time_zone: String,
    /// Whether the engine publishes the older application's changes.
    pub announce: bool,
    /// Whether both sides are equal, apart from explained differences.
    pub is_equal: bool,
    /// Counts and sums.
    pub figures: Vec<CountComparison>,
    /// The number of findings of each kind.
    pub findings_by_kind: BTreeMap<String, usize>,
    /// Every finding.
    pub findings: Vec<Finding>,
    /// What waits to be published; only after undoing.
    pub waiting: Option<PendingPublications>,
}

/// Progress of one stage.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The stage's name.
    pub stage: &'static str,
    /// Rows copied so far.
    pub done: i64,
    /// Rows to copy.
    pub total: i64,
}

/// Adopts the database, or reports what that would do. An interrupted run is resumed; a repeated
/// run makes the engine's tables equal to the old ones. `progress` is called after each batch.
///
/// # Errors
/// `Misconfigured` when the database is not as it must be, `InvalidInput` for an unknown time zone
/// or one that differs from that of an adoption under way, `Conflict` when another one is running,
/// `Unavailable`.
pub async fn adopt(
    settings: &Settings,
    options: &AdoptOptions,
    progress: impl Fn(Progress) + Send,
) -> Result<AdoptReport> {
    let mut session = AdoptionSession::open(app::database(settings)?).await?;
    let report = match options.dry_run {
        true => dry_run(&mut session, settings, options, progress).await,
        false => copy_all(&mut session, settings, options, progress).await,
    };
    session.close().await;
    report
}

async fn dry_run(
    session: &mut AdoptionSession,
    settings: &Settings,
    options: &AdoptOptions,
    progress: impl Fn(Progress) + Send,
) -> Result<AdoptReport> {
    let old = session.inspect().await?;
    let known = session.adoption().await?;
    let (interpretation, announce) = decide(settings, options, &old, known.as_ref())?;
    session.check_zone(&interpretation).await?;
    session.begin_dry_run(&interpretation).await?;
    let mut findings = Vec::new();
    for stage in CopyStage::ALL.into_iter().filter(|stage| *stage != CopyStage::Deletions) {
        let total = session.count(stage, &interpretation, i64::MIN).await?;
        let (mut done, mut after) = (0, i64::MIN);
        while let Some((n, last)) =
            session.check(stage, &interpretation, after, &mut findings).await?
        {
            (done, after) = (done + n, last);
            progress(Progress { stage: stage.name(), done, total: total.max(done) });
        }
    }
    let figures = session.describe(&interpretation).await?;
    Ok(report("dry_run", interpretation, announce, figures, findings))
}

async fn copy_all(
    session: &mut AdoptionSession,
    settings: &Settings,
    options: &AdoptOptions,
    progress: impl Fn(Progress) + Send,
) -> Result<AdoptReport> {
    session.claim().await?;
    let old = session.inspect().await?;
    let known = session.adoption().await?;
    let (interpretation, announce) = decide(settings, options, &old, known.as_ref())?;
    session.check_zone(&interpretation).await?;
    migrate(settings).await?;
    session.enter().await?;
    session.begin(&interpretation, &old, announce).await?;
    fail_point!("adopt.begun");
    session.create_old_triggers(&old).await?;
    fail_point!("adopt.triggers_created");
    for stage in CopyStage::ALL {
        copy(session, stage, &interpretation, &progress).await?;
    }
    fail_point!("adopt.copied");
    session.mirror_missing(&interpretation).await?;
    fail_point!("adopt.mirrored");
    session.finish().await?;
    fail_point!("adopt.finished");
    let (figures, findings) = session.compare(&interpretation).await?;
    Ok(report("adopted", interpretation, announce, figures, findings))
}

async fn copy(
    session: &mut AdoptionSession,
    stage: CopyStage,
    interpretation: &Interpretation,
    progress: &(impl Fn(Progress) + Send),
) -> Result<()> {
    let Some((total, mut after)) = session.progress(stage, interpretation).await? else {
        return Ok(());
    };
    let mut done = 0;
    while let Some((n, last)) = session.copy(stage, interpretation, after).await? {
        fail_point!("adopt.batch_copied");
        (done, after) = (done + n, last);
        progress(Progress { stage: stage.name(), done, total: total.max(done) });
    }
    Ok(())
}

/// Undoes the adoption: drops the triggers. The old tables keep everything that was written since.
///
/// # Errors
/// `Misconfigured` without an adoption, or, unless forced, when the sides differ or the engine has
/// orders that the old tables cannot show; `Conflict` when another one is running, `Unavailable`.
pub async fn undo_adoption(settings: &Settings, force: bool) -> Result<AdoptReport> {
    let mut session = AdoptionSession::open(app::database(settings)?).await?;
    let report = undo(&mut session, settings, force).await;
    session.close().await;
    report
}

async fn undo(
    session: &mut AdoptionSession,
    settings: &Settings,
    force: bool,
) -> Result<AdoptReport> {
    session.claim().await?;
    let known = session.adoption().await?.filter(|known| known.step != AdoptionStep::Undone);
    let Some(known) = known else {
        let text = "There is no adoption to undo on this database.";
        return Err(Error::new(ErrorKind::Misconfigured, text));
    };
    // The old tables may have changed since, and the engine's triggers must go all the same.
    let old = session.remaining(&known.old_schema).await?;
    let (interpretation, announce) =
        decide(settings, &AdoptOptions::default(), &old, Some(&known))?;
    session.enter().await?;
    let (figures, findings) = match session.compare(&interpretation).await {
        Ok(compared) => compared,
        Err(error) if error.kind() == ErrorKind::Misconfigured && force => Default::default(),
        Err(error) if error.kind() == ErrorKind::Misconfigured => {
            return Err(cannot_compare(&error));
        }
        Err(error) => return Err(error),
    };
    let mut report = report("undone", interpretation.clone(), announce, figures, findings);
    if !force {
        check_nothing_is_lost(&report, known.step)?;
    }
    session.end(&interpretation, &old).await?;
    report.waiting = Some(session.waiting().await?);
    Ok(report)
}

/// The old tables were changed, so that nobody can say whether they have everything.
fn cannot_compare(error: &Error) -> Error {
    let text = format!(
        "The two sides cannot be compared, because the old tables were changed: {} Restore their \
         columns and run order-engine adopt, or use --force to undo the adoption all the same.",
        error.message()
    );
    Error::new(ErrorKind::Misconfigured, &text).with("problems", text)
}

/// Fails if undoing would lose data. An unfinished adoption has only added the engine's orders to
/// the old tables, so only orders that could not be added can be lost.
fn check_nothing_is_lost(report: &AdoptReport, step: AdoptionStep) -> Result<()> {
    let unmirrored: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.table == "order_engine")
        .map(|finding| format!("{} {}: {}", finding.kind, finding.id, finding.value))
        .collect();
    let mut problems = Vec::new();
    if !unmirrored.is_empty() {
        problems.push(format!(
            "The old tables cannot represent these rows of the engine: {}. They stay in the \
             engine's tables only; use --force to undo the adoption all the same.",
            unmirrored.join("; ")
        ));
    }
    if step == AdoptionStep::Live && !report.is_equal {
        problems.push(
            "Counts or sums of the two sides differ. Run order-engine adopt again, or use --force."
                .to_owned(),
        );
    }
    if problems.is_empty() {
        return Ok(());
    }
    let list = problems.join("\n");
    Err(Error::new(ErrorKind::Misconfigured, list.clone()).with("problems", list))
}

/// The options of this run, else of the run before, else the defaults.
fn decide(
    settings: &Settings,
    options: &AdoptOptions,
    old: &OldTables,
    known: Option<&Adoption>,
) -> Result<(Interpretation, bool)> {
    let before = known.map(|known| known.time_zone.clone());
    let is_under_way = known.is_some_and(|known| known.step != AdoptionStep::Undone);
    if let (true, Some(before), Some(now)) = (is_under_way, &before, &options.time_zone)
        && before != now
    {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!(
                "This adoption uses the time zone {before}. Undo it before you change it to {now}."
            ),
        ));
    }
    let time_zone = options.time_zone.clone().or(before).unwrap_or_else(|| TIME_ZONE.to_owned());
    let mut status_map = known.map(|known| known.status_map.clone()).unwrap_or_default();
    status_map.extend(&options.status_map);
    let was_announcing = known.is_some_and(|known| known.announce);
    let interpretation = Interpretation {
        old_schema: old.schema.clone(),
        time_zone,
        currency: settings.orders.currency,
        status_map,
    };
    Ok((interpretation, options.announce.unwrap_or(was_announcing)))
}

fn report(
    outcome: &'static str,
    interpretation: Interpretation,
    announce: bool,
    figures: Vec<CountComparison>,
    findings: Vec<Finding>,
) -> AdoptReport {
    let mut findings_by_kind = BTreeMap::new();
    for finding in &findings {
        *findings_by_kind.entry(finding.kind.clone()).or_default() += 1;
    }
    AdoptReport {
        outcome,
        old_schema: interpretation.old_schema,
        time_zone: interpretation.time_zone,
        announce,
        is_equal: figures.iter().all(|figure| figure.is_equal),
        figures,
        findings_by_kind,
        findings,
        waiting: None,
    }
}
