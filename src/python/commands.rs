//! The functions behind the `order-engine` command. Each opens what it needs and closes it again.
#![allow(clippy::doc_markdown, reason = "the doc comments are Python docstrings")]

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use pyo3::prelude::*;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::app::{self, App, Role};
use crate::config::{self, Needs, Settings};
use crate::domain::ids::UserId;
use crate::error::{Error, ErrorKind, Result};
use crate::operations::describing::{self, Language};
use crate::operations::{
    self, AdoptOptions, AdoptReport, Progress, ReplayOptions, RuleScope, StatusMap,
};
use crate::python::arguments::{self, Argument, Flags};
use crate::python::bridge::wait_for;
use crate::python::errors::raise;
use crate::python::types::{
    PyCheck, PyDeadLetter, PyDemoCatalog, PyDemoProduct, PyEvent, PyReplayProgress, PyRoutingRule,
    PySettingInfo, PySettingValue, PyShadowReport,
};

/// Interval between progress reports of a replay.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The folder of `.env` and `order-engine.toml`.
fn directory() -> &'static Path {
    Path::new(".")
}

#[expect(clippy::needless_pass_by_value, reason = "callers are done with them")]
fn load(flags: Flags, needs: Needs) -> Result<Settings> {
    Settings::load(&flags, directory(), needs)
}

/// Serve the configured contracts until SIGINT, SIGTERM or SIGHUP.
///
/// Requests in progress are finished. Call it from the main thread.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     on_ready (Callable[[list[str]], None] | None): Called once when every port is open, with
///         the base URLs in the order of the setting `contract`. An exception stops the server
///         and is raised here.
///
/// Raises:
///     Misconfigured: Also when a port is in use; the message names it.
#[pyfunction]
#[pyo3(signature = (flags, on_ready=None))]
pub(super) fn serve(py: Python<'_>, flags: Flags, on_ready: Option<Py<PyAny>>) -> PyResult<()> {
    let settings = load(flags, Needs::SERVING).map_err(|error| raise(py, &error))?;
    run_until_stopped(py, on_ready, |ready, stop| app::serve(settings, ready, stop))
}

/// Run only the relay or only the consumer until SIGINT, SIGTERM or SIGHUP.
///
/// Call it from the main thread.
///
/// Args:
///     flags (dict[str, str]): Settings; a broker must be among them.
///     role (str): `relay` publishes events; `consumer` applies incoming ones.
///     on_ready (Callable[[list[str]], None] | None): Called once, with an empty list, when the
///         work has started.
///
/// Raises:
///     InvalidInput: An unknown role.
#[pyfunction]
#[pyo3(signature = (flags, role, on_ready=None))]
pub(super) fn work(
    py: Python<'_>,
    flags: Flags,
    role: &str,
    on_ready: Option<Py<PyAny>>,
) -> PyResult<()> {
    let role = match role {
        "relay" => Ok(Role::Relay),
        "consumer" => Ok(Role::Consumer),
        _ => Err(Error::new(ErrorKind::InvalidInput, "role must be relay or consumer.")),
    };
    let role = role.map_err(|error| raise(py, &error))?;
    let settings = load(flags, Needs::DATABASE).map_err(|error| raise(py, &error))?;
    run_until_stopped(py, on_ready, move |ready, stop| app::work(settings, role, ready, stop))
}

/// Runs work that ends with a signal. An exception of `on_ready` stops the work and is raised.
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
            // The receiver waits until it gets this.
            let _ = ended.send(running.await);
        });
        Ok(())
    })?;
    // Nothing arrives if opening failed; then the result says why.
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
    Error::new(
        ErrorKind::Internal,
        "Internal error: a background task ended unexpectedly; see the log.",
    )
}

