//! Seeds that are kept: shrunken runs that broke a guarantee once, or break one when a bug is planted.
//!
//! Each is a file of `tests/seeds/`. A run without its bug must hold for ever.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::PathBuf, sync::Arc};

use iobox_core::dispatch::Bug;

use crate::{
    check::{Violation, check},
    plan::Trim,
    world::run_trimmed,
};

/// A kept seed.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) bug: Option<Bug>,
    pub(crate) trim: Trim,
}

/// Where they are kept.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../seeds")
}

/// The bug of this name.
pub(crate) fn find_bug(name: &str) -> Result<Bug, String> {
    let all = Bug::ALL;
    all.into_iter()
        .find(|bug| format!("{bug:?}").eq_ignore_ascii_case(name))
        .ok_or_else(|| format!("there is no bug {name:?}; there are {all:?}"))
}

impl Kept {
    fn parse(name: String, text: &str) -> Result<Self, String> {
        let mut kept = Self {
            name,
            seed: 0,
            bug: None,
            trim: Trim::default(),
        };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((field, value)) = line.split_once(" = ") else {
                continue;
            };
            let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
            match field {
                "seed" => kept.seed = number(value)?,
                "bug" => kept.bug = Some(find_bug(value)?),
                "messages" => {
                    kept.trim.messages = Some(value.parse().map_err(|_| "no number of messages")?);
                }
                "without" => {
                    kept.trim.without = value.split(", ").map(ToOwned::to_owned).collect();
                }
                "only" => {
                    let numbers = value.split(", ").filter(|number| !number.is_empty());
                    let only: Result<BTreeSet<u32>, _> = numbers.map(str::parse).collect();
                    let only = only.map_err(|_| "the faults have numbers")?;
                    kept.trim.only = Some(Arc::new(only));
                }
                _ => return Err(format!("{field:?} is no field of a seed")),
            }
        }
        Ok(kept)
    }

    fn text(&self, violation: &Violation) -> String {
        let mut text = format!("# {}: {}\n", violation.invariant, violation.detail);
        // Writing to a text does not fail.
        let _ = writeln!(text, "seed = {}", self.seed);
        if let Some(bug) = self.bug {
            let _ = writeln!(text, "bug = {bug:?}");
        }
        if let Some(messages) = self.trim.messages {
            let _ = writeln!(text, "messages = {messages}");
        }
        if !self.trim.without.is_empty() {
            let names: Vec<&str> = self.trim.without.iter().map(String::as_str).collect();
            let _ = writeln!(text, "without = {}", names.join(", "));
        }
        if let Some(only) = &self.trim.only {
            let numbers: Vec<String> = only.iter().map(ToString::to_string).collect();
            let _ = writeln!(text, "only = {}", numbers.join(", "));
        }
        text
    }

    /// Writes its file.
    pub(crate) fn keep(&self, violation: &Violation) -> std::io::Result<()> {
        fs::create_dir_all(folder())?;
        fs::write(
            folder().join(format!("{}.seed", self.name)),
            self.text(violation),
        )
    }

    /// What the run breaks, with its bug or without.
    pub(crate) fn replay(&self, planted: bool) -> Result<(), Violation> {
        let bug = self.bug.filter(|_| planted);
        let run = run_trimmed(self.seed, bug, &self.trim);
        check(&run.plan, &run.entries)
    }
}

/// All of them, by name.
pub(crate) fn all() -> Result<Vec<Kept>, String> {
    let mut all = Vec::new();
    let entries = fs::read_dir(folder()).map_err(|error| format!("tests/seeds: {error}"))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "seed")
        {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            all.push(Kept::parse(name.into_owned(), &text)?);
        }
    }
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_seeds_hold() {
        let all = all().expect("the kept seeds can be read");
        assert!(all.len() >= Bug::ALL.len(), "each planted bug has one");
        for kept in all {
            assert_eq!(kept.replay(false), Ok(()), "{}", kept.name);
        }
    }

    #[test]
    fn a_seed_reads_as_it_is_written() {
        let text = "seed = 7\nbug = NoKeyGate\nmessages = 3\nwithout = crash, drain\nonly = 1, 5\n";
        let kept = Kept::parse("x".into(), text).expect("it is valid");
        let violation = Violation {
            invariant: "G1",
            detail: "what".into(),
        };
        assert_eq!(kept.text(&violation), format!("# G1: what\n{text}"));
        assert!(Kept::parse("x".into(), "speed = 7").is_err());
    }
}
