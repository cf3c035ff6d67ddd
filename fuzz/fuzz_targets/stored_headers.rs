//! Drives the target `stored_headers` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| iobox_hostile::targets::run("stored_headers", bytes));
