//! Drives the target `postgres_url` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("postgres_url"),
    |bytes: &[u8]| iobox_hostile::targets::run("postgres_url", bytes)
);
