//! Drives the target `headers` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("headers"),
    |bytes: &[u8]| iobox_hostile::targets::run("headers", bytes)
);
