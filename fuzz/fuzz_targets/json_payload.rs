//! Drives the target `json_payload` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("json_payload"),
    |bytes: &[u8]| iobox_hostile::targets::run("json_payload", bytes)
);
