//! The bounds of orders: `ORDER_ENGINE_LINES_MAX`, `ORDER_ENGINE_QUANTITY_MAX`,
//! `ORDER_ENGINE_UNKNOWN_USERS`, `ORDER_ENGINE_CURRENCY`, `ORDER_ENGINE_KEEP_KEYS_HOURS`.

use std::time::Duration;

use crate::config::source::{Problems, Setting, Sources};
use crate::domain::money::Currency;
use crate::domain::placement::PlacementLimits;

/// The settings of this file.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "lines_max",
        variables: &["ORDER_ENGINE_LINES_MAX"],
        is_secret: false,
        default: "500",
        help: "Most items of one order, 1 to 10000.",
    },
    Setting {
        name: "quantity_max",
        variables: &["ORDER_ENGINE_QUANTITY_MAX"],
        is_secret: false,
        default: "2147483647",
        help: "Largest quantity of one item, 1 to 2147483647.",
    },
    Setting {
        name: "unknown_users",
        variables: &["ORDER_ENGINE_UNKNOWN_USERS"],
        is_secret: false,
        default: "true",
        help: "Whether a user whom no event has announced may order; the address stays empty.",
    },
    Setting {
        name: "currency",
        variables: &["ORDER_ENGINE_CURRENCY"],
        is_secret: false,
        default: "USD",
        help: "What prices are in, an ISO 4217 code. Counts for products that are new to the \
               catalogue.",
    },
    Setting {
        name: "keep_keys_hours",
        variables: &["ORDER_ENGINE_KEEP_KEYS_HOURS"],
        is_secret: false,
        default: "168",
        help: "How long idempotency keys and the identities of taken-in messages are kept, 24 to \
               8760 hours.",
    },
];

/// The bounds of orders.
#[derive(Debug)]
pub struct Orders {
    /// Bounds of a placement.
    pub limits: PlacementLimits,
    /// What the prices of new products are in.
    pub currency: Currency,
    /// How long idempotency keys and the identities of messages are kept.
    pub keep_keys: Duration,
}

pub(super) fn read(sources: &Sources, problems: &mut Problems) -> Orders {
    let currency = sources.text("currency").unwrap_or_default();
    let currency = Currency::parse(currency).unwrap_or_else(|error| {
        problems.add(format!("{}: {error}", sources.called("currency")));
        Currency::NONE
    });
    let keep_keys: u64 = sources.number("keep_keys_hours", 24..=8760, problems);
    Orders {
        limits: PlacementLimits {
            lines_max: sources.number("lines_max", 1..=10_000, problems),
            quantity_max: sources.number("quantity_max", 1..=i32::MAX.unsigned_abs(), problems),
            unknown_users: sources.flag("unknown_users", problems),
        },
        currency,
        keep_keys: Duration::from_secs(keep_keys * 3600),
    }
}
