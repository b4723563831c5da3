//! The one transaction that every change of a placed order goes through.

use uuid::Uuid;

use crate::domain::caller::Caller;
use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::ids::OrderName;
use crate::domain::order::Order;
use crate::domain::status::{Change, OrderStatus};
use crate::engine::Engine;
use crate::engine::catch_up::catch_up_on;
use crate::engine::database::{Database, UnitOfWork};
use crate::engine::ports::CacheKey;
use crate::engine::stock_projection;
use crate::error::{Error, ErrorKind, Result};

/// Longest reason, in characters.
const REASON_LENGTH_MAX: usize = 500;

/// What is to become of an order.
pub(super) enum Wanted {
    /// This status; nothing happens when it has it already.
    Status(OrderStatus),
    /// Nobody sees it any more; cancelled first where that is still possible.
    Deleted,
}

/// A decided change.
struct Step {
    status: OrderStatus,
    kind: EventKind,
}

impl<D: Database> Engine<D> {
    /// Changes one order under its row's lock and announces the change.
    pub(super) async fn transition(
        &self,
        caller: &Caller,
        name: OrderName,
        wanted: Wanted,
        reason: Option<String>,
    ) -> Result<Order> {
        check_reason(reason.as_deref())?;
        let shared = &self.shared;
        let scope = caller.scope(shared.rules.access);
        let position = shared.cache.prepare().await?;
        let mut work = shared.store.begin().await?;
        let order = work.lock_order(name, &scope).await?;
        if let Wanted::Status(status) = wanted {
            caller.check_may_set(status, shared.rules.access)?;
        }
        fail_point!("change.locked");
        let Some(step) = decide(&order, &wanted)? else {
            return Ok(order);
        };
        if shared.is_rehearsal {
            return self.change(work, caller, order, &step, reason).await;
        }
        let subjects = vec![CacheKey::Order(order.id), CacheKey::UserList(order.user.clone())];
        let closed = shared.cache.invalidate(position, subjects).await;
        let changed = self.change(work, caller, order, &step, reason).await;
        shared.cache.release(closed).await;
        changed
    }

    /// Takes a decided step of a locked order.
    async fn change(
        &self,
        mut work: D::Work,
        caller: &Caller,
        order: Order,
        step: &Step,
        reason: Option<String>,
    ) -> Result<Order> {
        let shared = &self.shared;
        catch_up_on(shared, &mut work, order.id).await?;
        let at = work.now().await?;
        let previous = order.status;
        if step.status == OrderStatus::Cancelled && previous != OrderStatus::Cancelled {
            work.release_stock(order.id).await?;
            fail_point!("change.released");
        }
        let order =
            Order { status: step.status, version: order.version + 1, updated_at: at, ..order };
        let event = OrderEvent {
            id: Uuid::now_v7(),
            kind: step.kind,
            at,
            order,
            previous: Some(previous),
            reason,
            opted_out: false,
        };
        let messages = shared.encode(&event)?;
        let deleted = step.kind == EventKind::Deleted;
        work.change(&event, caller.name(), deleted, &messages).await?;
        fail_point!("change.written");
        shared.commit(work).await?;
        fail_point!("change.committed");
        shared.committed();
        if event.order.status == OrderStatus::Cancelled {
            let products: Vec<_> =
                event.order.lines.iter().map(|line| line.product.as_str()).collect();
            stock_projection::show(shared, &products).await;
        }
        Ok(event.order)
    }
}

/// The step to take, none where the order is as wanted already.
fn decide(order: &Order, wanted: &Wanted) -> Result<Option<Step>> {
    let step = match wanted {
        Wanted::Status(to) => match order.status.check_change(*to)? {
            Change::None => return Ok(None),
            Change::Move => Step { status: *to, kind: EventKind::Updated },
        },
        Wanted::Deleted => {
            Step { status: status_to_delete(order.status)?, kind: EventKind::Deleted }
        }
    };
    Ok(Some(step))
}

/// The status that an order is deleted in: what has not left yet is cancelled by it.
fn status_to_delete(status: OrderStatus) -> Result<OrderStatus> {
    match status {
        OrderStatus::Pending | OrderStatus::Confirmed => Ok(OrderStatus::Cancelled),
        OrderStatus::Delivered | OrderStatus::Cancelled | OrderStatus::Returned => Ok(status),
        OrderStatus::Shipped => Err(Error::new(
            ErrorKind::InvalidTransition,
            "An order that is shipped cannot be deleted before it is delivered.",
        )
        .with("current", status.as_str())
        .with("requested", "deleted")
        .with("allowed", "delivered")),
    }
}

fn check_reason(reason: Option<&str>) -> Result<()> {
    let Some(reason) = reason else { return Ok(()) };
    if reason.chars().count() > REASON_LENGTH_MAX || reason.contains('\0') {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("A reason is at most {REASON_LENGTH_MAX} characters, without NUL."),
        ));
    }
    Ok(())
}
