//! An exact amount in JSON, parsed from its digits without binary floating point.

use rust_decimal::Decimal;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{AnyOfBuilder, SchemaType, Type};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};

/// Most decimals of a [`Decimal`].
const SCALE_MAX: u32 = 28;

/// An amount, written as a JSON number: `200`, `19.5`. It is also read from a text that has a
/// number, `"19.5"`, which the replaced JavaScript services accept. Its range is not checked.
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
        let json = <&RawValue>::deserialize(deserializer)?.get();
        // A text with an escape sequence has no number.
        let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let number = inner.map_or(json, str::trim);
        if !is_number(number) {
            return Err(D::Error::custom("an amount is a number"));
        }
        let amount = match number.split_once(['e', 'E']) {
            None => Decimal::from_str_exact(number).ok(),
            Some((mantissa, exponent)) => scientific(mantissa, exponent),
        };
        amount.map(Self).ok_or_else(|| D::Error::custom("an amount has at most 28 digits"))
    }
}

/// Whether `text` is a JSON number. `Infinity`, `0x10`, `1_000` and the empty text, some of which
/// JavaScript takes for numbers, are not.
fn is_number(text: &str) -> bool {
    let is_start = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    is_start && serde_json::from_str::<&RawValue>(text).is_ok()
}

/// `mantissa` times 10 to the power of `exponent`. Digits below 10⁻²⁸ are rounded: sums of binary
/// fractions have such remainders, as 5.551115123125783e-17.
fn scientific(mantissa: &str, exponent: &str) -> Option<Decimal> {
    let exact = Decimal::from_scientific(&format!("{mantissa}e{exponent}")).ok();
    exact.or_else(|| {
        let below = exponent.strip_prefix('-')?.parse().unwrap_or(u32::MAX);
        let least = Decimal::new(1, SCALE_MAX);
        let mantissa = Decimal::from_str_exact(mantissa).ok()?;
        if below <= SCALE_MAX {
            return mantissa.checked_mul(Decimal::new(1, below));
        }
        mantissa
            .checked_mul(least)?
            .checked_mul(Decimal::new(1, (below - SCALE_MAX).min(SCALE_MAX)))
    })
}

/// The schema of an amount in requests, which is rounded to four decimals.
pub(super) fn request_schema() -> RefOr<Schema> {
    let number = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Number))
        .minimum(Some(0))
        .exclusive_maximum(Some(999_999_999_999_999_i64));
    let text = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .pattern(Some(r"^(0|[1-9][0-9]{0,13})(\.[0-9]{1,10})?$"));
    let either = AnyOfBuilder::new().item(number).item(text);
    let description = "A number, or a text that has one. Rounded to four decimals, half to even.";
    either.examples([200]).description(Some(description)).into()
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
    fn n4_numbers_in_texts_are_read() {
        for (text, written) in
            [("\"12.5\"", "12.5"), ("\" 3 \"", "3"), ("\"-0.5\"", "-0.5"), ("\"1e2\"", "100")]
        {
            assert_eq!(read(text).as_deref(), Some(written), "{text}");
        }
        let texts = ["", " ", "x", "0x10", "1_000", "1,5", "+1", ".5", "5.", "Infinity", "1 2"];
        for text in texts {
            assert_eq!(read(&format!("{text:?}")), None, "{text}");
        }
    }

    #[test]
    fn n3_remainders_of_binary_fractions_are_rounded_at_28_decimals() {
        for (text, written) in [
            ("5.551115123125783e-17", "0.0000000000000000555111512313"),
            ("-5e-324", "0"),
            ("1e-400", "0"),
            ("1e-4294967296", "0"),
        ] {
            assert_eq!(read(text).as_deref(), Some(written), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_or_has_too_many_digits_is_refused() {
        for text in ["null", "true", "[1]", "{}", "NaN", "1e400", "\"1\\u0030\""] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
