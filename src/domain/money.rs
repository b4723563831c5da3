//! Exact decimal amounts and their currencies.

use std::fmt;

use rust_decimal::Decimal;

use crate::error::{Error, ErrorKind, Result};

/// Maximum number of decimals.
pub const SCALE_MAX: u32 = 4;

/// Fewest decimals that [`with_cents`] returns.
const DECIMALS_MIN: u32 = 2;

/// Number of significant digits from which the last ones may be floating-point noise.
const FLOAT_DIGITS: usize = 15;

/// Exclusive upper limit of amounts, 10¹⁵: the range of `numeric(19, 4)`.
const AMOUNT_LIMIT: Decimal = Decimal::from_parts(2_764_472_320, 232_830, 0, false, 0);

/// An ISO 4217 code such as `USD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The ISO 4217 code for "no currency".
    pub const NONE: Self = Self(*b"XXX");

    /// Parses three upper-case letters.
    ///
    /// # Errors
    /// `InvalidInput` for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        match text.as_bytes() {
            [a, b, c] if [a, b, c].iter().all(|byte| byte.is_ascii_uppercase()) => {
                Ok(Self([*a, *b, *c]))
            }
            _ => Err(Error::new(
                ErrorKind::InvalidInput,
                format!("A currency is three upper-case letters such as USD, not {text:?}."),
            )),
        }
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The amount with two decimals, or with as many as it needs: `9.50`, `0.125`.
#[must_use]
pub fn with_cents(amount: Decimal) -> Decimal {
    let mut amount = amount.normalize();
    if amount.scale() < DECIMALS_MIN {
        amount.rescale(DECIMALS_MIN);
    }
    amount
}

/// Checks a price or total: ≥ 0, below 10¹⁵, at most four decimals.
///
/// # Errors
/// `InvalidInput` naming the limit.
pub fn checked_amount(amount: Decimal) -> Result<Decimal> {
    let amount = amount.normalize();
    let problem = if amount.is_sign_negative() && !amount.is_zero() {
        "is negative"
    } else if amount >= AMOUNT_LIMIT {
        "is 10^15 or more"
    } else if amount.scale() > SCALE_MAX {
        "has more than four decimals"
    } else {
        return Ok(amount);
    };
    Err(Error::new(ErrorKind::InvalidInput, format!("The amount {amount} {problem}.")))
}

/// Rounds a price or total to four decimals, half to even, and checks it as [`checked_amount`]
/// does. Sums of binary fractions have more decimals: 0.1 + 0.2 is 0.30000000000000004 there.
///
/// # Errors
/// `InvalidInput` naming the limit, also for a negative amount that would be rounded to 0.
pub fn rounded_amount(amount: Decimal) -> Result<Decimal> {
    let rounded = amount.round_dp(SCALE_MAX);
    checked_amount(if amount.is_sign_negative() { amount } else { rounded })
}

/// Parses a JSON number exactly. Numbers with 15 significant digits or more are rounded to four
/// decimals, which removes floating-point noise. Limits are not checked.
#[must_use]
pub fn read_amount(json: &str) -> Option<Decimal> {
    let mantissa = json.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit);
    let digits = digits.skip_while(|digit| *digit == b'0').count();
    let is_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let read = is_number.then(|| json.parse().or_else(|_| Decimal::from_scientific(json)).ok());
    let amount = read.flatten()?;
    Some(if digits >= FLOAT_DIGITS { amount.round_dp(SCALE_MAX) } else { amount })
}

/// `quantity` times `unit_price`, checked against the limits.
///
/// # Errors
/// `InvalidInput` when the result is 10¹⁵ or more.
pub fn line_total(unit_price: Decimal, quantity: u32) -> Result<Decimal> {
    let total = unit_price.checked_mul(Decimal::from(quantity)).unwrap_or(AMOUNT_LIMIT);
    checked_amount(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_cents_shows_two_decimals_or_as_many_as_needed() {
        let shown = |text: &str| with_cents(text.parse().unwrap()).to_string();
        assert_eq!(shown("9.5"), "9.50");
        assert_eq!(shown("9.5000"), "9.50");
        assert_eq!(shown("19"), "19.00");
        assert_eq!(shown("0.1250"), "0.125");
        assert_eq!(shown("0.0001"), "0.0001");
    }

    fn decimal(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn amounts_have_limits() {
        assert_eq!(AMOUNT_LIMIT, decimal("1000000000000000"));
        assert_eq!(checked_amount(decimal("19.00")).unwrap(), decimal("19"));
        for bad in ["-0.01", "1000000000000000", "0.00001"] {
            assert!(checked_amount(decimal(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn line_totals_are_exact_and_do_not_overflow() {
        assert_eq!(line_total(decimal("0.1"), 3).unwrap(), decimal("0.3"));
        assert!(line_total(decimal("999999999999999"), u32::MAX).is_err());
    }

    #[test]
    fn currencies_are_three_capitals() {
        assert_eq!(Currency::parse("USD").unwrap().as_str(), "USD");
        for bad in ["usd", "US", "USDX", "U D", ""] {
            assert!(Currency::parse(bad).is_err(), "{bad}");
        }
    }
}
