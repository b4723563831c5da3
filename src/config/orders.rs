//! Limits of orders, the currency, and how long idempotency keys are kept.

use std::time::Duration;

use crate::domain::money::Currency;
use crate::domain::placement::PlacementLimits;
use crate::setting::{Reader, flag, hours, number, settings};

settings! {
    /// Limits of orders.
    pub struct OrderSettings {
        lines_max: usize {
            parse: number(1..=10_000),
            default: "500",
            variables: ["ORDER_ENGINE_LINES_MAX"],
            help: "Most lines of one order, 1 to 10000.",
        }
        quantity_max: u32 {
            parse: number(1..=i32::MAX.unsigned_abs()),
            default: "2147483647",
            variables: ["ORDER_ENGINE_QUANTITY_MAX"],
            help: "Largest quantity of one line, 1 to 2147483647.",
        }
        allow_unknown_users: bool {
            parse: flag,
            default: "true",
            variables: ["ORDER_ENGINE_ALLOW_UNKNOWN_USERS"],
            help: "Whether users of whom no event has been consumed can place orders. Their \
                   orders have no address.",
        }
        currency: Currency {
            parse: currency,
            default: "USD",
            variables: ["ORDER_ENGINE_CURRENCY"],
            help: "The currency of prices, an ISO 4217 code. It applies to products that are new \
                   to the catalog.",
        }
        idempotency_retention_hours: Duration {
            parse: hours(24..=8760),
            default: "168",
            variables: ["ORDER_ENGINE_IDEMPOTENCY_RETENTION_HOURS"],
            help: "How long idempotency keys and the ids of consumed messages are kept, 24 to 8760 \
                   hours.",
        }
    }
}

impl From<&OrderSettings> for PlacementLimits {
    fn from(settings: &OrderSettings) -> Self {
        Self {
            lines_max: settings.lines_max,
            quantity_max: settings.quantity_max,
            allow_unknown_users: settings.allow_unknown_users,
        }
    }
}

fn currency(reader: &mut Reader<'_>) -> Currency {
    Currency::parse(reader.text().unwrap_or_default()).unwrap_or_else(|error| {
        reader.problem(format!("is wrong: {}", error.message().trim_end_matches('.')));
        Currency::NONE
    })
}
