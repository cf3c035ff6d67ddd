//! The list of cases, read from their files, and the cases as functions.

use std::sync::LazyLock;

use super::Harness;
use crate::{
    certify::Check,
    sheet::{Sheet, Suite},
    suite::{Case, files, noted, read_all},
};

const FILES: &[(&str, &str)] =
    files!(publish payload refuse headers text duplicate order concurrent cancel outage probe);

/// Every case with its guarantee, in the order of the files.
#[must_use]
pub fn cases() -> &'static [Case] {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| read_all(FILES));
    &CASES
}

/// The sheet of a harness, without cases.
pub(crate) fn sheet<H: Harness>() -> Sheet {
    let capabilities = [
        ("durability", format!("{:?}", H::DURABILITY).into()),
        ("absorbs_duplicates", H::ABSORBS_DUPLICATES.into()),
        ("keeps_header_order", H::KEEPS_HEADER_ORDER.into()),
        ("payload_max", H::PAYLOAD_MAX.into()),
        ("payload_refused", H::PAYLOAD_REFUSED.into()),
        ("refuses_topics", H::REFUSES_TOPICS.into()),
        ("can_be_cut", H::CAN_BE_CUT.into()),
    ];
    Sheet::new(
        Suite::Publisher,
        H::adapter().unwrap_or_default(),
        &capabilities,
    )
}

/// Every case as a function.
pub(crate) fn checks<H: Harness>() -> Vec<Check> {
    crate::__broker_table!(checks H).concat()
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
        let listed: Vec<(&str, &str)> = crate::__broker_table!(names).concat();
        let written: Vec<(&str, &str)> =
            cases().iter().map(|case| (case.noun, case.name)).collect();
        assert_eq!(listed, written);
    }

    #[test]
    fn every_case_states_its_guarantee() {
        for case in cases() {
            assert!(case.guarantee.ends_with('.'), "{case:?}");
        }
    }
}
