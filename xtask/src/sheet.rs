//! `cargo xtask sheet`: the guarantee sheets of the adapters, and the table of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use iobox_testkit::guarantee::Guarantee;
use iobox_testkit::servers::adopt_orphans;
use iobox_testkit::sheet::{FOLDER, Sheet, Suite};

use crate::cargo::{cargo, check, root};
use crate::leftovers;
use crate::servers::Servers;

/// The page with the table.
pub(crate) const PAGE: &str = "docs/conformance.md";

/// Where the sheets are kept, each a file of JSON.
pub(crate) const SHEETS: &str = "docs/conformance";

/// Between these lines of the page stands what is generated.
const BEGIN: &str = "<!-- `cargo xtask sheet` writes from here -->";
const END: &str = "<!-- to here -->";

/// The packages that certify an adapter, and their tests that do.
const PACKAGES: [&str; 6] = [
    "iobox",
    "iobox-testkit",
    "iobox-sqlite",
    "iobox-postgres",
    "iobox-nats",
    "iobox-redis",
];
const TESTS: [&str; 6] = [
    "conformance",
    "memory",
    "brokers",
    "sources",
    "source",
    "custom_store",
];

/// Run the conformance suites of every adapter and write their guarantee sheets.
///
/// The sheets go to docs/conformance/, the table of them into docs/conformance.md.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Only write the table, from the sheets that are there
    #[arg(long)]
    table: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.table {
        let sheets = certify()?;
        keep(&sheets)?;
    }
    let sheets = kept(&root())?;
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {PAGE}"))?;
    fs::write(&path, with_table(&page, &sheets)?)
        .with_context(|| format!("cannot write {PAGE}"))?;
    println!("{}", summary(&sheets));
    Ok(())
}

/// Runs the suites.
fn certify() -> Result<Vec<Sheet>> {
    adopt_orphans()?;
    let servers = Servers::find()?;
    println!("{servers}");
    let folder = tempfile::tempdir().context("cannot make a folder for the sheets")?;
    let mut command = cargo();
    command.args(["test", "--locked", "--no-fail-fast"]);
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    for test in TESTS {
        command.args(["--test", test]);
    }
    command
        .envs(servers.environment())
        .env(FOLDER, folder.path());
    let tested = check(&mut command);
    servers.stop().and_then(|()| leftovers::check())?;
    let sheets = Sheet::gather(folder.path()).context("cannot read the sheets")?;
    for sheet in &sheets {
        for failed in sheet.failed() {
            eprintln!("{} ({}): {failed} failed", sheet.adapter, sheet.suite);
        }
    }
    tested.map(|()| sheets)
}

