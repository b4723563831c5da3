//! Decides a batch of placements against the catalogue and writes it in one transaction.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::domain::event::{EventKind, OrderEvent};
use crate::domain::ids::{IdempotencyKey, OrderId};
use crate::domain::order::{Line, Order};
use crate::domain::placement::{self, Offers, PlaceOrder, Plan};
use crate::domain::quote::Prices;
use crate::domain::status::OrderStatus;
use crate::engine::database::{Database, UnitOfWork};
use crate::engine::place_order::Placed;
use crate::engine::ports::CacheKey;
use crate::engine::{Shared, alone, stock_projection};
use crate::error::{Error, ErrorKind, Result};
use crate::store::placing::Decided;
use crate::store::preparing::{Earlier, Prepared, Question};

/// One request to place an order, checked as far as it can be without the database.
#[derive(Debug)]
pub(super) struct Job {
    /// Whose idempotency keys to look in.
    pub key_scope: String,
    /// Who places it, for the history.
    pub actor: String,
    /// The request as a hash.
    pub fingerprint: Vec<u8>,
    /// What is asked for.
    pub request: PlaceOrder,
    /// What the product service has said of prices, where it was asked.
    pub quoted: Prices,
}

impl Job {
    /// The request's idempotency key, if it has one.
    pub(super) fn key(&self) -> Option<&str> {
        self.request.key.as_ref().map(IdempotencyKey::as_str)
    }
}

/// What becomes of one request.
pub(super) enum Verdict {
    /// It is the nth decided order of the batch.
    Place(usize),
    /// An earlier request with its key placed this order.
    Replay(OrderId),
    /// It breaks a rule.
    Refuse(Error),
}

impl Verdict {
    /// What a key says that was used before.
    fn of_key(job: &Job, earlier: &Earlier) -> Self {
        match earlier.fingerprint == job.fingerprint {
            true => Self::Replay(earlier.order),
            false => Self::Refuse(mismatch()),
        }
    }

    fn places(&self) -> bool {
        matches!(self, Self::Place(_))
    }
}

/// The answers to a batch, in the order of its jobs.
pub(super) type Answers = std::result::Result<Vec<Result<Placed>>, Failure>;

/// Why a batch as a whole was not placed.
pub(super) struct Failure {
    /// What happened.
    pub error: Error,
    /// Which jobs may be placed all the same, because nobody said what became of the commit.
    pub in_doubt: Vec<usize>,
}

impl Failure {
    /// Of the commit of these jobs.
    pub(super) fn of_commit(error: Error, placed: Vec<usize>) -> Self {
        match error.kind() {
            ErrorKind::OutcomeUnknown => Self { error, in_doubt: placed },
            _ => error.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, in_doubt: Vec::new() }
    }
}

/// Places what can be placed and answers every request, in order. No two jobs share a key.
///
/// # Errors
/// Only those that concern the whole batch: nothing of it is placed then, but for what is in doubt.
pub(super) async fn place<D: Database>(shared: &Shared<D>, jobs: &[&Job]) -> Answers {
    if shared.is_rehearsal {
        return place_all(shared, jobs).await;
    }
    let lists: BTreeSet<_> = jobs.iter().map(|job| &job.request.user).collect();
    let lists = lists.into_iter().map(|user| CacheKey::UserList(user.clone()));
    let position = shared.cache.prepare().await?;
    let closed = shared.cache.invalidate(position, lists.collect()).await;
    let answers = match jobs {
        [job] => alone::place(shared, job).await,
        _ => place_all(shared, jobs).await,
    };
    shared.cache.release(closed).await;
    answers
}

/// Places a batch under locks.
pub(super) async fn place_all<D: Database>(shared: &Shared<D>, jobs: &[&Job]) -> Answers {
    fail_point!("place.requested");
    let products = products(jobs);
    let mut work = shared.store.begin().await?;
    let (prepared, mut offers) = work.prepare(&questions(jobs), &products).await?;
    if stock_projection::take_in(shared, &mut work, &products, &offers).await? {
        offers = work.lock_products(&products).await?;
    }
    fail_point!("place.locked");
    let mut decided = Vec::with_capacity(jobs.len());
    let mut verdicts = Vec::with_capacity(jobs.len());
    let at = prepared.first().map(|first| first.at);
    for (job, prepared) in jobs.iter().zip(prepared) {
        verdicts.push(decide(shared, job, prepared, &mut offers, &mut decided)?);
    }
    look_again(&mut work, jobs, &mut verdicts).await?;
    let placed = verdicts.iter().enumerate().filter(|(_, verdict)| verdict.places());
    let placed: Vec<_> = placed.map(|(n, _)| n).collect();
    let mut answers = Vec::with_capacity(jobs.len());
    for verdict in verdicts {
        answers.push(match verdict {
            Verdict::Refuse(error) => Err(error),
            Verdict::Place(n) => Ok(Placed { order: order_of(&decided, n)?, replayed: false }),
            Verdict::Replay(id) => match work.placed(id).await {
                Ok(order) => Ok(Placed { order, replayed: true }),
                Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
                // The transaction has failed with it.
                Err(error) => return Err(error.into()),
            },
        });
    }
    if let Some(at) = at.filter(|_| !decided.is_empty()) {
        work.write(at, &decided).await?;
        fail_point!("place.written");
        shared.commit(work).await.map_err(|error| Failure::of_commit(error, placed))?;
        fail_point!("place.committed");
        shared.committed();
        stock_projection::show(shared, &products).await;
    }
    Ok(answers)
}

