//! Which orders a relay publishes: a fair number of the sixteen partitions, each held by a lease.
//!
//! Relays count each other by the leases that mark them as alive. Each takes free partitions up to
//! its fair number and releases those beyond it. When a relay dies or stalls, its leases expire,
//! the others take its partitions, and the fencing tokens make its late writes fail.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::error::Result;
use crate::outbox::ports::OutboxConnection;
use crate::store::leases::{Lease, RENEWAL};
use crate::store::outbox::{HeldPartitions, PARTITIONS};

/// Interval between attempts to take partitions while a relay has fewer than its fair number.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

/// The partitions of one relay.
#[derive(Debug)]
pub(super) struct PartitionAssignment {
    destination: &'static str,
    owner: Uuid,
    held: HeldPartitions,
    alive: Option<Lease>,
    next_check: Option<Instant>,
}

impl PartitionAssignment {
    /// Creates an empty assignment.
    pub(super) fn new(destination: &'static str) -> Self {
        let owner = Uuid::now_v7();
        Self { destination, owner, held: HeldPartitions::new(), alive: None, next_check: None }
    }

    /// The partitions held at the last check.
    pub(super) fn held(&self) -> &HeldPartitions {
        &self.held
    }

    /// Makes the next [`rebalance`](Self::rebalance) check the leases, because one seems lost.
    pub(super) fn check_soon(&mut self) {
        self.next_check = None;
    }

    /// Renews the leases, counts the relays, and takes or releases partitions, when it is due.
    pub(super) async fn rebalance(&mut self, outbox: &mut impl OutboxConnection) -> Result<()> {
        if self.next_check.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        self.renew(outbox).await?;
        let fair = self.fair_number(outbox).await?;
        self.release_beyond(fair, outbox).await?;
        self.take_up_to(fair, outbox).await?;
        let pause = if self.held.len() < fair { SEARCH_INTERVAL } else { RENEWAL };
        self.next_check = Some(Instant::now() + pause);
        Ok(())
    }

    /// Releases everything, so that another relay need not wait for the leases to expire.
    pub(super) async fn release(&mut self, outbox: &mut impl OutboxConnection) -> Result<()> {
        let all = self.leases();
        self.held.clear();
        self.alive = None;
        outbox.release_leases(&all).await
    }

    async fn renew(&mut self, outbox: &mut impl OutboxConnection) -> Result<()> {
        let kept = outbox.renew_leases(&self.leases()).await?;
        self.held.retain(|_, lease| kept.contains(lease));
        self.alive = self.alive.take().filter(|lease| kept.contains(lease));
        if self.alive.is_none() {
            let name = format!("{}{}", self.alive_prefix(), self.owner);
            self.alive = outbox.claim_leases(self.owner, &[name], 1).await?.pop();
        }
        Ok(())
    }

    /// The sixteen partitions divided by the number of live relays, rounded up.
    async fn fair_number(&self, outbox: &mut impl OutboxConnection) -> Result<usize> {
        let relays = outbox.count_leases(&self.alive_prefix()).await?;
        Ok(usize::from(PARTITIONS.unsigned_abs()).div_ceil(relays.max(1)))
    }

    async fn release_beyond(
        &mut self,
        fair: usize,
        outbox: &mut impl OutboxConnection,
    ) -> Result<()> {
        let mut surplus = Vec::new();
        while self.held.len() > fair {
            surplus.extend(self.held.pop_last().map(|(_, lease)| lease));
        }
        outbox.release_leases(&surplus).await
    }

    async fn take_up_to(&mut self, fair: usize, outbox: &mut impl OutboxConnection) -> Result<()> {
        let missing = fair.saturating_sub(self.held.len());
        if missing == 0 {
            return Ok(());
        }
        let wanted: Vec<_> = (0..PARTITIONS).filter(|one| !self.held.contains_key(one)).collect();
        let names: Vec<_> = wanted.iter().map(|partition| self.lease_name(*partition)).collect();
        for lease in outbox.claim_leases(self.owner, &names, missing).await? {
            let at = names.iter().position(|name| *name == lease.name);
            if let Some(partition) = at.and_then(|at| wanted.get(at)) {
                self.held.insert(*partition, lease);
            }
        }
        Ok(())
    }

    fn leases(&self) -> Vec<Lease> {
        self.held.values().chain(&self.alive).cloned().collect()
    }

    fn lease_name(&self, partition: i16) -> String {
        format!("relay:{}:partition:{partition:02}", self.destination)
    }

    fn alive_prefix(&self) -> String {
        format!("relay:{}:alive:", self.destination)
    }
}
