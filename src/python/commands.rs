//! What the `order-engine` command calls: functions that open what they need and close it again.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use pyo3::prelude::*;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::app::describing::{self, Language};
use crate::app::{self, App, Role};
use crate::config::{self, Needs, Settings};
use crate::domain::ids::{OrderId, UserId};
use crate::error::{Error, ErrorKind, Result};
use crate::operations::{self, AdoptOptions, AdoptReport, Holders, Progress};
use crate::python::bridge::wait_for;
use crate::python::errors::raise;
use crate::python::types::{
    Check, DemoCatalogue, Event, ParkedMessage, Replayed, Setting, ShadowReport, Switch,
};
use crate::python::verbs::{self, PastRow};

/// How often a replay tells how far it has come.
const PROGRESS: Duration = Duration::from_secs(1);

type Flags = HashMap<String, String>;

/// Settings and files are looked for where the command was called.
fn directory() -> &'static Path {
    Path::new(".")
}

#[expect(clippy::needless_pass_by_value, reason = "callers are done with them")]
fn load(flags: Flags, needs: Needs) -> Result<Settings> {
    Settings::load(&flags, directory(), needs)
}

/// Serve the configured contracts until SIGINT or SIGTERM, then finish what is under way.
#[pyfunction]
#[pyo3(signature = (flags, on_ready=None))]
pub(super) fn serve(py: Python<'_>, flags: Flags, on_ready: Option<Py<PyAny>>) -> PyResult<()> {
    let settings = load(flags, Needs::DOORS).map_err(|error| raise(py, &error))?;
    run_until_stopped(py, on_ready, |ready, stop| app::serve(settings, ready, stop))
}

/// Only send events, or only take them in, until SIGINT or SIGTERM; settle what is under way.
#[pyfunction]
#[pyo3(signature = (flags, duty, on_ready=None))]
pub(super) fn work(
    py: Python<'_>,
    flags: Flags,
    duty: &str,
    on_ready: Option<Py<PyAny>>,
) -> PyResult<()> {
    let role = match duty {
        "relay" => Ok(Role::Relay),
        "intake" => Ok(Role::Intake),
        _ => Err(Error::new(ErrorKind::InvalidInput, "duty is relay or intake.")),
    };
    let role = role.map_err(|error| raise(py, &error))?;
    let settings = load(flags, Needs::DATABASE).map_err(|error| raise(py, &error))?;
    run_until_stopped(py, on_ready, move |ready, stop| app::work(settings, role, ready, stop))
}

/// Runs what ends by a signal; what `on_ready` raises ends it too, and is raised.
fn run_until_stopped<F>(
    py: Python<'_>,
    on_ready: Option<Py<PyAny>>,
    run: impl FnOnce(oneshot::Sender<Vec<String>>, CancellationToken) -> F,
) -> PyResult<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let stop = CancellationToken::new();
    let (ready, opened) = oneshot::channel();
    let (ended, end) = oneshot::channel();
    let running = run(ready, stop.clone());
    wait_for(py, async move {
        tokio::spawn(async move {
            // The other side waits for this until it has it.
            let _ = ended.send(running.await);
        });
        Ok(())
    })?;
    // Without a word its end says why.
    let urls = wait_for(py, async move { Ok(opened.await.ok()) })?;
    let mut raised = None;
    if let (Some(urls), Some(on_ready)) = (urls, on_ready)
        && let Err(error) = on_ready.call1(py, (urls,))
    {
        raised = Some(error);
        stop.cancel();
    }
    let result = wait_for(py, async move { end.await.unwrap_or_else(|_| Err(vanished())) });
    match raised {
        Some(error) => Err(error),
        None => result,
    }
}

fn vanished() -> Error {
    Error::new(ErrorKind::Internal, "The work ended without a word; the log says more.")
}

/// Check every setting that serving needs; raise what is wrong, all of it at once.
#[pyfunction]
pub(super) fn validate_settings(py: Python<'_>, flags: Flags) -> PyResult<()> {
    load(flags, Needs::DOORS).map(drop).map_err(|error| raise(py, &error))
}

