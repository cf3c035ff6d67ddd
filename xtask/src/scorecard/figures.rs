//! The figures: what the last runs left behind, committed under docs/figures.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cargo::cargo;

/// Where the committed figures are.
const FOLDER: &str = "docs/figures";
/// The runs that leave a file of their own in target/.
const RUNS: [&str; 5] = ["sim", "model", "crash", "tests", "fuzz"];
/// The conformance suites leave a sheet for each adapter in a folder there.
const SHEETS: &str = "conformance";

/// The figures of the last runs; `Null` for what was never run.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) sim: Value,
    pub(crate) model: Value,
    pub(crate) crash: Value,
    pub(crate) tests: Value,
    pub(crate) fuzz: Value,
    /// Sheets of the conformance suites.
    pub(crate) conformance: Value,
}

impl Figures {
    /// Reads what is committed.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let one = |name: &str| read(&root.join(FOLDER).join(format!("{name}.json")));
        Ok(Self {
            sim: one("sim")?,
            model: one("model")?,
            crash: one("crash")?,
            tests: one("tests")?,
            fuzz: one("fuzz")?,
            conformance: one(SHEETS)?,
        })
    }
}

/// Takes over what runs left in target/. Returns the names.
pub(crate) fn take_over(root: &Path) -> Result<Vec<String>> {
    let target = root.join("target");
    let mut taken = Vec::new();
    let head = head()?;
    for run in RUNS {
        let from = target.join(format!("{run}.json"));
        let mut figures = read(&from)?;
        if figures.is_null() {
            continue;
        }
        if figures["commit"].is_null() {
            figures["commit"] = head.as_str().into();
        }
        write(root, run, &figures)?;
        // They are the figures of this commit, and of no later one.
        fs::remove_file(&from).with_context(|| format!("cannot remove {}", from.display()))?;
        taken.push(run.to_owned());
    }
    let mut sheets = Vec::new();
    if let Ok(folder) = fs::read_dir(target.join("sheets")) {
        let files = folder.map(|file| file.map(|file| file.path()));
        let mut files = files.collect::<Result<Vec<_>, _>>()?;
        files.sort();
        for file in files {
            match read(&file)? {
                Value::Array(more) => sheets.extend(more),
                sheet => sheets.push(sheet),
            }
        }
    }
    if !sheets.is_empty() {
        write(root, SHEETS, &sheets.into())?;
        taken.push(SHEETS.to_owned());
    }
    Ok(taken)
}

fn read(path: &Path) -> Result<Value> {
    if !path.exists() {
        return Ok(Value::Null);
    }
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

fn write(root: &Path, name: &str, figures: &Value) -> Result<()> {
    let folder = root.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {FOLDER}"))?;
    let text = serde_json::to_string_pretty(figures).context("figures are JSON")?;
    let path = folder.join(format!("{name}.json"));
    fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// The commit that is checked out, in short.
fn head() -> Result<String> {
    let place = cargo();
    let mut git = std::process::Command::new("git");
    git.args(["rev-parse", "--short=12", "HEAD"]);
    if let Some(folder) = place.get_current_dir() {
        git.current_dir(folder);
    }
    let output = git.output().context("cannot run git")?;
    ensure!(output.status.success(), "git knows no commit here");
    let text = String::from_utf8(output.stdout).context("git answers with text")?;
    Ok(text.trim().to_owned())
}

/// The day of a time in seconds since 1970, as in 2026-11-25.
///
/// After H. Hinnant, "chrono-compatible low-level date algorithms" (`civil_from_days`).
pub(crate) fn day(unix_seconds: u64) -> String {
    let days = unix_seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let years = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = years + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let days = [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_795_630_127, "2026-11-25"),
        ];
        for (seconds, expected) in days {
            assert_eq!(day(seconds), expected);
        }
    }
}
