//! The checker: compares the tables of the business with the log of the broker.

use std::collections::{BTreeMap, BTreeSet};

/// A committed row: the message `id` is the one at `position` of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) id: String,
    /// `None` for a message that has no order.
    pub(crate) key: Option<String>,
    pub(crate) position: i64,
}

/// A message that the broker accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) id: String,
    pub(crate) key: Option<String>,
    pub(crate) run: String,
}

impl Accepted {
    /// Whether the broker confirmed it as one that it had already.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.run == "duplicate"
    }
}

/// What is wrong, and how many copies there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Report {
    /// Committed and never accepted.
    pub(crate) lost: Vec<String>,
    /// Accepted and never committed, or under another key.
    pub(crate) phantom: Vec<String>,
    /// First accepted behind a later one of their key.
    pub(crate) reordered: Vec<String>,
    /// Copies beyond the first.
    pub(crate) duplicates: usize,
}

impl Report {
    /// # Panics
    /// When something was lost, made up or reordered.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let few = |ids: &[String]| ids.iter().take(10).cloned().collect::<Vec<_>>();
        assert!(
            self.lost.is_empty() && self.phantom.is_empty() && self.reordered.is_empty(),
            "lost {} {:?}, phantom {} {:?}, reordered {} {:?}",
            self.lost.len(),
            few(&self.lost),
            self.phantom.len(),
            few(&self.phantom),
            self.reordered.len(),
            few(&self.reordered),
        );
    }
}

/// Compares both sides: equal sets, and the order per key at first appearance.
pub(crate) fn check(committed: &[Committed], accepted: &[Accepted]) -> Report {
    let rows: BTreeMap<&str, &Committed> =
        committed.iter().map(|row| (row.id.as_str(), row)).collect();
    assert_eq!(rows.len(), committed.len(), "an id was committed twice");
    let mut report = Report::default();
    let mut seen = BTreeSet::new();
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for line in accepted {
        let first = seen.insert(line.id.as_str());
        if !first {
            report.duplicates += 1;
        }
        let row = rows.get(line.id.as_str()).filter(|row| row.key == line.key);
        let Some(row) = row else {
            report.phantom.push(line.id.clone());
            continue;
        };
        if let (true, Some(key)) = (first, &row.key) {
            let last = last.entry(key).or_insert(i64::MIN);
            if row.position <= *last {
                report.reordered.push(line.id.clone());
            }
            *last = row.position.max(*last);
        }
    }
    let lost = committed
        .iter()
        .filter(|row| !seen.contains(row.id.as_str()));
    report.lost = lost.map(|row| row.id.clone()).collect();
    report
}
