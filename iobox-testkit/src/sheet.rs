//! The guarantee sheet: what a suite found out about an adapter, for people and for machines.

use std::{
    collections::BTreeMap,
    env, fmt,
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    thread,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    broker, source,
    suite::{self, Case},
};

/// The environment variable that names a folder for sheets: when it is set, each case of a suite adds a
/// line to the sheet of its adapter there.
pub const FOLDER: &str = "IOBOX_SHEETS";

/// A suite of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Suite {
    /// The suite of [stores](crate::suite).
    Store,
    /// The suite of the [inbox half](crate::suite::inbox) of stores.
    Inbox,
    /// The suite of [publishers](crate::broker).
    Publisher,
    /// The suite of [sources](crate::source).
    Source,
}

impl Suite {
    /// Every suite.
    pub const ALL: [Self; 4] = [Self::Store, Self::Inbox, Self::Publisher, Self::Source];

    /// Its cases.
    #[must_use]
    pub fn cases(self) -> &'static [Case] {
        match self {
            Self::Store => suite::cases(),
            Self::Inbox => suite::inbox::cases(),
            Self::Publisher => broker::cases(),
            Self::Source => source::cases(),
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "store",
            Self::Inbox => "inbox",
            Self::Publisher => "publisher",
            Self::Source => "source",
        })
    }
}

/// What one suite found out about one adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sheet {
    /// The adapter, as its harness names it.
    pub adapter: String,
    /// The suite.
    pub suite: Suite,
    /// The server that it ran against, with its version.
    pub server: Option<String>,
    /// What the adapter can do, as its harness says: cases check the one half of their sentence or the
    /// other by it, and none is left out.
    pub capabilities: BTreeMap<String, Value>,
    /// What became of each case, in the order of the suite.
    pub cases: Vec<Checked>,
}

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checked {
    /// The file of the case.
    pub noun: String,
    /// Its name.
    pub name: String,
    /// The [guarantees](crate::guarantee::Guarantee) that it stands for.
    pub guarantees: Vec<String>,
    /// Whether its sentence is true of the adapter.
    pub passed: bool,
}

impl Sheet {
    /// A sheet without cases.
    pub(crate) fn new(suite: Suite, adapter: String, capabilities: &[(&str, Value)]) -> Self {
        let capabilities = capabilities.iter();
        Self {
            adapter,
            suite,
            server: None,
            capabilities: capabilities
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
            cases: Vec::new(),
        }
    }

    /// Adds what became of a case of the suite.
    pub(crate) fn add(&mut self, noun: &str, name: &str, passed: bool) {
        let is_it = |case: &&Case| case.noun == noun && case.name == name;
        let case = self.suite.cases().iter().find(is_it);
        let guarantees = case.map_or(&[][..], Case::guarantees);
        self.cases.push(Checked {
            noun: noun.to_owned(),
            name: name.to_owned(),
            guarantees: guarantees.iter().map(ToString::to_string).collect(),
            passed,
        });
    }

    /// The cases whose sentence is not true of the adapter, as `noun::name`.
    #[must_use]
    pub fn failed(&self) -> Vec<String> {
        let failed = self.cases.iter().filter(|case| !case.passed);
        failed
            .map(|case| format!("{}::{}", case.noun, case.name))
            .collect()
    }

