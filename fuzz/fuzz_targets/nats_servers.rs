//! Drives the target `nats_servers` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("nats_servers"),
    |bytes: &[u8]| iobox_hostile::targets::run("nats_servers", bytes)
);
