//! Drives the target `sqlite_row` with libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(
    init: iobox_hostile::targets::leave_seeds("sqlite_row"),
    |bytes: &[u8]| iobox_hostile::targets::run("sqlite_row", bytes)
);
