//! Copies the rows that existed before the triggers, in short transactions that record their
//! progress.

use sqlx::AssertSqlSafe;
use tokio::time::{Instant, sleep};

use super::{AdoptionSession, Home, Interpretation, PATIENCE, PAUSE, is_contention, refused};
use crate::error::Result;

/// Rows per transaction. The older application may wait for one transaction's locks.
const BATCH: i64 = 500;

/// A table to copy, or a pass over one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyStage {
    /// `product_catalog`.
    Products,
    /// `order_user`.
    Users,
    /// `orders` with `order_items`.
    Orders,
    /// Orders that were deleted while an earlier adoption was undone.
    Deletions,
}

impl CopyStage {
    /// All stages, in order. Orders come after the catalog, which names and prices their lines.
    pub const ALL: [Self; 4] = [Self::Products, Self::Users, Self::Orders, Self::Deletions];

    /// Its name, for progress output and for `adoption.copying_table`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Products => "products",
            Self::Users => "users",
            Self::Orders => "orders",
            Self::Deletions => "deletions",
        }
    }

    /// The source rows, with a column `id`.
    const fn source(self) -> &'static str {
        match self {
            Self::Products => r#":"old".product_catalog"#,
            Self::Users => r#":"old".order_user"#,
            Self::Orders => r#":"old".orders"#,
            Self::Deletions => {
                r#"(select o.id from :"engine".orders o where o.deleted_at is null
                    and not exists (select from :"old".orders old where old.id = o.id)
                    and not exists (
                        select from :"engine".adoption_findings f
                        where f.row_table = 'order_engine' and f.kind = 'order'
                          and f.row_id = o.id::text
                    ))"#
            }
        }
    }

    /// Statements that import the ids of a batch, `$1`.
    const fn imports(self) -> &'static [&'static str] {
        match self {
            Self::Products => &["select import_products($1, false)"],
            Self::Users => &["select import_users($1, false)"],
            Self::Orders => &["select import_orders($1, false)", "select import_lines($1)"],
            Self::Deletions => &["select import_deletions($1)"],
        }
    }

    /// Statements that find rule violations among the ids of a batch, `$1`.
    const fn checks(self) -> &'static [&'static str] {
        match self {
            Self::Products => &["select * from pg_temp.check_products($1)"],
            Self::Users => &["select * from pg_temp.check_users($1)"],
            Self::Orders => {
                &["select * from pg_temp.check_orders($1)", "select * from pg_temp.check_lines($1)"]
            }
            Self::Deletions => &[],
        }
    }
}

