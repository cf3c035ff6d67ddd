//! Drives the target `text` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("text"),
    |bytes: &[u8]| iobox_hostile::targets::run("text", bytes)
);
