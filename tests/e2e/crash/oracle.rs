//! The oracle: what the writers know of their transactions, in a file that is synced before the next
//! one begins.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::support::checker::Committed;

/// How a transaction ended, as far as its writer knows.
#[derive(Debug)]
pub(crate) enum End {
    /// Its COMMIT was confirmed, with these rows.
    Committed(Vec<Committed>),
    /// Its ROLLBACK was confirmed.
    RolledBack,
    /// Nothing was confirmed: it may be there or not, but with everything that it wrote or nothing.
    Unknown,
}

/// An append-only file of transactions.
#[derive(Debug)]
pub(crate) struct Oracle(File);

impl Oracle {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        Ok(Self(file.context("cannot open the oracle")?))
    }

    /// Writes down how the transaction ended whose ids begin with `prefix`, and syncs it.
    pub(crate) fn write(&self, prefix: &str, end: &End) -> Result<()> {
        let mut lines = String::new();
        match end {
            End::Committed(rows) => {
                for row in rows {
                    let key = row.key.as_deref().unwrap_or("-");
                    writeln!(lines, "committed {} {key} {}", row.id, row.position)?;
                }
            }
            End::RolledBack => writeln!(lines, "rolled-back {prefix}")?,
            End::Unknown => writeln!(lines, "unknown {prefix}")?,
        }
        (&self.0)
            .write_all(lines.as_bytes())
            .context("cannot write the oracle")?;
        self.0.sync_data().context("cannot sync the oracle")
    }
}

/// Everything that was written down.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) committed: BTreeSet<String>,
    pub(crate) rolled_back: BTreeSet<String>,
    pub(crate) unknown: BTreeSet<String>,
}

impl Known {
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut known = Self::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let (Some(end), Some(name)) = (words.next(), words.next()) else {
                anyhow::bail!("the oracle has a line that says nothing: {line:?}");
            };
            let list = match end {
                "committed" => &mut known.committed,
                "rolled-back" => &mut known.rolled_back,
                "unknown" => &mut known.unknown,
                _ => anyhow::bail!("the oracle knows no such end: {line:?}"),
            };
            list.insert(name.to_owned());
        }
        Ok(known)
    }

    /// Where the tables of the business and the writers disagree; one sentence each.
    pub(crate) fn contradictions(&self, history: &[Committed]) -> Vec<String> {
        let rows: BTreeSet<&str> = history.iter().map(|row| row.id.as_str()).collect();
        let mut found = Vec::new();
        for id in &self.committed {
            if !rows.contains(id.as_str()) {
                found.push(format!("{id} was committed and is not in the database"));
            }
        }
        for id in rows {
            if self.committed.contains(id) {
                continue;
            }
            if !prefix(id).is_some_and(|prefix| self.unknown.contains(prefix)) {
                found.push(format!("{id} is in the database and was never committed"));
            }
        }
        found
    }

    /// How many of the transactions without an answer are there.
    pub(crate) fn found(&self, history: &[Committed]) -> usize {
        let prefixes: BTreeSet<&str> = history.iter().filter_map(|row| prefix(&row.id)).collect();
        let unknown = self.unknown.iter();
        unknown
            .filter(|name| prefixes.contains(name.as_str()))
            .count()
    }
}

/// The prefix `w<writer>-<turn>-` of an id.
fn prefix(id: &str) -> Option<&str> {
    let (end, _) = id.match_indices('-').nth(1)?;
    id.get(..=end)
}
