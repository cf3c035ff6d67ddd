//! Certifies the log in memory as a source, and a far log behind a line; and proves that the suite of
//! sources sees bugs.

#![allow(
    clippy::disallowed_methods,
    reason = "tests of sources wait on the machine's clock"
)]

mod broken;
mod far;
mod memory;

mod sound {
    use crate::far::Linked;

    iobox_testkit::source_suite!(Linked<0>);
}
