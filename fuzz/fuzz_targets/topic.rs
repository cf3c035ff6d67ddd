//! Drives the target `topic` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("topic"),
    |bytes: &[u8]| iobox_hostile::targets::run("topic", bytes)
);
