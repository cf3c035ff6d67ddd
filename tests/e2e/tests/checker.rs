//! The checker sees a loss, a phantom, a reorder and a duplicate.

#![allow(
    clippy::disallowed_methods,
    reason = "what the tests share lives on the machine's clock"
)]

mod support;

use support::{
    checker::{Accepted, Committed, Report, check},
    log,
};

/// `a1` is the first message of key `a`; `-1` has no key.
fn committed(ids: &[&str]) -> Vec<Committed> {
    let row = |id: &&str| Committed {
        id: (*id).to_owned(),
        key: key(id),
        position: id[1..].parse().expect("a number"),
    };
    ids.iter().map(row).collect()
}

fn accepted(ids: &[&str]) -> Vec<Accepted> {
    let line = |id: &&str| Accepted {
        id: (*id).to_owned(),
        key: key(id),
        run: "run".to_owned(),
    };
    ids.iter().map(line).collect()
}

fn key(id: &str) -> Option<String> {
    (!id.starts_with('-')).then(|| id[..1].to_owned())
}

fn report(rows: &[&str], lines: &[&str]) -> Report {
    check(&committed(rows), &accepted(lines))
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn what_agrees_is_clean() {
    let report = report(
        &["a1", "a2", "b1", "-1", "-2"],
        &["b1", "-2", "a1", "-1", "a2"],
    );
    assert_eq!(report, Report::default());
    report.assert_clean();
}

#[test]
fn a_loss_is_seen() {
    let report = report(&["a1", "a2", "-1"], &["a1"]);
    assert_eq!(report.lost, ids(&["a2", "-1"]));
    assert_eq!((report.phantom.len(), report.reordered.len()), (0, 0));
}

#[test]
fn a_phantom_is_seen() {
    let report = report(&["a1"], &["a1", "a2"]);
    assert_eq!(report.phantom, ids(&["a2"]));
    assert_eq!((report.lost.len(), report.reordered.len()), (0, 0));
}

#[test]
fn another_key_is_a_phantom() {
    let mut lines = accepted(&["a1"]);
    lines[0].key = Some("b".to_owned());
    let report = check(&committed(&["a1"]), &lines);
    assert_eq!(report.phantom, ids(&["a1"]));
}

#[test]
fn a_reorder_is_seen() {
    let report = report(&["a1", "a2", "a3", "b1"], &["a1", "a3", "b1", "a2"]);
    assert_eq!(report.reordered, ids(&["a2"]));
    assert_eq!((report.lost.len(), report.duplicates), (0, 0));
}

#[test]
fn a_duplicate_is_counted_and_is_no_reorder() {
    let report = report(&["a1", "a2"], &["a1", "a2", "a1", "a1"]);
    assert_eq!(report.duplicates, 2);
    report.assert_clean();
}

#[test]
#[should_panic(expected = "lost 1 [\"a1\"]")]
fn a_report_with_a_loss_is_not_clean() {
    report(&["a1"], &[]).assert_clean();
}

#[test]
fn a_line_that_was_cut_off_is_not_there() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("log");
    assert_eq!(log::read(&path), []);
    std::fs::write(&path, "\na1 a run\na2 \n-1 - run\n").expect("a log");
    assert_eq!(log::read(&path), accepted(&["a1", "-1"]));
    assert_eq!(log::Progress::new(path).count(), 3);
}
