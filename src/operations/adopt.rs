//! Adopts a database that an older application goes on using, tells how it looks, and goes back.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::adoption::{
    Adoption, Figure, Finding, OldTables, Reading, Session, Stage, Step, Waiting,
};
use crate::app;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, Result};
use crate::operations::migrate;

/// How times without a zone are read unless somebody says otherwise.
const TIME_ZONE: &str = "UTC";

/// How to adopt. What is not said stays as it was at an earlier run.
#[derive(Clone, Debug, Default)]
pub struct AdoptOptions {
    /// Only look.
    pub dry_run: bool,
    /// Whether the engine announces what the older application does; not at first.
    pub announce: Option<bool>,
    /// How the older application's times are read, at first as UTC.
    pub time_zone: Option<String>,
}

/// What was found, and how both sides look.
#[derive(Debug, Serialize)]
pub struct AdoptReport {
    /// `rehearsed`, `adopted` or `undone`.
    pub outcome: &'static str,
    /// Where the old tables are.
    pub old_schema: String,
    /// How their times are read.
    pub time_zone: String,
    /// Whether the engine announces what the older application does.
    pub announce: bool,
    /// Whether counts and sums agree, all differences explained.
    pub is_equal: bool,
    /// Counts and sums.
    pub figures: Vec<Figure>,
    /// How often each kind of finding was made.
    pub found: BTreeMap<String, usize>,
    /// Every finding.
    pub findings: Vec<Finding>,
    /// What waits to be sent, once it is undone.
    pub waiting: Option<Waiting>,
}

/// How far a stage came.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Which stage.
    pub stage: &'static str,
    /// Rows that are done.
    pub done: i64,
    /// Rows that there were to do when it began.
    pub total: i64,
}

/// Adopts the database, or looks at what that would do. Interrupted, it goes on where it stopped;
/// repeated, it brings the engine's side to what the old tables say.
///
/// # Errors
/// `Misconfigured` when the database is not as it must be, `InvalidInput` for an unknown time zone
/// or one that differs from that of an adoption under way, `Conflict` when another one is at work,
/// `Unavailable`.
pub async fn adopt(
    settings: &Settings,
    options: &AdoptOptions,
    told: impl Fn(Progress) + Send,
) -> Result<AdoptReport> {
    let mut session = Session::open(app::database(settings)?).await?;
    let report = match options.dry_run {
        true => rehearse(&mut session, settings, options, told).await,
        false => carry_out(&mut session, settings, options, told).await,
    };
    session.close().await;
    report
}

async fn rehearse(
    session: &mut Session,
    settings: &Settings,
    options: &AdoptOptions,
    told: impl Fn(Progress) + Send,
) -> Result<AdoptReport> {
    let old = session.inspect().await?;
    let known = session.adoption().await?;
    let (reading, announce) = decide(settings, options, &old, known.as_ref())?;
    session.check_zone(&reading).await?;
    session.rehearse(&reading).await?;
    let mut findings = Vec::new();
    for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Deletions) {
        let total = session.count(stage, &reading, i64::MIN).await?;
        let (mut done, mut after) = (0, i64::MIN);
        while let Some((n, last)) = session.judge(stage, &reading, after, &mut findings).await? {
            (done, after) = (done + n, last);
            told(Progress { stage: stage.name(), done, total: total.max(done) });
        }
    }
    let figures = session.describe(&reading).await?;
    Ok(report("rehearsed", reading, announce, figures, findings))
}

async fn carry_out(
    session: &mut Session,
    settings: &Settings,
    options: &AdoptOptions,
    told: impl Fn(Progress) + Send,
) -> Result<AdoptReport> {
    session.claim().await?;
    let old = session.inspect().await?;
    let known = session.adoption().await?;
    let (reading, announce) = decide(settings, options, &old, known.as_ref())?;
    session.check_zone(&reading).await?;
    migrate(settings).await?;
    session.enter().await?;
    session.begin(&reading, &old, announce).await?;
    fail_point!("adopt.begun");
    session.watch(&old).await?;
    fail_point!("adopt.watching");
    for stage in Stage::ALL {
        copy(session, stage, &reading, &told).await?;
    }
    fail_point!("adopt.copied");
    session.show_missing(&reading).await?;
    fail_point!("adopt.shown");
    session.finish().await?;
    fail_point!("adopt.finished");
    let (figures, findings) = session.compare(&reading).await?;
    Ok(report("adopted", reading, announce, figures, findings))
}