/// Bring the database to this version's tables; return the names of what was applied.
#[pyfunction]
pub(super) fn migrate(py: Python<'_>, flags: Flags) -> PyResult<Vec<String>> {
    wait_for(py, async move { operations::migrate(&load(flags, Needs::DATABASE)?).await })
}

/// Empty the tables of a test database, which only a server for tests permits.
#[pyfunction]
pub(super) fn reset_test_database(py: Python<'_>, flags: Flags) -> PyResult<()> {
    wait_for(
        py,
        async move { operations::reset_test_database(&load(flags, Needs::DATABASE)?).await },
    )
}

/// Adopt the database that an older application goes on using; return the report as JSON.
#[pyfunction]
#[pyo3(signature = (flags, *, dry_run=false, announce=None, time_zone=None, on_progress=None))]
#[expect(clippy::needless_pass_by_value, reason = "Python gives values")]
pub(super) fn adopt(
    py: Python<'_>,
    flags: Flags,
    dry_run: bool,
    announce: Option<bool>,
    time_zone: Option<String>,
    on_progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let settings = load(flags, Needs::DATABASE).map_err(|error| raise(py, &error))?;
    let options = AdoptOptions { dry_run, announce, time_zone };
    let (tell, mut told) = mpsc::unbounded_channel::<Progress>();
    let (ended, end) = oneshot::channel();
    let stop = CancellationToken::new();
    // Whatever ends this call, Ctrl-C too, ends the work: it can be taken up again at any point.
    let _ends = stop.clone().drop_guard();
    wait_for(py, async move {
        tokio::spawn(async move {
            let work = operations::adopt(&settings, &options, move |progress| {
                // Nobody listens any more after Ctrl-C.
                let _ = tell.send(progress);
            });
            if let Some(report) = stop.run_until_cancelled(work).await {
                let _ = ended.send(report);
            }
        });
        Ok(())
    })?;
    loop {
        let (next, channel) = wait_for(py, async move { Ok((told.recv().await, told)) })?;
        told = channel;
        let Some(Progress { stage, done, total }) = next else { break };
        if let Some(on_progress) = &on_progress {
            on_progress.call1(py, (stage, done, total))?;
        }
    }
    wait_for(py, async move { json(&end.await.unwrap_or_else(|_| Err(vanished()))?) })
}

/// Go back from an adoption; return the report as JSON.
#[pyfunction]
#[pyo3(signature = (flags, *, force=false))]
pub(super) fn undo_adoption(py: Python<'_>, flags: Flags, force: bool) -> PyResult<String> {
    wait_for(py, async move {
        json(&operations::undo_adoption(&load(flags, Needs::DATABASE)?, force).await?)
    })
}

fn json(report: &AdoptReport) -> Result<String> {
    serde_json::to_string(report).map_err(|error| {
        Error::new(ErrorKind::Internal, "A report could not be written.").with_source(error)
    })
}

/// Sign a token for a user with the configured `jwt_secret_key`.
#[pyfunction]
#[pyo3(signature = (flags, user_id, admin=false, expires_seconds=3600))]
pub(super) fn mint_token(
    py: Python<'_>,
    flags: Flags,
    user_id: String,
    admin: bool,
    expires_seconds: u64,
) -> PyResult<String> {
    let minted = || {
        let user = UserId::parse(user_id)?;
        let lifetime = Duration::from_secs(expires_seconds);
        operations::mint_token(&load(flags, Needs::SECRET)?, &user, admin, lifetime)
    };
    minted().map_err(|error| raise(py, &error))
}

/// Describe a part of a contract, as the settings have it, in `openapi`, `graphql` or `asyncapi`.
#[pyfunction]
pub(super) fn describe_contract(
    py: Python<'_>,
    flags: Flags,
    contract: &str,
    language: &str,
) -> PyResult<String> {
    let described = || {
        let language = named(language)?;
        describing::describe(&load(flags, Needs::NOTHING)?, contract, language)
    };
    described().map_err(|error| raise(py, &error))
}

