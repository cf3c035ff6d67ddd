//! Drives the target `nats_subject` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("nats_subject"),
    |bytes: &[u8]| iobox_hostile::targets::run("nats_subject", bytes)
);
