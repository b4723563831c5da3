//! Plans the orders of a batch against the catalogue, before anything is written.

use uuid::Uuid;

use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::ids::OrderId;
use crate::domain::order::{Order, OrderLine};
use crate::domain::placement::{self, Catalog, Plan};
use crate::domain::status::OrderStatus;
use crate::engine::placing::request::{QueuedRequest, key_mismatch};
use crate::engine::shared::Shared;
use crate::error::{Error, ErrorKind, Result};
use crate::store::placing::PlannedOrder;
use crate::store::preparing::{IdempotencyRecord, PlacementContext};

/// What happens to one request.
pub(super) enum RequestOutcome {
    /// This order is written.
    Place(Order),
    /// An earlier request with the same key placed this order.
    Replay(OrderId),
    /// The request breaks a rule.
    Reject(Error),
}

impl RequestOutcome {
    /// The outcome of a request whose key was used before.
    pub(super) fn of_record(queued: &QueuedRequest, record: &IdempotencyRecord) -> Self {
        match record.fingerprint == queued.fingerprint {
            true => Self::Replay(record.order),
            false => Self::Reject(key_mismatch()),
        }
    }
}

/// A planned batch.
pub(super) struct PlannedBatch {
    /// One outcome per request, in order.
    pub outcomes: Vec<RequestOutcome>,
    /// The orders to write, in order.
    pub orders: Vec<PlannedOrder>,
}

impl PlannedBatch {
    /// Plans each request in turn. Every planned order adds its reservations to `catalog`.
    ///
    /// # Errors
    /// `Internal` when an event cannot be encoded: the whole batch fails.
    pub(super) fn new<D>(
        shared: &Shared<D>,
        batch: &[&QueuedRequest],
        contexts: Vec<PlacementContext>,
        catalog: &mut Catalog,
    ) -> Result<Self> {
        let (mut outcomes, mut orders) = (Vec::with_capacity(batch.len()), Vec::new());
        for (queued, context) in batch.iter().zip(contexts) {
            outcomes.push(match plan(shared, queued, context, catalog)? {
                Ok(planned) => {
                    let order = planned.event.order.clone();
                    orders.push(planned);
                    RequestOutcome::Place(order)
                }
                Err(outcome) => outcome,
            });
        }
        Ok(Self { outcomes, orders })
    }

    /// Indexes of the requests whose orders are written.
    pub(super) fn placed(&self) -> Vec<usize> {
        let outcomes = self.outcomes.iter().enumerate();
        let placed = outcomes.filter(|(_, outcome)| matches!(outcome, RequestOutcome::Place(_)));
        placed.map(|(at, _)| at).collect()
    }
}

fn plan<D>(
    shared: &Shared<D>,
    queued: &QueuedRequest,
    context: PlacementContext,
    catalog: &mut Catalog,
) -> Result<std::result::Result<PlannedOrder, RequestOutcome>> {
    if let Some(record) = &context.record {
        return Ok(Err(RequestOutcome::of_record(queued, record)));
    }
    let (rules, request) = (shared.rules, &queued.request);
    if !context.user_known && !rules.placement.allow_unknown_users {
        let text = format!("User {} is not known here.", request.user);
        return Ok(Err(RequestOutcome::Reject(Error::new(ErrorKind::UnknownUser, text))));
    }
    match placement::plan(request, &queued.quoted, catalog, rules.currency) {
        Ok(plan) => build_order(shared, queued, context, plan).map(Ok),
        Err(error) => Ok(Err(RequestOutcome::Reject(error))),
    }
}

/// Builds the order, its event and its messages.
fn build_order<D>(
    shared: &Shared<D>,
    queued: &QueuedRequest,
    context: PlacementContext,
    plan: Plan,
) -> Result<PlannedOrder> {
    let lines = plan.lines.into_iter().zip(context.line_ids);
    let order = Order {
        id: context.order,
        user: queued.request.user.clone(),
        status: OrderStatus::Pending,
        lines: lines
            .map(|(line, id)| OrderLine {
                id,
                product: line.product,
                name: line.name,
                quantity: line.quantity,
                unit_price: line.unit_price,
            })
            .collect(),
        total: plan.total,
        currency: plan.currency,
        address: context.address,
        version: 1,
        created_at: context.at,
        updated_at: context.at,
    };
    let event = OrderEvent {
        id: Uuid::now_v7(),
        kind: EventKind::Placed,
        at: context.at,
        order,
        previous: None,
        reason: None,
        recipient: context.recipient,
    };
    let key = queued
        .key()
        .map(|key| (queued.key_scope.clone(), key.to_owned(), queued.fingerprint.clone()));
    let messages = shared.encode(&event)?;
    let (reservations, actor) = (plan.reservations, queued.actor.clone());
    Ok(PlannedOrder { event, reservations, actor, key, messages })
}
