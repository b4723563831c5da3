//! The names of the BullMQ queues.

/// The queues by subject; none for a queue that is disabled.
#[derive(Clone, Debug)]
pub struct JobQueues {
    /// Of new orders: the one that the deployed workers process.
    pub order: Option<String>,
    /// Of payments.
    pub payment: Option<String>,
    /// Of inventory changes.
    pub inventory: Option<String>,
    /// Of customer notifications.
    pub notification: Option<String>,
}

impl JobQueues {
    /// The names of the queues that are not disabled.
    pub(super) fn names(&self) -> Vec<String> {
        let queues = [&self.order, &self.payment, &self.inventory, &self.notification];
        queues.into_iter().flatten().cloned().collect()
    }
}
