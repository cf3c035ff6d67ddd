//! Drives the target `nats_servers` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| iobox_hostile::targets::run("nats_servers", bytes));