/// Looks once more for the keys of refused requests, now that their products are locked: a twin, or
/// an earlier try whose end nobody told, may have taken the very stock that is missing now.
async fn look_again(
    work: &mut impl UnitOfWork,
    jobs: &[&Job],
    verdicts: &mut [Verdict],
) -> Result<()> {
    let refused = jobs.iter().zip(verdicts);
    let refused = refused.filter(|(_, verdict)| matches!(verdict, Verdict::Refuse(_)));
    let named = refused.filter_map(|(job, verdict)| Some((job, job.key()?, verdict)));
    let named: Vec<_> = named.collect();
    if named.is_empty() {
        return Ok(());
    }
    let keys: Vec<_> = named.iter().map(|(job, key, _)| (job.key_scope.as_str(), *key)).collect();
    let found = work.earlier(&keys).await?;
    for ((job, _, verdict), earlier) in named.into_iter().zip(found) {
        if let Some(earlier) = earlier {
            *verdict = Verdict::of_key(job, &earlier);
        }
    }
    Ok(())
}

pub(super) fn questions<'a>(jobs: &[&'a Job]) -> Vec<Question<'a>> {
    jobs.iter()
        .map(|job| Question {
            caller: &job.key_scope,
            key: job.key(),
            user: job.request.user.as_str(),
            lines: job.request.items.len(),
        })
        .collect()
}

/// The products that requests name, without doubles.
pub(super) fn products<'a>(jobs: &[&'a Job]) -> Vec<&'a str> {
    let named = jobs.iter().flat_map(|job| &job.request.items);
    let distinct: BTreeSet<_> = named.map(|item| item.product.as_str()).collect();
    distinct.into_iter().collect()
}

pub(super) fn decide<D: Database>(
    shared: &Shared<D>,
    job: &Job,
    prepared: Prepared,
    offers: &mut Offers,
    decided: &mut Vec<Decided>,
) -> Result<Verdict> {
    if let Some(earlier) = &prepared.earlier {
        return Ok(Verdict::of_key(job, earlier));
    }
    if !prepared.user_known && !shared.rules.placement.unknown_users {
        return Ok(Verdict::Refuse(unknown_user(&job.request)));
    }
    let plan = match placement::decide(&job.request, &job.quoted, offers, shared.rules.currency) {
        Ok(plan) => plan,
        Err(refusal) => return Ok(Verdict::Refuse(refusal)),
    };
    decided.push(write_down(shared, job, prepared, plan)?);
    Ok(Verdict::Place(decided.len() - 1))
}

pub(super) fn mismatch() -> Error {
    Error::new(
        ErrorKind::IdempotencyMismatch,
        "This idempotency key was used with another request. Use a new key for a new request.",
    )
}

fn unknown_user(request: &PlaceOrder) -> Error {
    Error::new(ErrorKind::UnknownUser, format!("User {} is not known here.", request.user))
}

/// Turns a plan into the order, its first event and its messages.
fn write_down<D: Database>(
    shared: &Shared<D>,
    job: &Job,
    prepared: Prepared,
    plan: Plan,
) -> Result<Decided> {
    let lines = plan.lines.into_iter().zip(prepared.line_ids);
    let order = Order {
        id: prepared.order,
        user: job.request.user.clone(),
        status: OrderStatus::Pending,
        lines: lines
            .map(|(line, id)| Line {
                id,
                product: line.product,
                name: line.name,
                quantity: line.quantity,
                unit_price: line.unit_price,
            })
            .collect(),
        total: plan.total,
        currency: plan.currency,
        address: prepared.address,
        version: 1,
        created_at: prepared.at,
        updated_at: prepared.at,
    };
    let event = OrderEvent {
        id: Uuid::now_v7(),
        kind: EventKind::Placed,
        at: prepared.at,
        order,
        previous: None,
        reason: None,
        opted_out: prepared.opted_out,
    };
    let key = job.key().map(|key| (job.key_scope.clone(), key.to_owned(), job.fingerprint.clone()));
    let messages = shared.encode(&event)?;
    Ok(Decided { event, holds: plan.holds, actor: job.actor.clone(), key, messages })
}

pub(super) fn order_of(decided: &[Decided], n: usize) -> Result<Order> {
    decided
        .get(n)
        .map(|one| one.event.order.clone())
        .ok_or_else(|| Error::new(ErrorKind::Internal, "a batch has no order at this index"))
}