/// Check the settings without connecting to anything.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     for_server (bool): Whether everything that a server needs must be set.
///
/// Raises:
///     Misconfigured: Settings are missing or wrong; `problems` lists them all.
#[pyfunction]
#[pyo3(signature = (flags, *, for_server=true))]
pub(super) fn validate_settings(py: Python<'_>, flags: Flags, for_server: bool) -> PyResult<()> {
    let needs = if for_server { Needs::SERVING } else { Needs::NOTHING };
    load(flags, needs).map(drop).map_err(|error| raise(py, &error))
}

/// Apply the migrations that the database lacks. Concurrent calls wait for each other.
///
/// Args:
///     flags (dict[str, str]): Settings.
///
/// Returns:
///     list[str]: Names of the applied migrations.
#[pyfunction]
pub(super) fn migrate(py: Python<'_>, flags: Flags) -> PyResult<Vec<String>> {
    wait_for(py, async move { operations::migrate(&load(flags, Needs::DATABASE)?).await })
}

/// Adopt the database of an older application, which continues to use it.
///
/// An interrupted adoption resumes when it is called again. Repeating an adoption brings the
/// engine's tables up to date with the older ones.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     dry_run (bool): Only check; changes nothing.
///     announce (bool | None): Whether the engine publishes the older application's changes. None
///         keeps the previous choice, initially off.
///     time_zone (str | None): Time zone of the older application's timestamps. None keeps the
///         previous choice, initially UTC.
///     map_status (list[str]): What the older application's own words for a status mean, such as
///         `Paid=confirmed`; `null` stands for a missing status. Entries of earlier runs
///         remain.
///     on_progress (Callable[[str, int, int], None] | None): Called with the stage, the number of
///         rows done and their total. An exception stops the adoption and is raised here.
///
/// Returns:
///     str: The report as JSON.
///
/// Raises:
///     Misconfigured: The database does not have the expected tables; `problems` lists why.
///     InvalidInput: An unknown time zone, or another one than before; an invalid entry of
///         `map_status`.
///     Conflict: Another adoption of this database is running.
#[pyfunction]
#[pyo3(signature = (
    flags, *, dry_run=false, announce=None, time_zone=None, map_status=vec![], on_progress=None
))]
#[expect(clippy::needless_pass_by_value, reason = "Python gives values")]
pub(super) fn adopt(
    py: Python<'_>,
    flags: Flags,
    dry_run: bool,
    announce: Option<bool>,
    time_zone: Option<String>,
    map_status: Vec<String>,
    on_progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let settings = load(flags, Needs::DATABASE).map_err(|error| raise(py, &error))?;
    let status_map = StatusMap::parse(&map_status).map_err(|error| raise(py, &error))?;
    let options = AdoptOptions { dry_run, announce, time_zone, status_map };
    let (progress, mut reports) = mpsc::unbounded_channel::<Progress>();
    let (ended, end) = oneshot::channel();
    let stop = CancellationToken::new();
    // The end of this call, also by Ctrl-C, stops the work; it can be resumed at any point.
    let _stops = stop.clone().drop_guard();
    wait_for(py, async move {
        tokio::spawn(async move {
            let work = operations::adopt(&settings, &options, move |report| {
                // The receiver is gone after Ctrl-C.
                let _ = progress.send(report);
            });
            if let Some(report) = stop.run_until_cancelled(work).await {
                let _ = ended.send(report);
            }
        });
        Ok(())
    })?;
    loop {
        let (next, channel) = wait_for(py, async move { Ok((reports.recv().await, reports)) })?;
        reports = channel;
        let Some(Progress { stage, done, total }) = next else { break };
        if let Some(on_progress) = &on_progress {
            on_progress.call1(py, (stage, done, total))?;
        }
    }
    wait_for(py, async move { json(&end.await.unwrap_or_else(|_| Err(vanished()))?) })
}