    /// Whether every case of the suite is in it and passed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty() && self.cases.iter().all(|case| case.passed)
    }

    /// The cases of the suite that are not in it, as `noun::name`.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let has = |case: &&Case| {
            let mut here = self.cases.iter();
            here.any(|one| one.noun == case.noun && one.name == case.name)
        };
        let missing = self.suite.cases().iter().filter(|case| !has(case));
        missing
            .map(|case| format!("{}::{}", case.noun, case.name))
            .collect()
    }

    /// A name for its file: the suite, then the adapter in lower case with `-` for what is neither a
    /// letter nor a digit.
    #[must_use]
    pub fn file_name(&self) -> String {
        let plain = |c: char| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => c,
            _ => '-',
        };
        let adapter: String = self.adapter.chars().map(plain).collect();
        let words: Vec<&str> = adapter.split('-').filter(|word| !word.is_empty()).collect();
        format!("{}-{}.json", self.suite, words.join("-"))
    }

    /// Reads the sheets that the cases of suites left in a folder, each with its cases in order.
    ///
    /// # Errors
    /// When the folder or a file of it cannot be read.
    pub fn gather(folder: &Path) -> io::Result<Vec<Self>> {
        let mut sheets = BTreeMap::new();
        let files = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        for file in files {
            for line in fs::read_to_string(file.path())?.lines() {
                let mut one: Self = serde_json::from_str(line)?;
                let sheet = sheets
                    .entry((one.suite, one.adapter.clone()))
                    .or_insert_with(|| Self {
                        cases: Vec::new(),
                        ..one.clone()
                    });
                sheet.cases.append(&mut one.cases);
            }
        }
        let mut sheets: Vec<Self> = sheets.into_values().collect();
        sheets.iter_mut().for_each(Self::sort);
        Ok(sheets)
    }

    /// Puts the cases into the order of the suite; of a case that ran twice the worse counts.
    pub(crate) fn sort(&mut self) {
        let all = self.suite.cases();
        let place = |one: &Checked| {
            let mut all = all.iter();
            all.position(|case| case.noun == one.noun && case.name == one.name)
        };
        self.cases.sort_by_key(|case| (place(case), case.passed));
        self.cases
            .dedup_by(|b, a| (&a.noun, &a.name) == (&b.noun, &b.name));
    }

    /// Adds the sheet as a line to the file of its adapter, in one write.
    fn append_to(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        let path = folder.join(self.file_name());
        let mut file = File::options().create(true).append(true).open(path)?;
        file.write_all(&line)
    }
}

/// Writes down how a case ended, if somebody asked for sheets.
pub(crate) struct Note {
    sheet: Option<Sheet>,
    noun: &'static str,
    name: &'static str,
}

impl Note {
    /// Begins a case; `named` makes the sheet of an adapter that has a name.
    pub(crate) fn begin(
        noun: &'static str,
        name: &'static str,
        named: impl FnOnce() -> Option<Sheet>,
    ) -> Self {
        let sheet = env::var_os(FOLDER).and_then(|_| named());
        Self { sheet, noun, name }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        let (Some(mut sheet), Some(folder)) = (self.sheet.take(), env::var_os(FOLDER)) else {
            return;
        };
        sheet.add(self.noun, self.name, !thread::panicking());
        if let Err(error) = sheet.append_to(Path::new(&folder)) {
            eprintln!("cannot write the sheet of {}: {error}", sheet.adapter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let capabilities = [("concurrent_writers", Value::from(true))];
        Sheet::new(
            Suite::Store,
            String::from("My store, at Level 1"),
            &capabilities,
        )
    }

    #[test]
    fn sheets_are_gathered_from_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        for (noun, name, passed) in [
            ("fence", "an_older_epoch_settles_nothing", false),
            ("open", "an_open_store_tells_its_partitions", true),
            ("fence", "an_older_epoch_settles_nothing", true),
        ] {
            let mut one = sheet();
            one.add(noun, name, passed);
            one.append_to(folder.path()).expect("a line");
        }
        let found = Sheet::gather(folder.path()).expect("sheets");
        assert_eq!(found.len(), 1);
        let names: Vec<_> = found[0].cases.iter().map(|case| &case.noun).collect();
        assert_eq!(names, ["open", "fence"]);
        assert_eq!(found[0].failed(), ["fence::an_older_epoch_settles_nothing"]);
        assert_eq!(found[0].cases[1].guarantees, ["G5"]);
        assert_eq!(found[0].missing().len(), suite::cases().len() - 2);
        assert!(!found[0].is_complete());
        assert_eq!(found[0].file_name(), "store-my-store-at-level-1.json");
    }
}
