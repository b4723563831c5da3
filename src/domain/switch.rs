//! Who answers an operation while a service is moved over: the old code, the old code with the
//! engine rehearsing beside it, or the engine.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// The name under which the stage of all operations is kept that have none of their own.
pub const ALL_OPERATIONS: &str = "*";

/// How far an operation has been moved. The most careful one is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The old code answers.
    Legacy,
    /// The old code answers, and the engine rehearses the same request.
    Shadow,
    /// The engine answers.
    Engine,
}

impl Stage {
    /// Reads its name.
    ///
    /// # Errors
    /// `InvalidInput` for any other word.
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

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Shadow => "shadow",
            Self::Engine => "engine",
        }
    }

    /// The stage that those get for whom this one does not hold yet.
    const fn before(self) -> Self {
        match self {
            Self::Engine => Self::Shadow,
            Self::Shadow | Self::Legacy => Self::Legacy,
        }
    }
}

/// What is set for one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switch {
    /// Its stage, if it has one of its own.
    pub stage: Option<Stage>,
    /// The share of users for whom the stage holds, 0 to 100.
    pub percent: Option<u8>,
    /// Users for whom it holds in any case.
    pub users: Vec<String>,
    /// Fields that are not compared.
    pub ignored: Vec<String>,
}

/// Who sends a request, as far as a switch cares.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    user: Option<&'a str>,
    /// 0 to 99: the stage holds for those below its percentage.
    share: u8,
}

impl<'a> Asker<'a> {
    /// The bearer of a good token: always in the same share.
    #[must_use]
    pub fn user(id: &'a str) -> Self {
        Self { user: Some(id), share: share_of(id.as_bytes()) }
    }

    /// Somebody without a good token, told from others by `trait_of`: what is in the header, or
    /// something random where there is none.
    #[must_use]
    pub fn stranger(trait_of: &[u8]) -> Self {
        Self { user: None, share: share_of(trait_of) }
    }
}

/// Evenly spread, and the same in every process and version.
fn share_of(bytes: &[u8]) -> u8 {
    let hash = Sha256::digest(bytes);
    let number = hash.iter().take(4).fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
    u8::try_from(number % 100).unwrap_or(0)
}

/// What is set for each operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches(HashMap<String, Switch>);

impl FromIterator<(String, Switch)> for Switches {
    fn from_iter<T: IntoIterator<Item = (String, Switch)>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}

impl Switches {
    /// The stage of an operation for `asker`; `unset` where nothing is set.
    #[must_use]
    pub fn stage(&self, operation: &str, asker: &Asker<'_>, unset: Stage) -> Stage {
        let set = [operation, ALL_OPERATIONS].into_iter().filter_map(|name| self.0.get(name));
        let mut staged = set.filter_map(|switch| Some((switch, switch.stage?)));
        let Some((switch, stage)) = staged.next() else { return unset };
        if switch.holds_for(asker) { stage } else { stage.before() }
    }

    /// The fields of an operation's answers that are not compared.
    pub fn ignored(&self, operation: &str) -> impl Iterator<Item = &str> {
        let set = [operation, ALL_OPERATIONS].into_iter().filter_map(|name| self.0.get(name));
        set.flat_map(|switch| &switch.ignored).map(String::as_str)
    }

    /// Whether something is set for this very operation.
    #[must_use]
    pub fn name(&self, operation: &str) -> bool {
        self.0.contains_key(operation)
    }
}

impl Switch {
    fn holds_for(&self, asker: &Asker<'_>) -> bool {
        let is_for_everybody = self.percent.is_none() && self.users.is_empty();
        let is_named = asker.user.is_some_and(|id| self.users.iter().any(|user| user == id));
        is_for_everybody || is_named || asker.share < self.percent.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switches(rows: &[(&str, Switch)]) -> Switches {
        rows.iter().map(|(name, switch)| ((*name).to_owned(), switch.clone())).collect()
    }

    fn staged(stage: Stage, percent: Option<u8>, users: &[&str]) -> Switch {
        let users = users.iter().map(|user| (*user).to_owned()).collect();
        Switch { stage: Some(stage), percent, users, ignored: Vec::new() }
    }

    #[test]
    fn an_operation_has_its_own_stage_or_that_of_all_or_the_programs() {
        let asker = Asker::user("1");
        let set = switches(&[("order", staged(Stage::Shadow, None, &[]))]);
        assert_eq!(set.stage("order", &asker, Stage::Engine), Stage::Shadow);
        assert_eq!(set.stage("createOrder", &asker, Stage::Engine), Stage::Engine);
        let set = switches(&[
            ("order", Switch { ignored: vec!["message".to_owned()], ..Switch::default() }),
            (ALL_OPERATIONS, staged(Stage::Legacy, None, &[])),
        ]);
        assert_eq!(set.stage("order", &asker, Stage::Engine), Stage::Legacy);
        assert_eq!(set.ignored("order").collect::<Vec<_>>(), ["message"]);
        assert_eq!(set.ignored("allOrders").count(), 0);
    }

    #[test]
    fn those_for_whom_a_stage_does_not_hold_get_the_one_before() {
        let of = |switch: Switch, user| {
            switches(&[("order", switch)]).stage("order", &Asker::user(user), Stage::Engine)
        };
        assert_eq!(of(staged(Stage::Engine, None, &["7"]), "7"), Stage::Engine);
        assert_eq!(of(staged(Stage::Engine, None, &["7"]), "8"), Stage::Shadow);
        assert_eq!(of(staged(Stage::Shadow, None, &["7"]), "8"), Stage::Legacy);
        assert_eq!(of(staged(Stage::Engine, Some(0), &[]), "8"), Stage::Shadow);
        assert_eq!(of(staged(Stage::Engine, Some(100), &[]), "8"), Stage::Engine);
        assert_eq!(of(staged(Stage::Engine, Some(0), &["7"]), "7"), Stage::Engine);
    }

    #[test]
    fn a_share_is_right_and_only_grows() {
        let holds = |percent, user: &str| {
            let switch = staged(Stage::Engine, Some(percent), &[]);
            switch.holds_for(&Asker::user(user))
        };
        let users: Vec<_> = (0..10_000).map(|n| n.to_string()).collect();
        let tenth: Vec<_> = users.iter().filter(|user| holds(10, user)).collect();
        assert!((900..1100).contains(&tenth.len()), "{}", tenth.len());
        assert!(tenth.iter().all(|user| holds(11, user)), "raising it takes nobody back");
    }

    #[test]
    fn a_stranger_is_nobody_who_is_named() {
        let switch = staged(Stage::Engine, None, &["7"]);
        assert!(!switch.holds_for(&Asker::stranger(b"7")));
    }
}
