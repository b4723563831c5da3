//! Notification preferences of a user. The JSON of the user service is stored unchanged; only
//! whether it allows notifications of orders is read from it.

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// Maximum size of preferences, in bytes of JSON.
const BYTES_MAX: usize = 16 * 1024;
/// Names of notification fields, in lower case and without `_` and `-`. Some services wrap all
/// fields in one named `preferences`.
const NOTIFICATION_FIELDS: [&str; 9] = [
    "preferences",
    "notifications",
    "notificationsenabled",
    "enablenotifications",
    "allownotifications",
    "receivenotifications",
    "ordernotifications",
    "orderupdates",
    "emailnotifications",
];
/// Names of fields within an object in one of them.
const NESTED_FIELDS: [&str; 5] = ["enabled", "order", "orders", "orderupdates", "email"];
/// Texts that mean no, besides false and 0.
const NEGATIVE_TEXTS: [&str; 6] = ["false", "no", "off", "0", "none", "disabled"];
/// Texts that mean yes, besides true and numbers.
const POSITIVE_TEXTS: [&str; 6] = ["true", "yes", "on", "1", "all", "enabled"];

/// A user's preferences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preferences {
    json: String,
    allows_notifications: Option<bool>,
}

impl Preferences {
    /// Parses a JSON object.
    ///
    /// # Errors
    /// `InvalidInput` for anything else, or for more than 16 KiB.
    pub fn parse(json: &str) -> Result<Self> {
        if json.len() > BYTES_MAX {
            let text = format!("Preferences have at most {BYTES_MAX} bytes, not {}.", json.len());
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let fields: Map<String, Value> = serde_json::from_str(json).map_err(|error| {
            let text = format!("The preferences are no JSON object: {error}.");
            Error::new(ErrorKind::InvalidInput, text)
        })?;
        let allows_notifications = allows(&fields, &NOTIFICATION_FIELDS);
        Ok(Self { json: json.to_owned(), allows_notifications })
    }

    /// The JSON, unchanged.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Whether they allow notifications: no if one field says so; none if no field says anything.
    #[must_use]
    pub const fn allows_notifications(&self) -> Option<bool> {
        self.allows_notifications
    }
}

fn allows(fields: &Map<String, Value>, names: &[&str]) -> Option<bool> {
    let named = fields.iter().filter(|(name, _)| {
        let name: String = name.chars().filter(|c| !matches!(c, '_' | '-')).collect();
        names.contains(&name.to_ascii_lowercase().as_str())
    });
    named.filter_map(|(_, value)| is_positive(value)).reduce(|one, other| one && other)
}

fn is_positive(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(is_wanted) => Some(*is_wanted),
        Value::Number(number) => Some(number.as_f64() != Some(0.0)),
        Value::String(text) => {
            let text = text.trim().to_ascii_lowercase();
            let is_positive = POSITIVE_TEXTS.contains(&text.as_str());
            (is_positive || NEGATIVE_TEXTS.contains(&text.as_str())).then_some(is_positive)
        }
        Value::Object(parts) => allows(parts, &NESTED_FIELDS),
        Value::Null | Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_negative_is_heard() {
        for json in [
            r#"{"notifications": false}"#,
            r#"{"notifications": "Off"}"#,
            r#"{"notifications": 0}"#,
            r#"{"notifications": {"enabled": false}}"#,
            r#"{"notifications": {"enabled": true, "email": "no"}}"#,
            r#"{"notificationsEnabled": "false"}"#,
            r#"{"order_updates": false, "promotions": true}"#,
            r#"{"theme": "dark", "Email-Notifications": false}"#,
            r#"{"preferences": {"order_updates": false}}"#,
        ] {
            let allowed = Preferences::parse(json).unwrap().allows_notifications();
            assert_eq!(allowed, Some(false), "{json}");
        }
    }

    #[test]
    fn n8_consent_differs_from_silence() {
        for json in [
            r#"{"notifications": true}"#,
            r#"{"notifications": 1}"#,
            r#"{"order_updates": "yes", "promotions": false}"#,
            r#"{"preferences": {"order_updates": true}}"#,
            r#"{"notifications": {"enabled": true}, "order_updates": true}"#,
        ] {
            let allowed = Preferences::parse(json).unwrap().allows_notifications();
            assert_eq!(allowed, Some(true), "{json}");
        }
    }

    #[test]
    fn anything_else_says_nothing() {
        for json in [
            "{}",
            r#"{"notifications": null}"#,
            r#"{"notifications": "weekly"}"#,
            r#"{"notifications": {"sms": false}}"#,
            r#"{"notifications": ["email"]}"#,
            r#"{"promotions": false}"#,
            r#"{"theme": {"notifications": false}}"#,
        ] {
            assert_eq!(Preferences::parse(json).unwrap().allows_notifications(), None, "{json}");
        }
    }

    #[test]
    fn json_is_kept_unchanged_or_rejected() {
        let json = r#"{ "b": 1.50, "a": "\u0000" }"#;
        assert_eq!(Preferences::parse(json).unwrap().json(), json);
        let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(4000), "]".repeat(4000));
        let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(BYTES_MAX));
        for json in ["", "null", "[]", "[1]", "true", "{", r#"{"a": NaN}"#, &deep, &long] {
            let error = Preferences::parse(json).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{json}");
        }
    }
}
