//! Drives the target `redis_prefix` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("redis_prefix"),
    |bytes: &[u8]| iobox_hostile::targets::run("redis_prefix", bytes)
);
