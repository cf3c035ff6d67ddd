//! Drives the target `identifier` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| iobox_hostile::targets::run("identifier", bytes));
