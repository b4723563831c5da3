//! What is fuzzed: the same targets that `tests/decoders` runs on any Rust.

#[path = "../tests/decoders/targets/mod.rs"]
pub mod targets;
