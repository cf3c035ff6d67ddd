//! The list of cases, read from their files, and the cases as functions.

use std::sync::LazyLock;

use iobox_core::store::{Ingest, Transact};

use crate::{
    certify::Check,
    sheet::{Sheet, Suite},
    suite::{Case, Harness, capabilities, files, noted, read_all},
};

const FILES: &[(&str, &str)] = files!(
    receive hostile subscribe transact handle ingest source takeover observe rehearse polled
);

/// Every case with its guarantee, in the order of the files.
#[must_use]
pub fn cases() -> &'static [Case] {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| read_all(FILES));
    &CASES
}

/// The sheet of a harness, without cases.
pub(crate) fn sheet<H: Harness>() -> Sheet {
    Sheet::new(
        Suite::Inbox,
        H::adapter().unwrap_or_default(),
        &capabilities::<H>(),
    )
}

/// Every case as a function.
pub(crate) fn checks<H: Harness<Store: Transact + Ingest>>() -> Vec<Check> {
    crate::__inbox_table!(checks H).concat()
}

/// Runs a case as a test, and notes how it ended.
#[doc(hidden)]
pub fn test<H: Harness>(noun: &'static str, name: &'static str, case: impl Future<Output = ()>) {
    let sheet = || H::adapter().map(|_| sheet::<H>());
    noted(noun, name, sheet, H::server(), case);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_runs_every_case_that_is_written() {
        let listed: Vec<(&str, &str)> = crate::__inbox_table!(names).concat();
        let written: Vec<(&str, &str)> =
            cases().iter().map(|case| (case.noun, case.name)).collect();
        let sorted = |mut all: Vec<(&'static str, &'static str)>| {
            all.sort_unstable();
            all
        };
        assert_eq!(sorted(listed), sorted(written));
    }

    #[test]
    fn every_case_states_its_guarantee() {
        for case in cases() {
            assert!(case.guarantee.ends_with('.'), "{case:?}");
        }
    }
}
