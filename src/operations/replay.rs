//! Tells the past again, no faster than asked and than it leaves.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep, sleep_until};

use crate::app::enabled_contracts::EnabledContracts;
use crate::domain::replay::{ReplayCursor, ReplayFilter};
use crate::engine::Engine;
use crate::engine::replay::{Replay, ReplayStep};
use crate::error::{Error, ErrorKind, Result};

/// Most messages per second that may be asked for.
const RATE_MAX: u32 = 100_000;
/// Most events of one transaction.
const STEP_MAX: u32 = 200;
/// Most messages that wait to be told again. The relay sends old orders first, so that many are
/// what live events wait behind.
const WAITING_MAX: u64 = 1000;
/// How often it is looked whether there is room again.
const LOOK: Duration = Duration::from_millis(50);

/// What to tell again, and how.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// Which events.
    pub past: ReplayFilter,
    /// To the consumers of this contract only; of all that are enabled when absent.
    pub contract: Option<String>,
    /// Messages per second, 1 to 100 000.
    pub rate_per_s: i64,
    /// Only count what would be told.
    pub dry_run: bool,
    /// How long it may be that nothing leaves.
    pub patience: Duration,
}

impl ReplayOptions {
    /// How long it may be that nothing leaves, unless a test says otherwise.
    pub const PATIENCE: Duration = Duration::from_secs(60);
}

/// What a replay has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Events that were told again, or whose messages had not left yet.
    pub events: u64,
    /// Messages that were put into the outbox.
    pub messages: u64,
    /// Those of them, and of other replays, that had not left yet the last time it was looked.
    pub waiting: u64,
    /// The last event.
    pub told: Option<ReplayCursor>,
    /// Before when the events are.
    pub until: DateTime<Utc>,
}

/// Puts the messages of past events into the outbox again, marked, and waits whenever many wait to
/// leave. `progress` is called after each step. Ended early, it has told what it said so far.
///
/// # Errors
/// `InvalidInput` for a rate out of range, a contract that is not enabled, or a past that ends
/// before it begins. `Unavailable`, also when nothing leaves: the facts `cursor` and `until` say
/// where to go on.
pub async fn events_replay(
    engine: &Engine,
    contracts: &EnabledContracts,
    options: ReplayOptions,
    progress: impl Fn(Replayed),
) -> Result<Replayed> {
    let rate = checked_rate(options.rate_per_s)?;
    let contract = options.contract.map(|name| enabled(contracts, name)).transpose()?;
    let replay = engine.replay(options.past, contract.clone()).await?;
    let (told, until) = (replay.position(), replay.until());
    let done = Replayed { events: 0, messages: 0, waiting: 0, told, until };
    let mut work = Work { engine, replay, contract, done };
    let ended = match options.dry_run {
        true => work.rehearse(&progress).await,
        false => work.tell(rate, options.patience, &progress).await,
    };
    let done = work.done;
    ended.map(|()| done).map_err(|error| {
        let error = error.with("until", done.until.to_rfc3339());
        match done.told {
            Some(told) => error.with("cursor", told),
            None => error,
        }
    })
}

/// A replay and what it has done so far.
struct Work<'a> {
    engine: &'a Engine,
    replay: Replay,
    contract: Option<String>,
    done: Replayed,
}

impl Work<'_> {
    async fn tell(
        &mut self,
        rate: u32,
        patience: Duration,
        progress: &impl Fn(Replayed),
    ) -> Result<()> {
        // Ten steps a second, so that what leaves leaves evenly.
        let limit = rate.div_ceil(10).min(STEP_MAX);
        let mut next = Instant::now();
        loop {
            sleep_until(next).await;
            self.wait_for_room(patience, progress).await?;
            let Some(step) = self.replay.step(limit).await? else { return Ok(()) };
            self.count(step);
            progress(self.done);
            next = next.max(Instant::now() - LOOK) + Duration::from_secs(step.messages) / rate;
        }
    }

    async fn rehearse(&mut self, progress: &impl Fn(Replayed)) -> Result<()> {
        while let Some(step) = self.replay.dry_run_step(STEP_MAX).await? {
            self.count(step);
            progress(self.done);
        }
        Ok(())
    }

    fn count(&mut self, step: ReplayStep) {
        self.done.events += step.events;
        self.done.messages += step.messages;
        self.done.told = self.replay.position();
    }

    /// Waits until few enough messages wait to leave.
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
            sleep(LOOK).await;
        }
    }
}

fn stuck(waiting: u64, patience: Duration) -> Error {
    let text = format!(
        "{waiting} messages wait to be told again, and for {} s none has left. Start an engine \
         that sends them, look at `order-engine events dead-letters`, and go on after the last cursor.",
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

/// Checks that a contract is enabled: nobody would send the messages of another.
fn enabled(contracts: &EnabledContracts, name: String) -> Result<String> {
    if contracts.destinations().any(|destination| destination == name) {
        return Ok(name);
    }
    let enabled = contracts.destinations().collect::<Vec<_>>().join(", ");
    let text = format!("The contract {name:?} is not enabled here; enabled is {enabled}.");
    Err(Error::new(ErrorKind::InvalidInput, text))
}
