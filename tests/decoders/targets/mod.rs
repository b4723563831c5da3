//! What is done with bytes from outside, one function for each decoder: it must neither panic nor
//! break what is asserted of it. The test beside runs them on any Rust, `fuzz/` with coverage.

mod closed_engine;
mod events;
mod graphql;
mod identity;
mod names;
mod neighbours;
mod numbers;
mod rest;

/// Takes any bytes.
pub type Target = fn(&[u8]);

/// Every target, by the name of its seeds and of its program in `fuzz/`.
pub const ALL: [(&str, Target); 16] = [
    ("answers", neighbours::answers),
    ("claims", identity::claims),
    ("copies", neighbours::copies),
    ("cursors", graphql::cursors),
    ("events-flask", events::flask),
    ("events-gateway", events::gateway),
    ("events-stock", events::stock),
    ("graphql", graphql::documents),
    ("headers", rest::headers),
    ("ids", names::ids),
    ("keys", identity::keys),
    ("numbers", numbers::numbers),
    ("parameters", graphql::parameters),
    ("rest", rest::bodies),
    ("sockets", graphql::sockets),
    ("tokens", identity::tokens),
];

/// Runs the target of this name.
///
/// # Panics
/// When the decoder breaks a promise, or there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let found = ALL.iter().find(|(known, _)| *known == name);
    let (_, target) = found.unwrap_or_else(|| panic!("there is no target {name}"));
    target(data);
}
