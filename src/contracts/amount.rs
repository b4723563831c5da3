//! An exact amount as a JSON number, parsed from its digits without binary floating point.

use rust_decimal::Decimal;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// An amount as a JSON number: `200`, `19.5`. Its range is not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Amount(pub Decimal);

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = self.0.normalize().to_string();
        RawValue::from_string(digits).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        if !is_number {
            return Err(D::Error::custom("an amount is a number"));
        }
        let is_scientific = text.contains(['e', 'E']);
        let read = if is_scientific { Decimal::from_scientific } else { Decimal::from_str_exact };
        let amount = read(text).map_err(|_| D::Error::custom("an amount has at most 28 digits"))?;
        Ok(Self(amount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<String> {
        let amount: Amount = serde_json::from_str(text).ok()?;
        serde_json::to_string(&amount).ok()
    }

    #[test]
    fn what_is_read_is_written_digit_by_digit() {
        for (text, written) in [
            ("200.00", "200"),
            ("0.1", "0.1"),
            ("-0.0001", "-0.0001"),
            ("2e2", "200"),
            ("999999999999999.9999", "999999999999999.9999"),
            (" 0 ", "0"),
        ] {
            assert_eq!(read(text).as_deref(), Some(written), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_or_has_too_many_digits_is_refused() {
        for text in ["\"200\"", "null", "true", "[1]", "{}", "NaN", "1e400", "1e-400"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
