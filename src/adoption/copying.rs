//! Copying what was there before the triggers, in short transactions that remember how far they
//! came.

use sqlx::AssertSqlSafe;
use tokio::time::{Instant, sleep};

use super::{Home, PATIENCE, PAUSE, Reading, Session, is_contention, refused};
use crate::error::Result;

/// Rows of one transaction: what the older application may have to wait for is over in a moment.
const BATCH: i64 = 500;

/// A table that is copied, or a pass over one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `product_catalog`.
    Products,
    /// `order_user`.
    Users,
    /// `orders` with `order_items`.
    Orders,
    /// Orders that were deleted while an earlier adoption was undone.
    Deletions,
}

impl Stage {
    /// Every stage, in order: orders are read with the help of the catalogue.
    pub const ALL: [Self; 4] = [Self::Products, Self::Users, Self::Orders, Self::Deletions];

    /// Its name, for people and for the record of how far copying came.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Products => "products",
            Self::Users => "users",
            Self::Orders => "orders",
            Self::Deletions => "deletions",
        }
    }

    /// The rows, with a column `id`.
    const fn rows(self) -> &'static str {
        match self {
            Self::Products => "{old}.product_catalog",
            Self::Users => "{old}.order_user",
            Self::Orders => "{old}.orders",
            Self::Deletions => {
                "(select o.id from {engine}.orders o where o.deleted_at is null
                    and not exists (select from {old}.orders shown where shown.id = o.id)
                    and not exists (
                        select from {engine}.adoption_findings f
                        where f.row_table = 'order_engine' and f.kind = 'order'
                          and f.row_id = o.id::text
                    ))"
            }
        }
    }

    /// What is done with the ids of a batch, `$1`.
    const fn work(self) -> &'static [&'static str] {
        match self {
            Self::Products => &["select carry_products($1, false)"],
            Self::Users => &["select carry_users($1, false)"],
            Self::Orders => &["select carry_orders($1, false)", "select carry_lines($1)"],
            Self::Deletions => &["select carry_deletions($1)"],
        }
    }

    /// What a dry run asks about the ids of a batch, `$1`.
    const fn questions(self) -> &'static [&'static str] {
        match self {
            Self::Products => &["select * from pg_temp.judge_products($1)"],
            Self::Users => &["select * from pg_temp.judge_users($1)"],
            Self::Orders => {
                &["select * from pg_temp.judge_orders($1)", "select * from pg_temp.judge_lines($1)"]
            }
            Self::Deletions => &[],
        }
    }
}

