//! The fuzz targets: one function for each decoder of external bytes. It must not panic, and its
//! assertions must hold. `tests/decoders` runs them on stable Rust, `fuzz/` with coverage guidance.

mod closed_engine;
mod events;
mod graphql;
mod identity;
mod names;
mod neighbours;
mod numbers;
mod rest;

/// A function that accepts any bytes.
pub type Target = fn(&[u8]);

/// All targets, by the name of their seed file and of their binary in `fuzz/`.
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
/// If an assertion about the decoder fails, or there is no such target.
pub fn run(name: &str, data: &[u8]) {
    let found = ALL.iter().find(|(known, _)| *known == name);
    let (_, target) = found.unwrap_or_else(|| panic!("there is no target {name}"));
    target(data);
}
