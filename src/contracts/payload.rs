//! Parses the JSON of other services: accepts the formats that were observed, with strict types.
//! Errors name the field. Numbers are parsed from their digits.

use std::collections::HashMap;

use rust_decimal::Decimal;
use serde_json::value::RawValue;

use crate::domain::money::{checked_amount, read_amount};
use crate::error::{Error, ErrorKind, Result};

/// Longest accepted text, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 4096;

/// A JSON object.
pub(super) struct PayloadObject<'a>(HashMap<String, &'a RawValue>);

/// A field of an object.
pub(super) struct PayloadField<'a> {
    name: &'a str,
    json: &'a str,
}

/// The body as text.
pub(super) fn text(body: &[u8]) -> Result<&str> {
    std::str::from_utf8(body).map_err(|_| refused("The body is not UTF-8."))
}

/// A list of objects, or a single object.
pub(super) fn objects(json: &str) -> Result<Vec<PayloadObject<'_>>> {
    if !json.trim_start().starts_with('[') {
        return Ok(vec![object(json)?]);
    }
    let items: Vec<&RawValue> =
        serde_json::from_str(json).map_err(|error| unreadable(json, &error))?;
    items.into_iter().map(|item| object(item.get())).collect()
}

/// An object.
pub(super) fn object(json: &str) -> Result<PayloadObject<'_>> {
    if !json.trim_start().starts_with('{') {
        return Err(refused("The body must be a JSON object."));
    }
    serde_json::from_str(json).map(PayloadObject).map_err(|error| unreadable(json, &error))
}

impl<'a> PayloadObject<'a> {
    /// The first of `names` that is present and not null. A list of one value counts as the value.
    pub(super) fn get(&self, names: &[&'a str]) -> Result<Option<PayloadField<'a>>> {
        for name in names {
            if let Some(raw) = self.0.get(*name) {
                let field = PayloadField { name, json: raw.get() }.single()?;
                if field.json != "null" {
                    return Ok(Some(field));
                }
            }
        }
        Ok(None)
    }

    /// Like [`PayloadObject::get`], for a required field.
    pub(super) fn need(&self, names: &[&'a str]) -> Result<PayloadField<'a>> {
        self.get(names)?.ok_or_else(|| refused(format!("The field {} is missing.", names[0])))
    }
}

impl<'a> PayloadField<'a> {
    fn single(self) -> Result<Self> {
        if !self.json.starts_with('[') {
            return Ok(self);
        }
        match serde_json::from_str::<Vec<&'a RawValue>>(self.json) {
            Ok(items) if items.len() == 1 => Ok(Self { name: self.name, json: items[0].get() }),
            Ok(_) | Err(_) => Err(self.wrong("must be one value")),
        }
    }

    /// The JSON text of the value.
    pub(super) fn json(&self) -> &'a str {
        self.json
    }

    /// An object.
    pub(super) fn object(&self) -> Result<PayloadObject<'a>> {
        let fields = serde_json::from_str(self.json).map(PayloadObject);
        fields.map_err(|_| self.wrong("must be an object"))
    }

    fn wrong(&self, what: &str) -> Error {
        refused(format!("The field {} {what}.", self.name))
    }

    /// A string without NUL, which PostgreSQL cannot store.
    pub(super) fn text(&self) -> Result<String> {
        let text: String =
            serde_json::from_str(self.json).map_err(|_| self.wrong("must be a text"))?;
        if text.contains('\0') {
            return Err(self.wrong("contains NUL"));
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(self.wrong("is too long"));
        }
        Ok(text)
    }

    /// A whole number.
    pub(super) fn integer(&self) -> Result<i64> {
        self.json.parse().map_err(|_| self.wrong("must be a whole number"))
    }

    /// An id: an integer or a string.
    pub(super) fn id(&self) -> Result<String> {
        if self.json.starts_with('"') {
            return self.text();
        }
        self.integer().map(|id| id.to_string())
    }

    /// A price, parsed from its digits; see [`read_amount`].
    pub(super) fn price(&self) -> Result<Decimal> {
        let amount =
            read_amount(self.json).ok_or_else(|| self.wrong("must be a number below 10^15"))?;
        checked_amount(amount).map_err(|error| self.wrong(&format!("is refused: {error}")))
    }
}

/// The error of an invalid body, with the field at which parsing stopped, for example at `NaN`.
fn unreadable(json: &str, error: &serde_json::Error) -> Error {
    let line_start: usize =
        json.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = (line_start + error.column()).min(json.len());
    let read = json.get(..at).unwrap_or(json);
    let field = read.rsplit_once("\":").map(|(before, _)| before).and_then(|before| {
        let (_, name) = before.rsplit_once('"')?;
        Some(name)
    });
    match field {
        Some(name) => {
            let name: String = name.chars().take(40).collect();
            refused(format!("The body is not valid JSON, at the field {name}: {error}."))
        }
        None => refused(format!("The body is not valid JSON: {error}.")),
    }
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(json: &str) -> Result<String> {
        let body = format!(r#"{{"price": {json}}}"#);
        object(&body)?.need(&["price"])?.price().map(|price| price.to_string())
    }

    #[test]
    fn prices_are_read_from_their_digits() {
        for (json, expected) in [
            ("9.5", "9.5"),
            ("10", "10"),
            ("9.50", "9.5"),
            ("[9.5]", "9.5"),
            ("1e2", "100"),
            ("1.5E+1", "15"),
            ("0", "0"),
            ("0.30000000000000004", "0.3"),
            ("19.989999999999998", "19.99"),
            ("123456789012.34", "123456789012.34"),
        ] {
            assert_eq!(price(json).unwrap(), expected, "{json}");
        }
    }

    #[test]
    fn what_is_no_price_is_refused_by_name() {
        for json in [
            "-1",
            "1e15",
            "1e400",
            "0.00001",
            "\"9.5\"",
            "true",
            "{}",
            "[1, 2]",
            "[]",
            "null",
            "NaN",
            "Infinity",
            "-Infinity",
            "1.",
            "9,5",
        ] {
            let error = price(json).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{json}");
            assert!(error.message().contains("price"), "{json}: {error}");
        }
    }

    #[test]
    fn the_field_that_ends_the_reading_is_named() {
        let error = object("{\n \"id\": 1,\n \"price\": NaN}").err().unwrap();
        assert!(error.message().contains("field price"), "{error}");
        let error = object("{").err().unwrap();
        assert!(error.message().starts_with("The body is not valid JSON: "), "{error}");
    }

    #[test]
    fn texts_are_kept_as_they_are_or_refused() {
        let text = |json: &str| object(json).and_then(|object| object.need(&["a"])?.text());
        assert_eq!(text(r#"{"a": "é"}"#).unwrap(), "é");
        assert_eq!(text(r#"{"a": ["1 St"]}"#).unwrap(), "1 St");
        let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(TEXT_BYTES_MAX + 1));
        for json in [r#"{"a": "a\u0000b"}"#, r#"{"a": 1}"#, r#"{"b": "x"}"#, &long] {
            let error = text(json).unwrap_err();
            assert!(error.message().contains("field a "), "{error}");
        }
        assert!(text(r#"{"a": "\ud800"}"#).is_err());
    }
}
