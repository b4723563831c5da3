//! Routing rules: who answers an operation while a legacy service is migrated to the engine.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// The operation name of the rule for all operations without a stage of their own.
pub const ALL_OPERATIONS: &str = "*";

/// The migration stage of an operation. The least advanced one is the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MigrationStage {
    /// The legacy code answers.
    Legacy,
    /// The legacy code answers, and the engine runs the same request as a dry run, for comparison.
    Shadow,
    /// The engine answers.
    Engine,
}

impl MigrationStage {
    /// Parses `legacy`, `shadow` or `engine`.
    ///
    /// # Errors
    /// `InvalidInput` for any other name.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "legacy" => Ok(Self::Legacy),
            "shadow" => Ok(Self::Shadow),
            "engine" => Ok(Self::Engine),
            other => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("A stage is legacy, shadow or engine, not {other:?}."),
            )),
        }
    }

    /// The stage's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Shadow => "shadow",
            Self::Engine => "engine",
        }
    }

    /// The stage of users to whom a rule with this stage does not apply.
    const fn previous(self) -> Self {
        match self {
            Self::Engine => Self::Shadow,
            Self::Shadow | Self::Legacy => Self::Legacy,
        }
    }
}

/// The rule for one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutingRule {
    /// The operation's stage. `None`: the stage of the rule for all operations applies.
    pub stage: Option<MigrationStage>,
    /// Percentage of users to whom the stage applies, 0 to 100. With neither `percent` nor
    /// `users`, it applies to everyone.
    pub percent: Option<u8>,
    /// Ids of users to whom the stage applies regardless of `percent`.
    pub users: Vec<String>,
    /// Response fields that are not compared in the shadow stage.
    pub ignored: Vec<String>,
}

/// The sender of a request, as rules distinguish them.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    user: Option<&'a str>,
    /// 0 to 99. A stage applies to subjects in buckets below its percentage.
    bucket: u8,
}

impl<'a> Subject<'a> {
    /// The user of a valid token. A user is always in the same bucket.
    #[must_use]
    pub fn user(id: &'a str) -> Self {
        Self { user: Some(id), bucket: bucket(id.as_bytes()) }
    }

    /// A sender without a valid token. `key` selects the bucket: the `Authorization` header, or
    /// random bytes if there is none.
    #[must_use]
    pub fn anonymous(key: &[u8]) -> Self {
        Self { user: None, bucket: bucket(key) }
    }
}

/// A uniform hash that is the same in every process and version.
fn bucket(bytes: &[u8]) -> u8 {
    let hash = Sha256::digest(bytes);
    let number = hash.iter().take(4).fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
    u8::try_from(number % 100).unwrap_or(0)
}

/// All rules, by operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutingRules(HashMap<String, RoutingRule>);

impl FromIterator<(String, RoutingRule)> for RoutingRules {
    fn from_iter<T: IntoIterator<Item = (String, RoutingRule)>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}

impl RoutingRules {
    /// The stage of `operation` for `subject`. `default_stage` applies if no rule sets a stage.
    #[must_use]
    pub fn stage(
        &self,
        operation: &str,
        subject: &Subject<'_>,
        default_stage: MigrationStage,
    ) -> MigrationStage {
        let mut with_stage = self.rules_for(operation).filter_map(|rule| Some((rule, rule.stage?)));
        let Some((rule, stage)) = with_stage.next() else { return default_stage };
        if rule.applies_to(subject) { stage } else { stage.previous() }
    }

    /// The response fields of `operation` that are not compared.
    pub fn ignored_fields(&self, operation: &str) -> impl Iterator<Item = &str> {
        self.rules_for(operation).flat_map(|rule| &rule.ignored).map(String::as_str)
    }

    /// The rule of an operation, then the rule for all operations.
    fn rules_for(&self, operation: &str) -> impl Iterator<Item = &RoutingRule> {
        [operation, ALL_OPERATIONS].into_iter().filter_map(|name| self.0.get(name))
    }

