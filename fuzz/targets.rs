//! The fuzz targets, which `tests/decoders` also runs on stable Rust.

#[path = "../tests/decoders/targets/mod.rs"]
pub mod targets;
