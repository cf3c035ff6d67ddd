//! Drives the target `pattern` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("pattern"),
    |bytes: &[u8]| iobox_hostile::targets::run("pattern", bytes)
);
