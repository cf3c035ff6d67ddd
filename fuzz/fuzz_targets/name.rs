//! Drives the target `name` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("name"),
    |bytes: &[u8]| iobox_hostile::targets::run("name", bytes)
);