/// List the contracts that are described in `openapi`, `graphql` or `asyncapi`.
#[pyfunction]
pub(super) fn described_contracts(py: Python<'_>, language: &str) -> PyResult<Vec<&'static str>> {
    named(language).map(describing::described_in).map_err(|error| raise(py, &error))
}

fn named(language: &str) -> Result<Language> {
    let found = Language::ALL.into_iter().find(|each| each.name() == language);
    found.ok_or_else(|| {
        let names = Language::ALL.map(Language::name).join(", ");
        let text = format!("There is no language named {language:?}; there is {names}.");
        Error::new(ErrorKind::InvalidInput, text)
    })
}

/// List every setting as it would take effect, in the order of the documentation.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "Python gives values")]
pub(super) fn describe_settings(flags: Flags) -> Vec<Setting> {
    Settings::describe(&flags, directory()).into_iter().map(Setting::from).collect()
}

/// The variables that give each setting, the first that is set counting.
#[pyfunction]
pub(super) fn setting_variables() -> HashMap<&'static str, Vec<&'static str>> {
    config::all().map(|setting| (setting.name, setting.variables.to_vec())).collect()
}

/// Look at every part the engine would use: settings, database, tables, brokers, Redis, ports.
#[pyfunction]
#[pyo3(signature = (flags, check_ports=true))]
pub(super) fn doctor(py: Python<'_>, flags: Flags, check_ports: bool) -> PyResult<Vec<Check>> {
    wait_for(py, async move {
        let checks = operations::doctor(load(flags, Needs::DOORS), check_ports).await;
        Ok(checks.into_iter().map(Check::from).collect())
    })
}

/// Make sure the demo user and products exist; again changes nothing but the stock.
#[pyfunction]
pub(super) fn seed_demo(py: Python<'_>, flags: Flags) -> PyResult<DemoCatalogue> {
    wait_for(py, async move {
        let demo = operations::seed_demo(&load(flags, Needs::DATABASE)?).await?;
        Ok(DemoCatalogue { user_id: demo.user.to_string(), products: demo.products })
    })
}

/// List the latest events of orders and what became of their messages, oldest first.
#[pyfunction]
#[pyo3(signature = (flags, order_id=None, limit=20))]
pub(super) fn events_tail(
    py: Python<'_>,
    flags: Flags,
    order_id: Option<i64>,
    limit: i64,
) -> PyResult<Vec<Event>> {
    wait_for(py, async move {
        let order = order_id.map(OrderId::from_database);
        let events = App::with_engine(&load(flags, Needs::DATABASE)?, async |engine| {
            operations::events_tail(engine, order, limit).await
        })
        .await?;
        Ok(events.into_iter().map(|event| (event.entry, event.delivery).into()).collect())
    })
}

/// List messages that were set aside and wait for a decision, oldest first.
#[pyfunction]
#[pyo3(signature = (flags, limit=100))]
pub(super) fn events_dead_letters(
    py: Python<'_>,
    flags: Flags,
    limit: i64,
) -> PyResult<Vec<ParkedMessage>> {
    wait_for(py, async move {
        let parked = App::with_engine(&load(flags, Needs::DATABASE)?, async |engine| {
            operations::events_dead_letters(engine, limit).await
        })
        .await?;
        Ok(parked.into_iter().map(ParkedMessage::from).collect())
    })
}

/// Give parked messages another try; return how many. None means all of them.
#[pyfunction]
#[pyo3(signature = (flags, ids=None))]
pub(super) fn events_retry(py: Python<'_>, flags: Flags, ids: Option<Vec<i64>>) -> PyResult<usize> {
    wait_for(py, async move {
        let settings = load(flags, Needs::DATABASE)?;
        App::with_engine(&settings, async |engine| {
            operations::events_retry(engine, &settings, ids.as_deref()).await
        })
        .await
    })
}

/// Give parked messages up for good, so that those behind them go on; return how many.
#[pyfunction]
pub(super) fn events_skip(py: Python<'_>, flags: Flags, ids: Vec<i64>) -> PyResult<usize> {
    wait_for(py, async move {
        App::with_engine(&load(flags, Needs::DATABASE)?, async |engine| {
            operations::events_skip(engine, &ids).await
        })
        .await
    })
}

/// Tell past events again; `on_progress` hears about once a second how far it has come.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "Python gives values")]
#[pyo3(signature = (flags, past, rate_per_s=1000, dry_run=false, on_progress=None))]
pub(super) fn events_replay(
    py: Python<'_>,
    flags: Flags,
    past: PastRow,
    rate_per_s: i64,
    dry_run: bool,
    on_progress: Option<Py<PyAny>>,
) -> PyResult<Replayed> {
    let options =
        verbs::replay(past, None, rate_per_s, dry_run).map_err(|error| raise(py, &error))?;
    let settings = load(flags, Needs::DATABASE).map_err(|error| raise(py, &error))?;
    let (progress, latest) = watch::channel(None);
    let report = || match (*latest.borrow(), &on_progress) {
        (Some(done), Some(on_progress)) => on_progress.call1(py, (Replayed::from(done),)).map(drop),
        _ => Ok(()),
    };
    let stop = CancellationToken::new();
    // Whatever ends this function ends the replay, between two steps or with the one under way.
    let _stopped = stop.clone().drop_guard();
    let (ended, mut end) = oneshot::channel();
    wait_for(py, async move {
        tokio::spawn(async move {
            let done = App::with_engine(&settings, async |engine| {
                let progress = |done| {
                    progress.send_replace(Some(done));
                };
                let replay = operations::events_replay(engine, &settings, options, progress);
                stop.run_until_cancelled(replay).await.transpose()
            });
            // Nobody waits for it any longer where it was interrupted.
            let _ = ended.send(done.await);
        });
        Ok(())
    })?;
    loop {
        let waited = wait_for(py, async move { Ok((timeout(PROGRESS, &mut end).await, end)) });
        match waited {
            Ok((Err(_), again)) => end = again,
            Ok((Ok(result), _)) => {
                report()?;
                let done = result.unwrap_or_else(|_| Err(vanished()));
                return done
                    .and_then(|done| done.map(Replayed::from).ok_or_else(vanished))
                    .map_err(|error| raise(py, &error));
            }
            Err(interrupted) => {
                report()?;
                return Err(interrupted);
            }
        }
        report()?;
    }
}

/// List what is set about who answers which operation.
#[pyfunction]
pub(super) fn switches(py: Python<'_>, flags: Flags) -> PyResult<Vec<Switch>> {
    wait_for(py, async move {
        let set = operations::switches(&load(flags, Needs::DATABASE)?).await?;
        Ok(set.into_iter().map(Switch::from).collect())
    })
}

/// Set who answers an operation, or with None all of them; tell whether the engine has it.
#[pyfunction]
pub(super) fn switch(
    py: Python<'_>,
    flags: Flags,
    operation: Option<String>,
    stage: Option<String>,
    percent: Option<i64>,
    users: Vec<String>,
) -> PyResult<bool> {
    wait_for(py, async move {
        let settings = load(flags, Needs::DATABASE)?;
        let holders = Holders { percent, users };
        let stage = stage.as_deref();
        match operation {
            Some(operation) => operations::switch(&settings, &operation, stage, holders).await,
            None => operations::switch_all(&settings, stage, holders).await.map(|()| true),
        }
    })
}

/// Set the fields of an operation's answers that are not compared.
#[pyfunction]
pub(super) fn shadow_ignore(
    py: Python<'_>,
    flags: Flags,
    operation: String,
    fields: Vec<String>,
) -> PyResult<()> {
    wait_for(py, async move {
        operations::shadow_ignore(&load(flags, Needs::DATABASE)?, &operation, &fields).await
    })
}

/// Give what shadowed requests have shown: counts, and the newest differences first.
#[pyfunction]
#[pyo3(signature = (flags, operation=None, limit=20))]
pub(super) fn shadow_report(
    py: Python<'_>,
    flags: Flags,
    operation: Option<String>,
    limit: i64,
) -> PyResult<ShadowReport> {
    wait_for(py, async move {
        let settings = load(flags, Needs::DATABASE)?;
        Ok(operations::shadow_report(&settings, operation.as_deref(), limit).await?.into())
    })
}

/// Begin to count anew, for one operation or for all; return how many differences were forgotten.
#[pyfunction]
#[pyo3(signature = (flags, operation=None))]
pub(super) fn shadow_clear(
    py: Python<'_>,
    flags: Flags,
    operation: Option<String>,
) -> PyResult<u64> {
    wait_for(py, async move {
        operations::shadow_clear(&load(flags, Needs::DATABASE)?, operation.as_deref()).await
    })
}
