//! Which orders are this relay's: a fair part of the sixteen shares, each held by a lease.
//!
//! Relays see one another by the leases that say they are alive. Each takes what is free up to its
//! fair part and gives up what it has beyond it. A relay that dies or sleeps loses its shares to
//! the others when its leases end, and what it writes after that is refused.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::error::Result;
use crate::outbox::ports::Desk;
use crate::store::leases::{Lease, RENEWAL};
use crate::store::outbox::{Held, SHARES};

/// How often a relay that has less than its fair part looks for more.
const SEARCH: Duration = Duration::from_secs(1);

/// The shares of one relay.
#[derive(Debug)]
pub(super) struct Shares {
    destination: &'static str,
    owner: Uuid,
    held: Held,
    alive: Option<Lease>,
    next_look: Option<Instant>,
}

impl Shares {
    /// Holds nothing yet.
    pub(super) fn new(destination: &'static str) -> Self {
        let owner = Uuid::now_v7();
        Self { destination, owner, held: Held::new(), alive: None, next_look: None }
    }

    /// What is held, as far as is known.
    pub(super) fn held(&self) -> &Held {
        &self.held
    }

    /// Looks at the leases the next time it is asked to, because one seems to be lost.
    pub(super) fn doubt(&mut self) {
        self.next_look = None;
    }

    /// Renews, counts the relays and moves towards a fair part, when it is time.
    pub(super) async fn tend(&mut self, desk: &mut impl Desk) -> Result<()> {
        if self.next_look.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        self.renew(desk).await?;
        let fair = self.fair_part(desk).await?;
        self.give_up_beyond(fair, desk).await?;
        self.take_up_to(fair, desk).await?;
        let pause = if self.held.len() < fair { SEARCH } else { RENEWAL };
        self.next_look = Some(Instant::now() + pause);
        Ok(())
    }

    /// Gives everything back, so that another relay need not wait for the leases to end.
    pub(super) async fn release(&mut self, desk: &mut impl Desk) -> Result<()> {
        let all = self.all();
        self.held.clear();
        self.alive = None;
        desk.release_leases(&all).await
    }

    async fn renew(&mut self, desk: &mut impl Desk) -> Result<()> {
        let kept = desk.renew_leases(&self.all()).await?;
        self.held.retain(|_, lease| kept.contains(lease));
        self.alive = self.alive.take().filter(|lease| kept.contains(lease));
        if self.alive.is_none() {
            let name = format!("{}{}", self.alive_prefix(), self.owner);
            self.alive = desk.claim_leases(self.owner, &[name], 1).await?.pop();
        }
        Ok(())
    }

    /// The sixteen shares divided by the relays that are alive, rounded up.
    async fn fair_part(&self, desk: &mut impl Desk) -> Result<usize> {
        let relays = desk.count_leases(&self.alive_prefix()).await?;
        Ok(usize::from(SHARES.unsigned_abs()).div_ceil(relays.max(1)))
    }

    async fn give_up_beyond(&mut self, fair: usize, desk: &mut impl Desk) -> Result<()> {
        let mut surplus = Vec::new();
        while self.held.len() > fair {
            surplus.extend(self.held.pop_last().map(|(_, lease)| lease));
        }
        desk.release_leases(&surplus).await
    }

    async fn take_up_to(&mut self, fair: usize, desk: &mut impl Desk) -> Result<()> {
        let missing = fair.saturating_sub(self.held.len());
        if missing == 0 {
            return Ok(());
        }
        let wanted: Vec<_> = (0..SHARES).filter(|share| !self.held.contains_key(share)).collect();
        let names: Vec<_> = wanted.iter().map(|share| self.name(*share)).collect();
        for lease in desk.claim_leases(self.owner, &names, missing).await? {
            let at = names.iter().position(|name| *name == lease.name);
            if let Some(share) = at.and_then(|at| wanted.get(at)) {
                self.held.insert(*share, lease);
            }
        }
        Ok(())
    }

    fn all(&self) -> Vec<Lease> {
        self.held.values().chain(&self.alive).cloned().collect()
    }

    fn name(&self, share: i16) -> String {
        format!("relay:{}:share:{share:02}", self.destination)
    }

    fn alive_prefix(&self) -> String {
        format!("relay:{}:alive:", self.destination)
    }
}
