//! Changes an order that was placed: status changes, cancellation and deletion.

use uuid::Uuid;

use crate::domain::caller::Caller;
use crate::domain::event::{EventKind, OrderEvent, Recipient};
use crate::domain::ids::OrderName;
use crate::domain::order::Order;
use crate::domain::status::{OrderStatus, StatusChange};
use crate::engine::Engine;
use crate::engine::legacy_changes::publish_legacy_changes_of;
use crate::engine::ports::CacheKey;
use crate::engine::stock_projection;
use crate::error::{Error, ErrorKind, Result};
use crate::store::database::{Database, UnitOfWork};

/// Maximum length of a reason, in characters.
const REASON_LENGTH_MAX: usize = 500;

/// The requested change of an order.
pub(super) enum RequestedChange {
    /// This status. Nothing happens when the order has it already.
    Status(OrderStatus),
    /// Deletion. An order that can still be cancelled is cancelled first.
    Deletion,
}

/// The change to make.
struct Transition {
    status: OrderStatus,
    kind: EventKind,
}

impl<D: Database> Engine<D> {
    /// Changes one order under the lock of its row and publishes the change.
    pub(super) async fn transition(
        &self,
        caller: &Caller,
        name: OrderName,
        requested: RequestedChange,
        reason: Option<String>,
    ) -> Result<Order> {
        check_reason(reason.as_deref())?;
        let shared = &self.shared;
        let scope = caller.scope(shared.rules.access);
        let epoch = shared.cache.current_epoch().await?;
        let mut work = shared.store.begin().await?;
        let order = work.lock_order(name, &scope).await?;
        if let RequestedChange::Status(status) = requested {
            caller.check_may_set(status, shared.rules.access)?;
        }
        fail_point!("change.locked");
        let Some(transition) = plan(&order, &requested)? else {
            return Ok(order);
        };
        let keys = vec![CacheKey::Order(order.id), CacheKey::UserList(order.user.clone())];
        let invalidation = shared.cache.invalidate(epoch, keys).await;
        let changed = self.change(work, caller, order, &transition, reason).await;
        shared.cache.release(invalidation).await;
        changed
    }

    /// Writes and commits the change of a locked order.
    async fn change(
        &self,
        mut work: D::Work,
        caller: &Caller,
        order: Order,
        transition: &Transition,
        reason: Option<String>,
    ) -> Result<Order> {
        let shared = &self.shared;
        publish_legacy_changes_of(shared, &mut work, order.id).await?;
        // The clock of the database may have been set back.
        let at = work.now().await?.max(order.updated_at);
        let previous = order.status;
        if transition.status == OrderStatus::Cancelled && previous != OrderStatus::Cancelled {
            work.release_stock(order.id).await?;
            fail_point!("change.released");
        }
        let order = Order {
            status: transition.status,
            version: order.version + 1,
            updated_at: at,
            ..order
        };
        let event = OrderEvent {
            id: Uuid::now_v7(),
            kind: transition.kind,
            at,
            order,
            previous: Some(previous),
            reason,
            recipient: Recipient::default(),
        };
        let messages = shared.encode(&event)?;
        let deleted = transition.kind == EventKind::Deleted;
        work.update_order(&event, caller.name(), deleted, &messages).await?;
        fail_point!("change.written");
        work.commit().await?;
        fail_point!("change.committed");
        shared.notify_committed();
        if event.order.status == OrderStatus::Cancelled {
            let products: Vec<_> =
                event.order.lines.iter().map(|line| line.product.as_str()).collect();
            stock_projection::project(shared, &products).await;
        }
        Ok(event.order)
    }
}

/// The change to make; none when the order has the requested status already.
fn plan(order: &Order, requested: &RequestedChange) -> Result<Option<Transition>> {
    let transition = match requested {
        RequestedChange::Status(to) => match order.status.check_change(*to)? {
            StatusChange::Unchanged => return Ok(None),
            StatusChange::Changed => Transition { status: *to, kind: EventKind::Updated },
        },
        RequestedChange::Deletion => {
            Transition { status: status_to_delete(order.status)?, kind: EventKind::Deleted }
        }
    };
    Ok(Some(transition))
}

/// The status of a deleted order: one that was not shipped is cancelled.
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