async fn copy(
    session: &mut Session,
    stage: Stage,
    reading: &Reading,
    told: &(impl Fn(Progress) + Send),
) -> Result<()> {
    let Some((total, mut after)) = session.progress(stage, reading).await? else {
        return Ok(());
    };
    let mut done = 0;
    while let Some((n, last)) = session.copy(stage, reading, after).await? {
        fail_point!("adopt.batch_copied");
        (done, after) = (done + n, last);
        told(Progress { stage: stage.name(), done, total: total.max(done) });
    }
    Ok(())
}

/// Goes back: the old tables stay with everything that was written since.
///
/// # Errors
/// `Misconfigured` without an adoption, or, unless forced, when the sides differ or the engine has
/// orders that the old tables cannot show; `Conflict` when another one is at work, `Unavailable`.
pub async fn undo_adoption(settings: &Settings, force: bool) -> Result<AdoptReport> {
    let mut session = Session::open(app::database(settings)?).await?;
    let report = go_back(&mut session, settings, force).await;
    session.close().await;
    report
}

async fn go_back(session: &mut Session, settings: &Settings, force: bool) -> Result<AdoptReport> {
    session.claim().await?;
    let known = session.adoption().await?.filter(|known| known.step != Step::Undone);
    let Some(known) = known else {
        let text = "There is no adoption to undo on this database.";
        return Err(Error::new(ErrorKind::Misconfigured, text));
    };
    let old = session.inspect().await?;
    let (reading, announce) = decide(settings, &AdoptOptions::default(), &old, Some(&known))?;
    session.enter().await?;
    let (figures, findings) = session.compare(&reading).await?;
    let mut report = report("undone", reading.clone(), announce, figures, findings);
    if !force {
        check_nothing_is_lost(&report, known.step)?;
    }
    session.end(&reading, &old).await?;
    report.waiting = Some(session.waiting().await?);
    Ok(report)
}

/// An adoption that has not come to its end changed nothing in the old tables but added what the
/// engine placed, so only that can be lost.
fn check_nothing_is_lost(report: &AdoptReport, step: Step) -> Result<()> {
    let unshown: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.table == "order_engine")
        .map(|finding| format!("{} {}: {}", finding.kind, finding.id, finding.value))
        .collect();
    let mut problems = Vec::new();
    if !unshown.is_empty() {
        problems.push(format!(
            "The old tables lack what the engine has and they cannot hold: {}. Say --force to \
             leave it to the engine.",
            unshown.join("; ")
        ));
    }
    if step == Step::Live && !report.is_equal {
        problems.push(
            "Counts or sums of the two sides differ. Run order-engine adopt again, or say --force."
                .to_owned(),
        );
    }
    if problems.is_empty() {
        return Ok(());
    }
    let told = problems.join("\n");
    Err(Error::new(ErrorKind::Misconfigured, told.clone()).with("problems", told))
}

/// What was said now, else at the run before, else what is usual.
fn decide(
    settings: &Settings,
    options: &AdoptOptions,
    old: &OldTables,
    known: Option<&Adoption>,
) -> Result<(Reading, bool)> {
    let before = known.map(|known| known.time_zone.clone());
    let is_under_way = known.is_some_and(|known| known.step != Step::Undone);
    if let (true, Some(before), Some(now)) = (is_under_way, &before, &options.time_zone)
        && before != now
    {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("This adoption reads times in {before}; undo it before you say {now}."),
        ));
    }
    let time_zone = options.time_zone.clone().or(before).unwrap_or_else(|| TIME_ZONE.to_owned());
    let announced = known.is_some_and(|known| known.announce);
    let reading =
        Reading { old_schema: old.schema.clone(), time_zone, currency: settings.orders.currency };
    Ok((reading, options.announce.unwrap_or(announced)))
}

fn report(
    outcome: &'static str,
    reading: Reading,
    announce: bool,
    figures: Vec<Figure>,
    findings: Vec<Finding>,
) -> AdoptReport {
    let mut found = BTreeMap::new();
    for finding in &findings {
        *found.entry(finding.kind.clone()).or_default() += 1;
    }
    AdoptReport {
        outcome,
        old_schema: reading.old_schema,
        time_zone: reading.time_zone,
        announce,
        is_equal: figures.iter().all(|figure| figure.is_equal),
        figures,
        found,
        findings,
        waiting: None,
    }
}
