//! Replays past events, no faster than requested and than the relay publishes them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep, sleep_until};

use crate::app::enabled_contracts::EnabledContracts;
use crate::domain::replay::{ReplayCursor, ReplayFilter};
use crate::engine::Engine;
use crate::engine::replay::{Replay, ReplayStep};
use crate::error::{Error, ErrorKind, Result};

/// Maximum rate, in messages per second.
const RATE_MAX: u32 = 100_000;
/// Maximum number of events per transaction.
const STEP_MAX: u32 = 200;
/// Maximum number of replayed messages in the outbox. The relay publishes old orders first, so live
/// events wait behind them.
const WAITING_MAX: u64 = 1000;
/// Interval at which to check for room in the outbox.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// The events to replay.
    pub filter: ReplayFilter,
    /// Only to the consumers of this contract; to those of all enabled contracts when absent.
    pub contract: Option<String>,
    /// Messages per second, 1 to 100,000.
    pub rate_per_s: i64,
    /// Only count the messages.
    pub dry_run: bool,
    /// Fail when no replayed message is published for so long.
    pub patience: Duration,
}

impl ReplayOptions {
    /// The default of `patience`.
    pub const PATIENCE: Duration = Duration::from_secs(60);
}

/// Progress of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Events that were replayed, or whose messages were still in the outbox.
    pub events: u64,
    /// Messages that were put into the outbox.
    pub messages: u64,
    /// Replayed messages in the outbox at the last check, also those of other replays.
    pub waiting: u64,
    /// The last replayed event.
    pub position: Option<ReplayCursor>,
    /// The end of the replayed period.
    pub until: DateTime<Utc>,
}

/// Puts the messages of past events into the outbox again, marked as replayed, and pauses while
/// many of them wait there. `progress` is called after each step. If it ends early, the progress
/// reported so far has been made.
///
/// # Errors
/// `InvalidInput` for a rate out of range, a contract that is not enabled, or a period that ends
/// before it begins. `Unavailable`, also when no replayed message is published for `patience`; the
/// error's context `cursor` and `until` say where to continue.
pub async fn events_replay(
    engine: &Engine,
    contracts: &EnabledContracts,
    options: ReplayOptions,
    progress: impl Fn(Replayed),
) -> Result<Replayed> {
    let rate = checked_rate(options.rate_per_s)?;
    let contract = options.contract.map(|name| enabled(contracts, name)).transpose()?;
    let replay = engine.replay(options.filter, contract.clone()).await?;
    let (position, until) = (replay.position(), replay.until());
    let done = Replayed { events: 0, messages: 0, waiting: 0, position, until };
    let mut work = ReplayRun { engine, replay, contract, done };
    let ended = match options.dry_run {
        true => work.count_only(&progress).await,
        false => work.run(rate, options.patience, &progress).await,
    };
    let done = work.done;
    ended.map(|()| done).map_err(|error| {
        let error = error.with("until", done.until.to_rfc3339());
        match done.position {
            Some(position) => error.with("cursor", position),
            None => error,
        }
    })
}

/// A replay and its progress.
struct ReplayRun<'a> {
    engine: &'a Engine,
    replay: Replay,
    contract: Option<String>,
    done: Replayed,
}

impl ReplayRun<'_> {
    async fn run(
        &mut self,
        rate: u32,
        patience: Duration,
        progress: &impl Fn(Replayed),
    ) -> Result<()> {
        // Ten steps a second, for an even rate.
        let limit = rate.div_ceil(10).min(STEP_MAX);
        let mut next = Instant::now();
        loop {
            sleep_until(next).await;
            self.wait_for_room(patience, progress).await?;
            let Some(step) = self.replay.step(limit).await? else { return Ok(()) };
            self.count(step);
            progress(self.done);
            next = next.max(Instant::now() - CHECK_INTERVAL)
                + Duration::from_secs(step.messages) / rate;
        }
    }

    async fn count_only(&mut self, progress: &impl Fn(Replayed)) -> Result<()> {
        while let Some(step) = self.replay.dry_run_step(STEP_MAX).await? {
            self.count(step);
            progress(self.done);
        }
        Ok(())
    }

    fn count(&mut self, step: ReplayStep) {
        self.done.events += step.events;
        self.done.messages += step.messages;
        self.done.position = self.replay.position();
    }

    /// Waits until the outbox has room for replayed messages.
    async fn wait_for_room(
        &mut self,
        patience: Duration,
        progress: &impl Fn(Replayed),
    ) -> Result<()> {
        let mut least = u64::MAX;
        let mut since = Instant::now();
        loop {
            self.done.waiting = self.engine.replayed_waiting(self.contract.as_deref()).await?;
            if self.done.waiting < WAITING_MAX {
                return Ok(());
            }
            progress(self.done);
            if self.done.waiting < least {
                (least, since) = (self.done.waiting, Instant::now());
            } else if since.elapsed() > patience {
                return Err(stuck(self.done.waiting, patience));
            }
            sleep(CHECK_INTERVAL).await;
        }
    }
}

fn stuck(waiting: u64, patience: Duration) -> Error {
    let text = format!(
        "{waiting} replayed messages are in the outbox, and none was published for {} s. Start an \
         engine that publishes them, check `order-engine events dead-letters`, and continue after \
         the last cursor.",
        patience.as_secs()
    );
    Error::new(ErrorKind::Unavailable, text).with("component", "relay")
}

fn checked_rate(rate: i64) -> Result<u32> {
    u32::try_from(rate).ok().filter(|rate| (1..=RATE_MAX).contains(rate)).ok_or_else(|| {
        let text = format!("The rate must be 1 to {RATE_MAX} messages per second, not {rate}.");
        Error::new(ErrorKind::InvalidInput, text)
    })
}

/// Checks that a contract is enabled. No relay would publish the messages of another.
fn enabled(contracts: &EnabledContracts, name: String) -> Result<String> {
    if contracts.destinations().any(|destination| destination == name) {
        return Ok(name);
    }
    let enabled = contracts.destinations().collect::<Vec<_>>().join(", ");
    let text = format!("The contract {name:?} is not enabled here; enabled is {enabled}.");
    Err(Error::new(ErrorKind::InvalidInput, text))
}