impl Session {
    /// How many rows a stage has, and the number after which it goes on; none when it is done.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn progress(
        &mut self,
        stage: Stage,
        reading: &Reading,
    ) -> Result<Option<(i64, i64)>> {
        let reached: Option<(Option<String>, i64)> =
            sqlx::query_as("select copying_table, copied_to_id from adoption")
                .fetch_optional(&mut self.connection)
                .await
                .map_err(|error| refused("reading how far copying came", error))?;
        let (copying, copied_to) = reached.unwrap_or_default();
        let of = |name: &str| Stage::ALL.iter().position(|stage| stage.name() == name);
        let current = copying.as_deref().and_then(of).unwrap_or_default();
        let after = match of(stage.name()).unwrap_or_default().cmp(&current) {
            std::cmp::Ordering::Less => return Ok(None),
            std::cmp::Ordering::Equal if copying.is_some() => copied_to,
            _ => i64::MIN,
        };
        Ok(Some((self.count(stage, reading, after).await?, after)))
    }

    /// How many rows a stage has after the number `after`.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn count(&mut self, stage: Stage, reading: &Reading, after: i64) -> Result<i64> {
        let statement = format!("select count(*) from {} as source where id > $1", stage.rows());
        let statement = self.fill(&statement, reading, Home::Engine);
        sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(after)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| refused("counting rows", error))
    }

    /// Copies the next rows of a stage after the number `after`; returns how many, and the last
    /// one's number. None when there is no more.
    ///
    /// # Errors
    /// `Unavailable` when a row's lock cannot be had; as [`super::refused`].
    pub async fn copy(
        &mut self,
        stage: Stage,
        reading: &Reading,
        after: i64,
    ) -> Result<Option<(i64, i64)>> {
        let began = Instant::now();
        let mut pause = PAUSE.0;
        loop {
            match self.try_copy(stage, reading, after).await {
                Ok(copied) => return Ok(copied),
                Err(error) if is_contention(&error) && began.elapsed() < PATIENCE => {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
                Err(error) if is_contention(&error) => {
                    return Err(self.no_lock("copying rows", error));
                }
                Err(error) => return Err(refused("copying rows", error)),
            }
        }
    }

    async fn try_copy(
        &mut self,
        stage: Stage,
        reading: &Reading,
        after: i64,
    ) -> std::result::Result<Option<(i64, i64)>, sqlx::Error> {
        let batch = self.fill(&batch_of(stage), reading, Home::Engine);
        let mut transaction = sqlx::Connection::begin(&mut self.connection).await?;
        let ids: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(batch))
            .bind(after)
            .bind(BATCH)
            .fetch_all(&mut *transaction)
            .await?;
        let Some(last) = ids.last().copied() else { return Ok(None) };
        for statement in stage.work() {
            sqlx::query(*statement).bind(&ids).execute(&mut *transaction).await?;
        }
        sqlx::query("update adoption set copying_table = $1, copied_to_id = $2")
            .bind(stage.name())
            .bind(last)
            .execute(&mut *transaction)
            .await?;
        fail_point!("adopt.batch_written");
        transaction.commit().await?;
        Ok(Some((i64::try_from(ids.len()).unwrap_or(BATCH), last)))
    }

    /// Judges the next rows of a stage without changing anything, as [`Session::copy`] does.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn judge(
        &mut self,
        stage: Stage,
        reading: &Reading,
        after: i64,
        findings: &mut Vec<super::Finding>,
    ) -> Result<Option<(i64, i64)>> {
        let batch = batch_of(stage).replace(" for update", "");
        let batch = self.fill(&batch, reading, Home::Session);
        let ids: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(batch))
            .bind(after)
            .bind(BATCH)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| refused("reading rows", error))?;
        let Some(last) = ids.last().copied() else { return Ok(None) };
        for statement in stage.questions() {
            let rows = sqlx::query(*statement)
                .bind(&ids)
                .fetch_all(&mut self.connection)
                .await
                .map_err(|error| refused("judging rows", error))?;
            for row in &rows {
                findings.push(super::report::read_finding(row)?);
            }
        }
        Ok(Some((i64::try_from(ids.len()).unwrap_or(BATCH), last)))
    }

    /// Shows the older application users and products that only the engine knew.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn show_missing(&mut self, reading: &Reading) -> Result<()> {
        let script = "
            select show_users(array(
                select k from users k where not exists (
                    select from {old}.order_user u where u.user_id = legacy_int(k.user_id)
                )
            ));
            select show_products(array(
                select p from products p where not exists (
                    select from {old}.product_catalog c
                    where c.product_id = legacy_int(p.product_id)
                )
            ), '{}');";
        let script = self.fill(script, reading, Home::Engine);
        self.run_patiently("showing users and products", &script).await
    }

    /// Notes that both sides are in step.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn finish(&mut self) -> Result<()> {
        let script = "update adoption set step = 'live', finished_at = clock_timestamp(),
            copying_table = null, copied_to_id = 0";
        self.run("finishing the adoption", script).await
    }
}

/// The next rows. They are locked, items included, because an item needs its order's lock: nobody
/// changes what is being copied, and what was changed before is what is copied.
fn batch_of(stage: Stage) -> String {
    let lock = if stage == Stage::Deletions { "" } else { " for update" };
    format!(
        "select source.id::bigint from {} as source where source.id > $1
         order by source.id limit $2{lock}",
        stage.rows()
    )
}
