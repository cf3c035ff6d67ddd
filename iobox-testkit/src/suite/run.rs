//! Running cases, and the list of them.

use std::{sync::LazyLock, time::Duration};

use serde_json::Value;

use super::Harness;
use crate::{
    certify::Check,
    sheet::{Note, Sheet, Suite},
};

/// How long a case may take before it counts as stuck.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(300);

/// A case of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The file that it stands in.
    pub noun: &'static str,
    /// Its name, a sentence.
    pub name: &'static str,
    /// The guarantee that it would falsify.
    pub guarantee: &'static str,
}

/// The files of cases, beside the file that names them.
macro_rules! files {
    ($($noun:ident)*) => {
        &[$((stringify!($noun), include_str!(concat!(stringify!($noun), ".rs")))),*]
    };
}
pub(crate) use files;

const FILES: &[(&str, &str)] = files!(open lease share handover fence fetch order blocked waiting late settle retry halt suspect dead replay discard purge enqueue hostile duplicate cancel polled race corrupt list stats wake program);

/// Runs one case on a runtime of its own, and fails it when it is stuck.
///
/// # Panics
/// When the case panics or is stuck.
pub fn run(case: impl Future<Output = ()>) {
    run_within(STUCK_AFTER, case);
}

/// Runs one case that counts as stuck after `patience`.
pub(crate) fn run_within(patience: Duration, case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        assert!(
            tokio::time::timeout(patience, case).await.is_ok(),
            "the case is stuck: it took more than {patience:?}"
        );
    });
}

/// What a store can do, as its harness says.
pub(crate) fn capabilities<H: Harness>() -> [(&'static str, Value); 2] {
    [
        ("concurrent_writers", H::CONCURRENT_WRITERS.into()),
        ("refuses_misfits", H::REFUSES_MISFITS.into()),
    ]
}

/// The sheet of a harness, without cases.
pub(crate) fn sheet<H: Harness>() -> Sheet {
    let adapter = H::adapter().unwrap_or_default();
    Sheet::new(Suite::Store, adapter, &capabilities::<H>())
}

/// Every case as a function.
pub(crate) fn checks<H: Harness>() -> Vec<Check> {
    crate::__store_table!(checks H).concat()
}

/// Runs a case as a test, and notes how it ended.
#[doc(hidden)]
pub fn test<H: Harness>(noun: &'static str, name: &'static str, case: impl Future<Output = ()>) {
    let sheet = || H::adapter().map(|_| sheet::<H>());
    noted(noun, name, sheet, H::server(), case);
}

/// Runs a case and notes how it ended in `sheet`, of an adapter that has a name.
pub(crate) fn noted(
    noun: &'static str,
    name: &'static str,
    sheet: impl FnOnce() -> Option<Sheet>,
    server: impl Future<Output = Option<String>>,
    case: impl Future<Output = ()>,
) {
    let _note = Note::begin(noun, name, || {
        let mut sheet = sheet()?;
        run(async { sheet.server = server.await });
        Some(sheet)
    });
    run(case);
}

/// Every case with its guarantee, in the order of the files.
#[must_use]
pub fn cases() -> &'static [Case] {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| read_all(FILES));
    &CASES
}

/// Reads the cases of files, in their order.
pub(crate) fn read_all(files: &[(&'static str, &str)]) -> Vec<Case> {
    let of_file = |(noun, text): &(&'static str, &str)| read(noun, text);
    files.iter().flat_map(of_file).collect()
}

/// Reads the cases of one file: each public generic function, with its doc sentence.
fn read(noun: &'static str, text: &str) -> Vec<Case> {
    let mut found = Vec::new();
    let mut doc = String::new();
    for line in text.lines() {
        // Between two paragraphs.
        if line == "///" {
            continue;
        }
        if let Some(sentence) = line.strip_prefix("/// ") {
            if !doc.is_empty() {
                doc.push(' ');
            }
            doc.push_str(sentence);
            continue;
        }
        if let Some((name, _)) = line
            .strip_prefix("pub async fn ")
            .and_then(|rest| rest.split_once("<H: Harness>()"))
        {
            found.push(Case {
                noun,
                name: String::from(name).leak(),
                guarantee: std::mem::take(&mut doc).leak(),
            });
        }
        doc.clear();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_runs_every_case_that_is_written() {
        let listed: Vec<(&str, &str)> = crate::__store_table!(names).concat();
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
