//! Drives the target `identifier` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("identifier"),
    |bytes: &[u8]| iobox_hostile::targets::run("identifier", bytes)
);
