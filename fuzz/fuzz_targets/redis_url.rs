//! Drives the target `redis_url` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("redis_url"),
    |bytes: &[u8]| iobox_hostile::targets::run("redis_url", bytes)
);
