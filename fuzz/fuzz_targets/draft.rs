//! Drives the target `draft` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("draft"),
    |bytes: &[u8]| iobox_hostile::targets::run("draft", bytes)
);