    /// Whether `operation` has a rule of its own.
    #[must_use]
    pub fn has_rule_for(&self, operation: &str) -> bool {
        self.0.contains_key(operation)
    }
}

impl RoutingRule {
    fn applies_to(&self, subject: &Subject<'_>) -> bool {
        let is_for_everyone = self.percent.is_none() && self.users.is_empty();
        let is_listed = subject.user.is_some_and(|id| self.users.iter().any(|user| user == id));
        is_for_everyone || is_listed || subject.bucket < self.percent.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rows: &[(&str, RoutingRule)]) -> RoutingRules {
        rows.iter().map(|(name, rule)| ((*name).to_owned(), rule.clone())).collect()
    }

    fn staged(stage: MigrationStage, percent: Option<u8>, users: &[&str]) -> RoutingRule {
        let users = users.iter().map(|user| (*user).to_owned()).collect();
        RoutingRule { stage: Some(stage), percent, users, ignored: Vec::new() }
    }

    #[test]
    fn an_operations_own_rule_precedes_the_common_rule_and_the_default() {
        let subject = Subject::user("1");
        let set = rules(&[("order", staged(MigrationStage::Shadow, None, &[]))]);
        assert_eq!(set.stage("order", &subject, MigrationStage::Engine), MigrationStage::Shadow);
        assert_eq!(
            set.stage("createOrder", &subject, MigrationStage::Engine),
            MigrationStage::Engine
        );
        let set = rules(&[
            (
                "order",
                RoutingRule { ignored: vec!["message".to_owned()], ..RoutingRule::default() },
            ),
            (ALL_OPERATIONS, staged(MigrationStage::Legacy, None, &[])),
        ]);
        assert_eq!(set.stage("order", &subject, MigrationStage::Engine), MigrationStage::Legacy);
        assert_eq!(set.ignored_fields("order").collect::<Vec<_>>(), ["message"]);
        assert_eq!(set.ignored_fields("allOrders").count(), 0);
    }

    #[test]
    fn users_to_whom_a_stage_does_not_apply_get_the_previous_one() {
        let of = |rule: RoutingRule, user| {
            rules(&[("order", rule)]).stage("order", &Subject::user(user), MigrationStage::Engine)
        };
        assert_eq!(of(staged(MigrationStage::Engine, None, &["7"]), "7"), MigrationStage::Engine);
        assert_eq!(of(staged(MigrationStage::Engine, None, &["7"]), "8"), MigrationStage::Shadow);
        assert_eq!(of(staged(MigrationStage::Shadow, None, &["7"]), "8"), MigrationStage::Legacy);
        assert_eq!(of(staged(MigrationStage::Engine, Some(0), &[]), "8"), MigrationStage::Shadow);
        assert_eq!(of(staged(MigrationStage::Engine, Some(100), &[]), "8"), MigrationStage::Engine);
        assert_eq!(
            of(staged(MigrationStage::Engine, Some(0), &["7"]), "7"),
            MigrationStage::Engine
        );
    }

    #[test]
    fn a_percentage_is_accurate_and_raising_it_keeps_all_users() {
        let applies = |percent, user: &str| {
            let rule = staged(MigrationStage::Engine, Some(percent), &[]);
            rule.applies_to(&Subject::user(user))
        };
        let users: Vec<_> = (0..10_000).map(|n| n.to_string()).collect();
        let tenth: Vec<_> = users.iter().filter(|user| applies(10, user)).collect();
        assert!((900..1100).contains(&tenth.len()), "{}", tenth.len());
        assert!(tenth.iter().all(|user| applies(11, user)));
    }

    #[test]
    fn an_anonymous_subject_is_not_a_listed_user() {
        let rule = staged(MigrationStage::Engine, None, &["7"]);
        assert!(!rule.applies_to(&Subject::anonymous(b"7")));
    }
}