impl AdoptionSession {
    /// The number of rows that a stage has still to copy, and the id after which it resumes. None
    /// when it is done.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn progress(
        &mut self,
        stage: CopyStage,
        interpretation: &Interpretation,
    ) -> Result<Option<(i64, i64)>> {
        let reached: Option<(Option<String>, i64)> =
            sqlx::query_as("select copying_table, copied_to_id from adoption")
                .fetch_optional(&mut self.connection)
                .await
                .map_err(|error| refused("reading the progress of copying", error))?;
        let (copying, copied_to) = reached.unwrap_or_default();
        let of = |name: &str| CopyStage::ALL.iter().position(|stage| stage.name() == name);
        let current = copying.as_deref().and_then(of).unwrap_or_default();
        let after = match of(stage.name()).unwrap_or_default().cmp(&current) {
            std::cmp::Ordering::Less => return Ok(None),
            std::cmp::Ordering::Equal if copying.is_some() => copied_to,
            _ => i64::MIN,
        };
        Ok(Some((self.count(stage, interpretation, after).await?, after)))
    }

    /// Counts the rows of a stage with an id greater than `after`.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn count(
        &mut self,
        stage: CopyStage,
        interpretation: &Interpretation,
        after: i64,
    ) -> Result<i64> {
        let statement = format!("select count(*) from {} as source where id > $1", stage.source());
        let statement = self.fill(&statement, interpretation, Home::Engine);
        sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(after)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| refused("counting rows", error))
    }

    /// Copies the next rows of a stage with an id greater than `after`. Returns their number and
    /// the last id, or none when there are no more.
    ///
    /// # Errors
    /// `Unavailable` when the rows cannot be locked in time; as [`super::refused`].
    pub async fn copy(
        &mut self,
        stage: CopyStage,
        interpretation: &Interpretation,
        after: i64,
    ) -> Result<Option<(i64, i64)>> {
        let began = Instant::now();
        let mut pause = PAUSE.0;
        loop {
            match self.try_copy(stage, interpretation, after).await {
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
        stage: CopyStage,
        interpretation: &Interpretation,
        after: i64,
    ) -> std::result::Result<Option<(i64, i64)>, sqlx::Error> {
        let batch = self.fill(&batch_of(stage), interpretation, Home::Engine);
        let mut transaction = sqlx::Connection::begin(&mut self.connection).await?;
        let ids: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(batch))
            .bind(after)
            .bind(BATCH)
            .fetch_all(&mut *transaction)
            .await?;
        let Some(last) = ids.last().copied() else { return Ok(None) };
        for statement in stage.imports() {
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

    /// Finds rule violations in the next rows of a stage without changing anything. Returns as
    /// [`AdoptionSession::copy`].
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn check(
        &mut self,
        stage: CopyStage,
        interpretation: &Interpretation,
        after: i64,
        findings: &mut Vec<super::Finding>,
    ) -> Result<Option<(i64, i64)>> {
        let batch = batch_of(stage).replace(" for update", "");
        let batch = self.fill(&batch, interpretation, Home::Session);
        let ids: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(batch))
            .bind(after)
            .bind(BATCH)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| refused("reading rows", error))?;
        let Some(last) = ids.last().copied() else { return Ok(None) };
        for statement in stage.checks() {
            let rows = sqlx::query(*statement)
                .bind(&ids)
                .fetch_all(&mut self.connection)
                .await
                .map_err(|error| refused("checking rows", error))?;
            for row in &rows {
                findings.push(super::report::read_finding(row)?);
            }
        }
        Ok(Some((i64::try_from(ids.len()).unwrap_or(BATCH), last)))
    }

    /// Mirrors users and products that only the engine has to the old tables.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn mirror_missing(&mut self, interpretation: &Interpretation) -> Result<()> {
        let script = r#"
            select mirror_user_rows(array(
                select k from users k where not exists (
                    select from :"old".order_user u where u.user_id = legacy_int(k.user_id)
                )
            ));
            select mirror_product_rows(array(
                select p from products p where not exists (
                    select from :"old".product_catalog c
                    where c.product_id = legacy_int(p.product_id)
                )
            ), '{}');"#;
        let script = self.fill(script, interpretation, Home::Engine);
        self.run_patiently("mirroring users and products", &script).await
    }

    /// Records that both sides are in step.
    ///
    /// # Errors
    /// As [`super::refused`].
    pub async fn finish(&mut self) -> Result<()> {
        let script = r"update adoption set step = 'live', finished_at = clock_timestamp(),
            copying_table = null, copied_to_id = 0, old_triggers = (
                select count(*) from pg_trigger join pg_class on pg_class.oid = tgrelid
                where relnamespace = to_regnamespace(quote_ident(old_schema))
                  and tgname like 'order\_engine\_%'
            )";
        self.run("finishing the adoption", script).await
    }
}

/// Selects the next rows and locks them, so that nobody changes what is being copied. Items need no
/// lock of their own, because changing one locks its order.
fn batch_of(stage: CopyStage) -> String {
    let lock = if stage == CopyStage::Deletions { "" } else { " for update" };
    format!(
        "select source.id::bigint from {} as source where source.id > $1
         order by source.id limit $2{lock}",
        stage.source()
    )
}