/// Keeps sheets as files, instead of those that were there.
fn keep(sheets: &[Sheet]) -> Result<()> {
    ensure!(!sheets.is_empty(), "no suite wrote a sheet");
    let folder = root().join(SHEETS);
    if folder.exists() {
        fs::remove_dir_all(&folder).context("cannot remove the old sheets")?;
    }
    fs::create_dir_all(&folder).context("cannot make the folder of the sheets")?;
    for sheet in sheets {
        let mut text = serde_json::to_string_pretty(sheet).context("a sheet is no JSON")?;
        text.push('\n');
        let path = folder.join(sheet.file_name());
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The sheets that are kept below `root`, by suite and name.
pub(crate) fn kept(root: &Path) -> Result<Vec<Sheet>> {
    let mut paths = Vec::<PathBuf>::new();
    for file in fs::read_dir(root.join(SHEETS)).context("there are no sheets")? {
        paths.push(file.context("cannot list the sheets")?.path());
    }
    paths.retain(|path| path.extension().is_some_and(|end| end == "json"));
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no sheet", path.display()))
    };
    let mut sheets = paths.iter().map(read).collect::<Result<Vec<Sheet>>>()?;
    sheets.sort_by_key(|sheet| (sheet.suite, sheet.file_name()));
    Ok(sheets)
}

/// The page with the table of these sheets.
pub(crate) fn with_table(page: &str, sheets: &[Sheet]) -> Result<String> {
    let Some((before, rest)) = page.split_once(BEGIN) else {
        bail!("{PAGE} has no line `{BEGIN}`");
    };
    let Some((_, after)) = rest.split_once(END) else {
        bail!("{PAGE} has no line `{END}`");
    };
    Ok(format!(
        "{before}{BEGIN}\n\n{}\n{END}{after}",
        generated(sheets)
    ))
}

fn generated(sheets: &[Sheet]) -> String {
    let mut text = format!("{}\n", summary(sheets));
    for suite in Suite::ALL {
        let sheets: Vec<&Sheet> = sheets.iter().filter(|sheet| sheet.suite == suite).collect();
        let columns: Vec<Guarantee> = Guarantee::ALL
            .into_iter()
            .filter(|one| {
                suite
                    .cases()
                    .iter()
                    .any(|case| case.guarantees().contains(one))
            })
            .collect();
        let _ = writeln!(
            text,
            "\n### The suite `{suite}`: {} cases\n",
            suite.cases().len()
        );
        let names: String = columns.iter().map(|one| format!(" {one} |")).collect();
        let _ = writeln!(text, "| adapter | server | cases |{names}");
        let _ = writeln!(text, "|---|---|---|{}", "---|".repeat(columns.len()));
        for sheet in &sheets {
            let server = sheet.server.as_deref().unwrap_or("–");
            let passed = sheet.cases.iter().filter(|case| case.passed).count();
            let count = format!("{passed} of {}", suite.cases().len());
            let cells: String = columns.iter().map(|one| cell(sheet, *one)).collect();
            let name = format!("[{}](conformance/{})", sheet.adapter, sheet.file_name());
            let _ = writeln!(text, "| {name} | {server} | {count} |{cells}");
        }
        text.push_str(&capabilities(&sheets));
    }
    text
}

/// How many of the cases that stand for a guarantee passed; only the number when all did.
fn cell(sheet: &Sheet, guarantee: Guarantee) -> String {
    let name = guarantee.to_string();
    let stands = sheet
        .cases
        .iter()
        .filter(|case| case.guarantees.contains(&name));
    let (passed, all) = stands.fold((0, 0), |(passed, all), case| {
        (passed + u32::from(case.passed), all + 1)
    });
    if passed == all {
        format!(" {all} |")
    } else {
        format!(" **{passed} of {all}** |")
    }
}

/// The capabilities in which the adapters of a suite differ.
fn capabilities(sheets: &[&Sheet]) -> String {
    let mut by_name: BTreeMap<&str, BTreeMap<String, Vec<&str>>> = BTreeMap::new();
    for sheet in sheets {
        for (name, value) in &sheet.capabilities {
            let values = by_name.entry(name).or_default();
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            values.entry(value).or_default().push(&sheet.adapter);
        }
    }
    let mut text = String::from("\n| capability | value | adapters |\n|---|---|---|\n");
    for (name, values) in by_name {
        let one = values.len() == 1;
        for (value, adapters) in values {
            let who = if one {
                String::from("all")
            } else {
                adapters.join("; ")
            };
            let _ = writeln!(text, "| `{name}` | {value} | {who} |");
        }
    }
    text
}

fn summary(sheets: &[Sheet]) -> String {
    let named: usize = Suite::ALL.iter().map(|suite| suite.cases().len()).sum();
    let ran: usize = sheets.iter().map(|sheet| sheet.cases.len()).sum();
    let passed = sheets.iter().flat_map(|sheet| &sheet.cases);
    let passed = passed.filter(|case| case.passed).count();
    format!(
        "{named} named cases in {} suites; {} sheets, {ran} results, {passed} passed.",
        Suite::ALL.len(),
        sheets.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(passed: bool) -> Sheet {
        let json = format!(
            r#"{{"adapter": "Mine", "suite": "store", "server": null,
                "capabilities": {{"concurrent_writers": true}},
                "cases": [{{"noun": "fence", "name": "x", "guarantees": ["G5"], "passed": {passed}}}]}}"#
        );
        serde_json::from_str(&json).expect("a sheet")
    }

    #[test]
    fn the_table_counts_by_guarantee() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nz\n");
        let good = with_table(&page, &[sheet(true)]).expect("a page");
        assert!(good.starts_with("a\n") && good.ends_with("\nz\n") && !good.contains("old"));
        assert!(
            good.contains("| [Mine](conformance/store-mine.json) | – | 1 of "),
            "{good}"
        );
        assert!(
            good.contains("| `concurrent_writers` | true | all |"),
            "{good}"
        );
        assert_eq!(with_table(&good, &[sheet(true)]).expect("a page"), good);
        let bad = with_table(&page, &[sheet(false)]).expect("a page");
        assert!(bad.contains(" **0 of 1** |"), "{bad}");
    }

    #[test]
    fn a_page_without_marks_is_an_error() {
        assert!(with_table("nothing", &[]).is_err());
    }
}
