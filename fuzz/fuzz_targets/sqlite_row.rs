//! Drives the target `sqlite_row` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| iobox_hostile::targets::run("sqlite_row", bytes));
