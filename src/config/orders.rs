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
            help: "Maximum number of lines of an order, 1 to 10000.",
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
            help: "Whether orders of users that the engine does not know are accepted; they have \
                   no address. A user is known after an event or upsert_user.",
        }
        currency: Currency {
            parse: currency,
            default: "USD",
            variables: ["ORDER_ENGINE_CURRENCY"],
            help: "The currency, an ISO 4217 code, of products that are added to the catalog, and \
                   of orders whose products are not in it.",
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
