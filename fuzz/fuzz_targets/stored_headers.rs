//! Drives the target `stored_headers` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("stored_headers"),
    |bytes: &[u8]| iobox_hostile::targets::run("stored_headers", bytes)
);