/// Undo an adoption. The older application's tables stay, with everything written since.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     force (bool): Undo even if the older tables lack data that the engine has.
///
/// Returns:
///     str: The report as JSON.
///
/// Raises:
///     Misconfigured: There is no adoption, or data would be lost.
///     Conflict: Another adoption of this database is running.
#[pyfunction]
#[pyo3(signature = (flags, *, force=false))]
pub(super) fn undo_adoption(py: Python<'_>, flags: Flags, force: bool) -> PyResult<String> {
    wait_for(py, async move {
        json(&operations::undo_adoption(&load(flags, Needs::DATABASE)?, force).await?)
    })
}

fn json(report: &AdoptReport) -> Result<String> {
    serde_json::to_string(report).map_err(|error| {
        Error::new(ErrorKind::Internal, "The report cannot be written as JSON.").with_source(error)
    })
}

/// Sign a token with the configured `jwt_secret_key`.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     user_id (str): User id to issue the token for.
///     admin (bool): Whether to grant the admin role.
///     expires_seconds (int): Lifetime, 1 to 31,536,000 seconds (one year).
///
/// Returns:
///     str: The token.
///
/// Raises:
///     InvalidInput: An empty user id, or a lifetime out of range.
#[pyfunction]
#[pyo3(signature = (flags, user_id, admin=false, expires_seconds=3600))]
pub(super) fn mint_token(
    py: Python<'_>,
    flags: Flags,
    user_id: String,
    admin: bool,
    expires_seconds: u64,
) -> PyResult<String> {
    let mint = || {
        let user = UserId::parse(user_id)?;
        let lifetime = Duration::from_secs(expires_seconds);
        operations::mint_token(&load(flags, Needs::SECRET)?, &user, admin, lifetime)
    };
    mint().map_err(|error| raise(py, &error))
}

/// Describe one part of a contract, as configured. Connects to nothing.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     contract (str): Name of the contract.
///     language (str): `openapi` for the REST API, `graphql` for the GraphQL schema, `asyncapi`
///         for the events.
///
/// Returns:
///     str: The description; ends with a newline.
///
/// Raises:
///     Misconfigured: There is no such contract, it has no such part, or settings are wrong.
///     InvalidInput: There is no such language.
#[pyfunction]
pub(super) fn describe_contract(
    py: Python<'_>,
    flags: Flags,
    contract: &str,
    language: &str,
) -> PyResult<String> {
    let describe = || {
        let language = language_named(language)?;
        describing::describe(&load(flags, Needs::NOTHING)?, contract, language)
    };
    describe().map_err(|error| raise(py, &error))
}

