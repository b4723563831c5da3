//! What the older application's own words for a status mean.

use std::collections::BTreeMap;

use crate::domain::status::OrderStatus;
use crate::error::{Error, ErrorKind, Result};

/// Names an order without a status.
const NO_STATUS: &str = "null";

/// Statuses of the older application and the engine's statuses that they stand for. Case and
/// surrounding spaces do not matter; `null` stands for a missing status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusMap(BTreeMap<String, OrderStatus>);

impl StatusMap {
    /// Parses entries such as `Paid=confirmed`.
    ///
    /// # Errors
    /// `InvalidInput` for an entry without `=`, for an unknown status, and for two meanings of one
    /// word.
    pub fn parse(entries: &[String]) -> Result<Self> {
        let mut map = BTreeMap::new();
        for entry in entries {
            let (old, status) = parse_entry(entry)?;
            if map.insert(old, status).is_some_and(|before| before != status) {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    format!("--map-status {entry}: this status was given another meaning before."),
                ));
            }
        }
        Ok(Self(map))
    }

    /// Adds the entries of `other`, which take precedence.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.clone());
    }

    /// As a JSON object of text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let entries = self.0.iter().map(|(old, status)| (old.clone(), status.as_str().into()));
        serde_json::Value::Object(entries.collect()).to_string()
    }

    /// Reads what [`StatusMap::to_json`] wrote.
    pub(super) fn from_json(stored: &str) -> Self {
        let stored = serde_json::from_str::<serde_json::Value>(stored).unwrap_or_default();
        let entries = stored.as_object().into_iter().flatten();
        let known = entries.filter_map(|(old, status)| {
            Some((old.clone(), OrderStatus::parse(status.as_str()?).ok()?))
        });
        Self(known.collect())
    }
}

fn parse_entry(entry: &str) -> Result<(String, OrderStatus)> {
    let invalid = |problem: &str| {
        let text = format!("--map-status {entry}: {problem} Write OLD=STATUS: Paid=confirmed.");
        Error::new(ErrorKind::InvalidInput, text)
    };
    let (old, status) = entry.split_once('=').ok_or_else(|| invalid("there is no =."))?;
    let old = old.trim().to_lowercase();
    if old.is_empty() {
        return Err(invalid(&format!("there is no status before =; {NO_STATUS} means none.")));
    }
    let status = OrderStatus::parse(status.trim().to_lowercase().as_str())
        .map_err(|error| invalid(error.message()))?;
    Ok((old, status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(entries: &[&str]) -> Result<StatusMap> {
        StatusMap::parse(&entries.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn entries_survive_being_stored() {
        let map = parse(&["Paid=confirmed", " in  transit = Shipped ", "NULL=pending"]).unwrap();
        let stored = map.to_json();
        assert_eq!(stored, r#"{"in  transit":"shipped","null":"pending","paid":"confirmed"}"#);
        assert_eq!(StatusMap::from_json(&stored), map);
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_named() {
        for (entries, expected) in [
            (&["Paid"][..], "there is no ="),
            (&["=pending"], "null means none"),
            (&["Paid=payed"], "Paid=payed"),
            (&["Paid=confirmed", "paid=shipped"], "another meaning"),
        ] {
            let error = parse(entries).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(expected), "{}", error.message());
        }
    }
}
