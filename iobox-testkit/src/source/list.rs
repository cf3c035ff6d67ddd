//! The list of cases, read from their files.

use std::sync::LazyLock;

use crate::suite::{Case, read};

/// The files of cases.
macro_rules! files {
    ($($noun:ident)*) => {
        &[$((stringify!($noun), include_str!(concat!(stringify!($noun), ".rs")))),*]
    };
}

const FILES: &[(&str, &str)] = files!(read resume refuse outage);

/// Every case with its guarantee, in the order of the files.
#[must_use]
pub fn cases() -> &'static [Case] {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
        FILES
            .iter()
            .flat_map(|(noun, text)| read(noun, text))
            .collect()
    });
    &CASES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_runs_every_case_that_is_written() {
        let listed: Vec<(&str, &str)> = crate::__source_table!(names).concat();
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
