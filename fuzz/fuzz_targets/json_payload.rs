//! Drives the target `json_payload` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| iobox_hostile::targets::run("json_payload", bytes));
