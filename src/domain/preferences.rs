//! Notification preferences of a user. The JSON of the user service is stored unchanged; only an
//! opt-out of notifications is read from it.

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// Maximum size of preferences, in bytes of JSON.
const BYTES_MAX: usize = 16 * 1024;
/// Names of notification fields, in lower case and without `_` and `-`.
const NOTIFICATION_FIELDS: [&str; 8] = [
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

/// A user's preferences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preferences {
    json: String,
    opted_out: bool,
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
        Ok(Self { json: json.to_owned(), opted_out: opts_out(&fields, &NOTIFICATION_FIELDS) })
    }

    /// The JSON, unchanged.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Whether a field opts out of notifications.
    #[must_use]
    pub const fn opted_out(&self) -> bool {
        self.opted_out
    }
}

fn opts_out(fields: &Map<String, Value>, names: &[&str]) -> bool {
    fields.iter().any(|(name, value)| {
        let name: String = name.chars().filter(|c| !matches!(c, '_' | '-')).collect();
        names.contains(&name.to_ascii_lowercase().as_str()) && is_negative(value)
    })
}

fn is_negative(value: &Value) -> bool {
    match value {
        Value::Bool(is_wanted) => !is_wanted,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => NEGATIVE_TEXTS.contains(&text.trim().to_ascii_lowercase().as_str()),
        Value::Object(parts) => opts_out(parts, &NESTED_FIELDS),
        Value::Null | Value::Array(_) => false,
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
        ] {
            assert!(Preferences::parse(json).unwrap().opted_out(), "{json}");
        }
    }

    #[test]
    fn anything_else_is_no_opt_out() {
        for json in [
            "{}",
            r#"{"notifications": true}"#,
            r#"{"notifications": null}"#,
            r#"{"notifications": {"sms": false}}"#,
            r#"{"notifications": ["email"]}"#,
            r#"{"promotions": false}"#,
            r#"{"theme": {"notifications": false}}"#,
        ] {
            assert!(!Preferences::parse(json).unwrap().opted_out(), "{json}");
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
