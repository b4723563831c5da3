//! Identifiers. They are validated once, when they are parsed.

use std::borrow::Borrow;
use std::fmt;

use chrono::{DateTime, Utc};

use crate::error::{Error, ErrorKind, Result};

/// Maximum length of a user or product id, in bytes.
pub const ID_BYTES_MAX: usize = 128;

/// The number of an order, assigned by PostgreSQL, ≥ 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(i64);

impl OrderId {
    /// Wraps a number from the database, without validation.
    #[must_use]
    pub const fn from_database(id: i64) -> Self {
        Self(id)
    }

    /// Parses a decimal number ≥ 1.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let id = plain.then(|| text.parse::<i64>().ok()).flatten()?;
        (id >= 1).then_some(Self(id))
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An order as a client names it: by number, or by the 24 hex digits that contracts with an `_id`
/// use. These are the second in which the order was placed (8 digits) and its number (16 digits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderName {
    id: OrderId,
    /// The second in which the order was placed, in the 24-digit form.
    second: Option<u32>,
}

impl OrderName {
    /// Length of the 24-digit form.
    const HEX_DIGITS: usize = 24;

    /// The 24-digit form of an order that was placed at `at`. Sorts by time, then by number. Works
    /// until the year 2106.
    #[must_use]
    pub fn long(id: OrderId, at: DateTime<Utc>) -> String {
        format!("{:08x}{:016x}", second_of(at), id.get())
    }

    /// Parses either form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != Self::HEX_DIGITS {
            return OrderId::parse(text).map(Self::from);
        }
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (second, number) = is_hex.then(|| text.split_at_checked(8)).flatten()?;
        let id = i64::from_str_radix(number, 16).ok().filter(|id| *id >= 1)?;
        Some(Self { id: OrderId(id), second: Some(u32::from_str_radix(second, 16).ok()?) })
    }

    /// The number of the order. Check it with [`means`](Self::means).
    #[must_use]
    pub const fn id(self) -> OrderId {
        self.id
    }

    /// Whether this name means the order with this number that was placed at `at`.
    #[must_use]
    pub fn means(self, at: DateTime<Utc>) -> bool {
        self.second.is_none_or(|second| second == second_of(at))
    }
}

impl From<OrderId> for OrderName {
    fn from(id: OrderId) -> Self {
        Self { id, second: None }
    }
}

impl fmt::Display for OrderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.second {
            None => self.id.fmt(f),
            Some(second) => write!(f, "{second:08x}{:016x}", self.id.get()),
        }
    }
}

/// The 24-digit form of an order's line, for contracts in which lines have an `_id`. It is never
/// that of an order.
#[must_use]
pub fn line_name(line: i64, at: DateTime<Utc>) -> String {
    format!("{:08x}f{line:015x}", second_of(at))
}

fn second_of(at: DateTime<Utc>) -> u32 {
    u32::try_from(at.timestamp()).unwrap_or_default()
}

macro_rules! opaque_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Parses 1 to 128 bytes without control characters.
            ///
            /// # Errors
            /// `InvalidInput` for anything else.
            pub fn parse(text: impl Into<String>) -> Result<Self> {
                let text = text.into();
                check_opaque(&text, $what)?;
                Ok(Self(text))
            }

            /// Wraps an id from the database, without validation.
            #[must_use]
            pub const fn from_database(text: String) -> Self {
                Self(text)
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

opaque_id!(
    /// A user id, opaque to the engine: `"1"`, `"66f1…"`.
    UserId,
    "user id"
);
opaque_id!(
    /// A product id, opaque to the engine: `"1"`, `"66f1…"`.
    ProductId,
    "product id"
);
opaque_id!(
    /// The author of a change as an embedding program names one: `"support:anna"`.
    Actor,
    "actor"
);

fn check_opaque(text: &str, what: &str) -> Result<()> {
    if text.is_empty() || text.len() > ID_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("A {what} has 1 to {ID_BYTES_MAX} bytes, this one has {}.", text.len()),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("A {what} contains no control characters."),
        ));
    }
    Ok(())
}

/// An idempotency key: 1 to 255 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Parses a key.
    ///
    /// # Errors
    /// `InvalidInput` when it is empty, longer than 255 bytes or not printable ASCII.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if text.is_empty() || text.len() > 255 || !printable {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "An idempotency key is 1 to 255 printable ASCII characters.",
            ));
        }
        Ok(Self(text))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_ids_are_plain_positive_numbers() {
        assert_eq!(OrderId::parse("17").map(OrderId::get), Some(17));
        for bad in ["", "0", "-1", "+1", "1.5", " 1", "1 ", "9223372036854775808", "x"] {
            assert_eq!(OrderId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn orders_are_named_by_number_or_by_24_hex_digits() {
        let at = "2026-11-21T10:00:00.9Z".parse().unwrap();
        let long = OrderName::long(OrderId(17), at);
        assert_eq!(i64::from_str_radix(&long[..8], 16).ok(), Some(at.timestamp()));
        assert_eq!(&long[8..], "0000000000000011");
        for name in [long.as_str(), &long.to_uppercase(), "17"] {
            let name = OrderName::parse(name).unwrap();
            assert!(name.id() == OrderId(17) && name.means(at));
        }
        let later = at + chrono::TimeDelta::seconds(1);
        assert!(!OrderName::parse(&long).unwrap().means(later), "made up");
        assert!(OrderName::long(OrderId(2), later) > long, "sorted by time");
        let bad = ["", "0", "66f1", "000000000000000000000000", "0000000g0000000000000011"];
        for bad in
            bad.into_iter().chain(["00000000ffffffffffffffff", "0000000000000000000000\u{e9}"])
        {
            assert_eq!(OrderName::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn n5_lines_have_names_that_no_order_has() {
        let at = "2026-11-21T10:00:00.9Z".parse().unwrap();
        for line in [1, 17, (1 << 60) - 1] {
            let name = line_name(line, at);
            assert_eq!(name.len(), OrderName::HEX_DIGITS, "{name}");
            assert_eq!(OrderName::parse(&name), None, "{name}");
        }
        assert_ne!(line_name(1, at), line_name(2, at));
    }

    #[test]
    fn opaque_ids_refuse_control_characters_and_length() {
        assert!(UserId::parse("66f1").is_ok());
        for bad in ["", "a\0b", "a\r\nDEL", &"x".repeat(129)] {
            assert!(ProductId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn keys_are_printable_and_short() {
        assert!(IdempotencyKey::parse("order 1").is_ok());
        for bad in ["", "ü", "a\nb", &"k".repeat(256)] {
            assert!(IdempotencyKey::parse(bad).is_err(), "{bad:?}");
        }
    }
}