/// List the contracts that a language can describe.
///
/// Args:
///     language (str): `openapi`, `graphql` or `asyncapi`.
///
/// Returns:
///     list[str]: Names of the contracts.
///
/// Raises:
///     InvalidInput: There is no such language.
#[pyfunction]
pub(super) fn described_contracts(py: Python<'_>, language: &str) -> PyResult<Vec<&'static str>> {
    language_named(language).map(describing::described_in).map_err(|error| raise(py, &error))
}

fn language_named(language: &str) -> Result<Language> {
    let found = Language::ALL.into_iter().find(|each| each.name() == language);
    found.ok_or_else(|| {
        let names = Language::ALL.map(Language::name).join(", ");
        let text = format!("There is no language named {language:?}; there is {names}.");
        Error::new(ErrorKind::InvalidInput, text)
    })
}

/// List every setting with its effective value, in the order of the documentation.
///
/// Wrong values are listed as they are; secrets are masked.
///
/// Args:
///     flags (dict[str, str]): Settings.
///
/// Returns:
///     list[SettingValue]: The settings.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "Python gives values")]
pub(super) fn describe_settings(flags: Flags) -> Vec<PySettingValue> {
    Settings::describe(&flags, directory()).into_iter().map(PySettingValue::from).collect()
}

/// List the variables of the environment and `.env` that look like settings but set nothing.
///
/// Returns:
///     list[str]: One sentence for each, with a suggestion if a setting has a similar name.
#[pyfunction]
pub(super) fn unknown_variables() -> Vec<String> {
    config::unknown_variables(directory())
}

/// List every setting with its description, in the order of the documentation.
///
/// Returns:
///     list[SettingInfo]: The settings.
#[pyfunction]
pub(super) fn settings() -> Vec<PySettingInfo> {
    config::all().map(PySettingInfo::from).collect()
}

/// Check every part that the engine would use: settings, database, tables, brokers, ports.
///
/// A part that does not work is reported as an entry that is not `ok`; it does not raise.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     check_ports (bool): Whether to check that the ports are free.
///
/// Returns:
///     list[Check]: One entry for each part.
#[pyfunction]
#[pyo3(signature = (flags, check_ports=true))]
pub(super) fn doctor(py: Python<'_>, flags: Flags, check_ports: bool) -> PyResult<Vec<PyCheck>> {
    wait_for(py, async move {
        let checks = operations::doctor(load(flags, Needs::SERVING), check_ports).await;
        Ok(checks.into_iter().map(PyCheck::from).collect())
    })
}

/// Create the demo user and products. Needs a migrated database.
///
/// Existing products get their names and prices again, and keep their stock.
///
/// Args:
///     flags (dict[str, str]): Settings.
///
/// Returns:
///     DemoCatalog: The user and the products.
#[pyfunction]
pub(super) fn seed_demo(py: Python<'_>, flags: Flags) -> PyResult<PyDemoCatalog> {
    wait_for(py, async move {
        let demo = operations::seed_demo(&load(flags, Needs::DATABASE)?).await?;
        let products = demo.products.into_iter().map(|(product_id, name, price, quantity)| {
            PyDemoProduct { product_id, name, price: price.into(), quantity }
        });
        Ok(PyDemoCatalog { user_id: demo.user.to_string(), products: products.collect() })
    })
}

/// Empty the tables of a test database. Only a server for tests permits this.
///
/// Args:
///     flags (dict[str, str]): Settings.
#[pyfunction]
pub(super) fn reset_test_database(py: Python<'_>, flags: Flags) -> PyResult<()> {
    wait_for(
        py,
        async move { operations::reset_test_database(&load(flags, Needs::DATABASE)?).await },
    )
}

/// List the latest events and the delivery state of their messages, oldest first.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     order_id (Id | None): Only events of this order.
///     limit (int): Number of events, 1 to 1,000.
///
/// Returns:
///     list[Event]: The events.
///
/// Raises:
///     InvalidInput: A limit out of range.
#[pyfunction]
#[pyo3(signature = (flags, order_id=None, limit=20))]
pub(super) fn events_tail(
    py: Python<'_>,
    flags: Flags,
    order_id: Option<&Argument<'_>>,
    limit: i64,
) -> PyResult<Vec<PyEvent>> {
    let order = order_id.map(arguments::order_id).transpose()?;
    wait_for(py, async move {
        let events = App::with_engine(&load(flags, Needs::DATABASE)?, async |engine, _| {
            operations::events_tail(engine, order, limit).await
        })
        .await?;
        Ok(events.into_iter().map(|event| (event.entry, event.delivery).into()).collect())
    })
}

/// List the messages that could not be published or applied, oldest first.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     limit (int): Number of messages, 1 to 1,000.
///
/// Returns:
///     list[DeadLetter]: The messages, each with the reason.
///
/// Raises:
///     InvalidInput: A limit out of range.
#[pyfunction]
#[pyo3(signature = (flags, limit=100))]
pub(super) fn events_dead_letters(
    py: Python<'_>,
    flags: Flags,
    limit: i64,
) -> PyResult<Vec<PyDeadLetter>> {
    wait_for(py, async move {
        let parked = App::with_engine(&load(flags, Needs::DATABASE)?, async |engine, _| {
            operations::events_dead_letters(engine, limit).await
        })
        .await?;
        Ok(parked.into_iter().map(PyDeadLetter::from).collect())
    })
}

/// Publish or apply dead letters again.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     ids (list[int] | None): The messages' numbers; None means all of them.
///
/// Returns:
///     int: Number of messages.
///
/// Raises:
///     NotFound: One of the ids is not a dead letter; nothing was changed.
#[pyfunction]
#[pyo3(signature = (flags, ids=None))]
pub(super) fn events_retry(py: Python<'_>, flags: Flags, ids: Option<Vec<i64>>) -> PyResult<usize> {
    wait_for(py, async move {
        let settings = load(flags, Needs::DATABASE)?;
        App::with_engine(&settings, async |engine, contracts| {
            operations::events_retry(engine, contracts, ids.as_deref()).await
        })
        .await
    })
}

/// Discard dead letters for good, so that the messages behind them are published.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     ids (list[int]): The messages' numbers.
///
/// Returns:
///     int: Number of messages.
///
/// Raises:
///     NotFound: One of the ids is not a dead letter; nothing was changed.
#[pyfunction]
pub(super) fn events_skip(py: Python<'_>, flags: Flags, ids: Vec<i64>) -> PyResult<usize> {
    wait_for(py, async move {
        App::with_engine(&load(flags, Needs::DATABASE)?, async |engine, _| {
            operations::events_skip(engine, &ids).await
        })
        .await
    })
}

/// Publish past events again, for the contracts of the settings.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     order_ids (Iterable[Id] | None): Only events of these orders.
///     since (datetime | timedelta | None): Only events from this time on.
///     until (datetime | timedelta | None): Only events before this time; now by default.
///     after (str | None): The `cursor` of an interrupted replay, to resume it.
///     rate_per_s (int): Messages written to the outbox per second, 1 to 100,000.
///     dry_run (bool): Only count the messages.
///     on_progress (Callable[[ReplayProgress], None] | None): Called about once a second and at
///         the end; also before a KeyboardInterrupt is raised. An exception stops the replay and
///         is raised here.
///
/// Returns:
///     ReplayProgress: Number of events and messages, and of messages that still wait.
///
/// Raises:
///     InvalidInput: A wrong argument, or `until` is not after `since`.
///     Unavailable: Also when no message is published for a minute; `context["cursor"]` is the
///         place to resume at.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "Python gives values")]
#[expect(clippy::too_many_arguments, reason = "each but three narrows the events")]
#[pyo3(signature = (
    flags, *, order_ids=None, since=None, until=None, after=None, rate_per_s=1000, dry_run=false,
    on_progress=None
))]
pub(super) fn events_replay(
    py: Python<'_>,
    flags: Flags,
    order_ids: Option<&Argument<'_>>,
    since: Option<&Argument<'_>>,
    until: Option<&Argument<'_>>,
    after: Option<&Argument<'_>>,
    rate_per_s: i64,
    dry_run: bool,
    on_progress: Option<Py<PyAny>>,
) -> PyResult<PyReplayProgress> {
    let options = ReplayOptions {
        filter: arguments::replay_filter(order_ids, since, until, after)?,
        contract: None,
        rate_per_s,
        dry_run,
        patience: ReplayOptions::PATIENCE,
    };
    let settings = load(flags, Needs::DATABASE).map_err(|error| raise(py, &error))?;
    let (progress, latest) = watch::channel(None);
    let report = || match (*latest.borrow(), &on_progress) {
        (Some(done), Some(on_progress)) => {
            on_progress.call1(py, (PyReplayProgress::from(done),)).map(drop)
        }
        _ => Ok(()),
    };
    let stop = CancellationToken::new();
    // The end of this function, also by Ctrl-C, stops the replay after the current step.
    let _stops = stop.clone().drop_guard();
    let (ended, mut end) = oneshot::channel();
    wait_for(py, async move {
        tokio::spawn(async move {
            let done = App::with_engine(&settings, async |engine, contracts| {
                let progress = |done| {
                    progress.send_replace(Some(done));
                };
                let replay = operations::events_replay(engine, contracts, options, progress);
                stop.run_until_cancelled(replay).await.transpose()
            });
            // The receiver is gone after Ctrl-C.
            let _ = ended.send(done.await);
        });
        Ok(())
    })?;
    loop {
        let waited =
            wait_for(py, async move { Ok((timeout(PROGRESS_INTERVAL, &mut end).await, end)) });
        match waited {
            Ok((Err(_), again)) => end = again,
            Ok((Ok(result), _)) => {
                report()?;
                let done = result.unwrap_or_else(|_| Err(vanished()));
                return done
                    .and_then(|done| done.map(PyReplayProgress::from).ok_or_else(vanished))
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

/// List the routing rules, by operation.
///
/// Args:
///     flags (dict[str, str]): Settings.
///
/// Returns:
///     list[RoutingRule]: The rules.
#[pyfunction]
pub(super) fn routing_rules(py: Python<'_>, flags: Flags) -> PyResult<Vec<PyRoutingRule>> {
    wait_for(py, async move {
        let rules = operations::routing_rules(&load(flags, Needs::DATABASE)?).await?;
        Ok(rules.into_iter().map(PyRoutingRule::from).collect())
    })
}

/// Set who answers an operation. Running processes follow within a second.
///
/// The stage applies to the named users and to a share of all others. The remaining users get the
/// stage before it: `shadow` before `engine`, `legacy` before `shadow`.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     operation (str | None): A GraphQL field (`createOrder`) or a route (`GET /`). None sets the
///         stage of all operations and removes the rules of single ones.
///     stage (str | None): `legacy`, `shadow` or `engine`. None removes the operation's stage, or,
///         for all operations, restores the setting `migration_stage`.
///     percent (int | None): Share of users for whom the stage applies, 0 to 100; always the same
///         users. None without `users` means all users.
///     users (list[str]): Users for whom the stage applies in any case.
///
/// Returns:
///     bool: Whether the engine has such an operation. If not, only the legacy code may have it.
///
/// Raises:
///     InvalidInput: A name, share or user is out of range, or `legacy` is limited to some users.
#[pyfunction]
pub(super) fn set_routing_rule(
    py: Python<'_>,
    flags: Flags,
    operation: Option<String>,
    stage: Option<String>,
    percent: Option<i64>,
    users: Vec<String>,
) -> PyResult<bool> {
    wait_for(py, async move {
        let settings = load(flags, Needs::DATABASE)?;
        let holders = RuleScope { percent, users };
        let stage = stage.as_deref();
        match operation {
            Some(operation) => {
                operations::set_routing_rule(&settings, &operation, stage, holders).await
            }
            None => {
                operations::set_common_routing_rule(&settings, stage, holders).await.map(|()| true)
            }
        }
    })
}

/// Replace the list of response fields of an operation that are not compared.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     operation (str): A GraphQL field or a route; `*` for all operations.
///     fields (list[str]): Names, which match everywhere, or paths such as
///         `createOrder.orders.status`.
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

/// Read the outcomes of shadowed requests: counts, and the newest differences.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     operation (str | None): Only of this operation.
///     limit (int): Number of differences, 1 to 1,000.
///
/// Returns:
///     ShadowReport: The outcomes.
#[pyfunction]
#[pyo3(signature = (flags, operation=None, limit=20))]
pub(super) fn shadow_report(
    py: Python<'_>,
    flags: Flags,
    operation: Option<String>,
    limit: i64,
) -> PyResult<PyShadowReport> {
    wait_for(py, async move {
        let settings = load(flags, Needs::DATABASE)?;
        Ok(operations::shadow_report(&settings, operation.as_deref(), limit).await?.into())
    })
}

/// Delete the outcomes of shadowed requests.
///
/// Args:
///     flags (dict[str, str]): Settings.
///     operation (str | None): Only of this operation.
///
/// Returns:
///     int: Number of deleted differences.
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
