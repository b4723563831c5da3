//! Runs one target of `tests/decoders/targets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| order_engine_fuzz::targets::run("copies", data));
