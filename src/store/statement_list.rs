//! The list of all statements.

use crate::store::{
    adoption_state, cache_state, catalog, dead_letters, inbox, journal, leases, legacy_outbox,
    list_publications, orders, outbox, placing, preparing, quotes, replay, retention, shadow,
    stock_answers, stock_projection, switches, users,
};

/// All statements, as `file::NAME` and text.
#[must_use]
pub fn statements() -> Vec<(String, &'static str)> {
    let files = [
        ("adoption_state", adoption_state::STATEMENTS),
        ("cache_state", cache_state::STATEMENTS),
        ("catalog", catalog::STATEMENTS),
        ("dead_letters", dead_letters::STATEMENTS),
        ("inbox", inbox::STATEMENTS),
        ("journal", journal::STATEMENTS),
        ("leases", leases::STATEMENTS),
        ("stock_projection", stock_projection::STATEMENTS),
        ("list_publications", list_publications::STATEMENTS),
        ("orders", orders::STATEMENTS),
        ("outbox", outbox::STATEMENTS),
        ("replay", replay::STATEMENTS),
        ("placing", placing::STATEMENTS),
        ("preparing", preparing::STATEMENTS),
        ("quotes", quotes::STATEMENTS),
        ("retention", retention::STATEMENTS),
        ("shadow", shadow::STATEMENTS),
        ("stock_answers", stock_answers::STATEMENTS),
        ("switches", switches::STATEMENTS),
        ("legacy_outbox", legacy_outbox::STATEMENTS),
        ("users", users::STATEMENTS),
    ];
    files
        .into_iter()
        .flat_map(|(file, all)| {
            all.iter().map(move |(name, sql)| (format!("{file}::{name}"), *sql))
        })
        .collect()
}
