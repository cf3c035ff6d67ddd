//! The page: docs/guarantees.md, from the table and the committed figures.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::figures::{Figures, day};
use super::guarantee::{Guarantee, Kills};
use super::table::GUARANTEES;

/// The page.
pub(crate) const PAGE: &str = "docs/guarantees.md";

const HEAD: &str = "\
# Guarantees

What iobox promises, what each promise needs, the tests that would fail if it were broken, and what the last
runs measured. `cargo xtask scorecard` writes this page: sentences come from `xtask/src/scorecard`,
figures from the runs, by way of [docs/figures](figures). `cargo xtask tidy` fails when the page is not what
they make, or when a test that it names is gone. In more words: [delivery](delivery.md).

*Committed* means that the transaction of the enqueue committed. An *ambiguous event* is a crash, a timeout, a
lost reply or a lost lease between a send and its recorded outcome.

## The last runs

";

const LIMITS: &str = "\
## Known limits

* **A broker that forgets.** JetStream with file storage writes what it confirmed through to the disk every
  `sync_interval`, two minutes by default: a power cut may take that much. A killed server takes nothing from NATS
  2.10.23 on; before that it could lose a stream, and the probe warns. Redis with
  `appendfsync everysec` may lose a second at a power cut, and at a killed process what it confirmed while its
  disk was too slow to sync, up to two seconds. Redis without an append-only file loses everything, and is
  refused unless `allow_volatile` insists. Messages that are done stay in the outbox for the retention, and a
  replay sends them again under their ids.
* **The dedup horizon.** JetStream knows an id for its duplicate window. An inbox knows one for
  `redelivery_horizon`, 7 days by default; what arrives later is handled again, and counted if it stood in a
  stream for so long.
* **Power cuts are not simulated.** A killed process leaves the kernel's memory as it is; what survives a power
  cut rests on fsync and on the documentation of the servers.
* **Real runs are not repeated exactly.** A seed of the kill harness repeats which kills are made, in which
  order and after how much work, not the moments of a real machine. A seed of the simulator repeats everything.
";

/// Writes the page.
pub(crate) fn render(figures: &Figures) -> String {
    let mut page = HEAD.to_owned();
    page.push_str(&runs(figures));
    for guarantee in &GUARANTEES {
        section(&mut page, guarantee, figures);
    }
    page.push_str(LIMITS);
    page
}

/// The table of the runs.
fn runs(figures: &Figures) -> String {
    let mut text =
        "| run | day | commit | against | size | violations |\n|---|---|---|---|---|---|\n"
            .to_owned();
    let mut row = |name: &str, run: &Value, against: &str, size: &str| {
        if run.is_null() {
            writeln!(text, "| {name} | not run yet | | | | |").expect("text");
            return;
        }
        let on = run["unix_seconds"].as_u64().map_or_else(String::new, day);
        let commit = run["commit"].as_str().unwrap_or_default();
        let violations = run["violations"].as_u64().map_or_else(String::new, number);
        writeln!(
            text,
            "| {name} | {on} | {commit} | {against} | {size} | {violations} |"
        )
        .expect("text");
    };
    let sim = &figures.sim;
    let size = format!(
        "{} schedules, {} events, {} faults, {} kills in {} s",
        of(sim, "seeds"),
        of(sim, "events"),
        of(sim, "faults"),
        of(sim, "processes_killed"),
        of(sim, "seconds")
    );
    row("`cargo xtask sim`", sim, "memory", &size);
    let model = &figures.model;
    let size = format!(
        "{} states, {} transitions in {} s",
        of(model, "states"),
        of(model, "transitions"),
        of(model, "seconds")
    );
    row("`cargo xtask sim --model`", model, "memory", &size);
    let crash = &figures.crash;
    let size = format!(
        "{} cycles in {} s, seed {}: {}",
        of(crash, "cycles"),
        of(crash, "seconds"),
        of(crash, "seed"),
        kills(crash)
    );
    row("`cargo xtask crash`", crash, &servers(crash), &size);
    let tests = &figures.tests;
    let size = format!(
        "{} tests passed, {} failed",
        of(tests, "passed"),
        of(tests, "failed")
    );
    let against = list(&tests["servers"]);
    row("`cargo xtask test`", tests, &against, &size);
    let fuzz = &figures.fuzz;
    let targets = fuzz["targets"].as_array().map_or(0, Vec::len);
    let against = format!("{targets} parsers and codecs");
    let size = format!(
        "{} inputs in {} s each",
        of(fuzz, "inputs"),
        of(fuzz, "seconds_each")
    );
    row("`cargo xtask fuzz`", fuzz, &against, &size);
    text.push('\n');
    text
}

/// How often who was killed, and how often with work in hand.
fn kills(crash: &Value) -> String {
    let mut kinds = BTreeMap::<&str, (u64, u64)>::new();
    for flow in flows(crash) {
        for (kind, counts) in flow["kills"].as_object().into_iter().flatten() {
            let sum = kinds.entry(kind).or_default();
            sum.0 += counts["kills"].as_u64().unwrap_or(0);
            sum.1 += counts["busy"].as_u64().unwrap_or(0);
        }
    }
    let kinds = kinds.into_iter();
    let kinds: Vec<String> = kinds
        .map(|(kind, (all, busy))| format!("{kind} {all} times ({busy} with work in hand)"))
        .collect();
    kinds.join(", ")
}

fn servers(crash: &Value) -> String {
    let names = flows(crash).map(|flow| list(&flow["servers"]));
    let mut names: Vec<String> = names.collect();
    names.push("SQLite".to_owned());
    names.join(", ")
}

fn flows(crash: &Value) -> impl Iterator<Item = &Value> {
    crash["flows"].as_array().into_iter().flatten()
}

fn section(page: &mut String, guarantee: &Guarantee, figures: &Figures) {
    let Guarantee {
        id,
        name,
        sentence,
        needs,
        ..
    } = guarantee;
    writeln!(page, "## {id}: {name}\n\n{sentence}\n").expect("text");
    writeln!(page, "* **Needs**: {needs}").expect("text");
    writeln!(page, "* **Ends where**: {}", guarantee.limit).expect("text");
    page.push_str("* **Falsified by**:\n");
    for (file, test) in guarantee.tests {
        writeln!(page, "  * [`{test}`](../{file})").expect("text");
    }
    let mut lines = Vec::new();
    lines.extend(planted(id, &figures.sim));
    lines.extend(of_kills(guarantee.kills, &figures.crash));
    lines.extend(cases(id, &figures.conformance));
    if !lines.is_empty() {
        page.push_str("* **Last runs**:\n");
        for line in lines {
            writeln!(page, "  * {line}").expect("text");
        }
    }
    page.push('\n');
}

/// The planted bugs that break a guarantee, and after how many schedules the simulator saw it.
fn planted(id: &str, sim: &Value) -> Option<String> {
    let prefix = format!("{id} ");
    let bugs = sim["planted"].as_array()?.iter();
    let found = bugs.filter(|bug| {
        let invariant = bug["invariant"].as_str();
        invariant.is_some_and(|invariant| invariant.starts_with(&prefix))
    });
    let found: Vec<String> = found
        .map(|bug| {
            let name = bug["bug"].as_str().unwrap_or_default();
            format!("{name} after {}", of(bug, "after_seeds"))
        })
        .collect();
    let what = "simulator: planted bugs that break it were found, in schedules";
    (!found.is_empty()).then(|| format!("{what}: {}", found.join(", ")))
}

fn of_kills(kills: &[Kills], crash: &Value) -> Option<String> {
    if crash.is_null() || kills.is_empty() {
        return None;
    }
    let sum = |field: &str| -> u64 {
        let values = flows(crash).map(|flow| flow[field].as_u64().unwrap_or(0));
        values.sum()
    };
    let figure = |kills: &Kills| {
        let count = number(sum(kills.field));
        let bound = kills
            .bound
            .map(|bound| format!(" (at most {} allowed)", number(sum(bound))));
        format!("{count} {}{}", kills.what, bound.unwrap_or_default())
    };
    let all: Vec<String> = kills.iter().map(figure).collect();
    Some(format!("kill harness: {}", all.join(", ")))
}

/// The cases of the conformance suites that stand for a guarantee.
fn cases(id: &str, sheets: &Value) -> Option<String> {
    let mut all = Vec::new();
    for sheet in sheets.as_array()? {
        let cases = sheet["cases"].as_array().into_iter().flatten();
        let is_for = |case: &&Value| {
            let mut names = case["guarantees"].as_array().into_iter().flatten();
            names.any(|name| name == id)
        };
        let cases: Vec<&Value> = cases.filter(is_for).collect();
        if cases.is_empty() {
            continue;
        }
        let passed = cases.iter().filter(|case| case["passed"] == true).count();
        let text = |field: &str| sheet[field].as_str().unwrap_or_default().to_owned();
        all.push(format!(
            "{} ({}) {passed} of {}",
            text("adapter"),
            text("suite"),
            cases.len()
        ));
    }
    (!all.is_empty()).then(|| format!("conformance cases that passed: {}", all.join(", ")))
}

fn list(value: &Value) -> String {
    let names = value.as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    names.join(", ")
}

/// A number of a run, for people.
fn of(run: &Value, field: &str) -> String {
    run[field].as_u64().map_or_else(|| "?".to_owned(), number)
}

/// With commas between thousands.
fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_readable() {
        let numbers = [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ];
        for (count, text) in numbers {
            assert_eq!(number(count), text);
        }
    }

    #[test]
    fn a_page_without_runs_says_so_and_has_no_figures() {
        let page = render(&Figures::default());
        assert!(page.contains("| `cargo xtask crash` | not run yet |"));
        assert!(!page.contains("**Last runs**"));
        for guarantee in &GUARANTEES {
            assert!(page.contains(&format!("## {}: {}\n", guarantee.id, guarantee.name)));
        }
    }

    #[test]
    fn figures_come_from_the_runs() {
        let flow = |lost: u64| {
            json!({
                "committed": 1_000, "lost": lost, "servers": ["NATS 2"],
                "kills": {"relay": {"kills": 3, "busy": 2}},
            })
        };
        let figures = Figures {
            sim: json!({
                "seeds": 20_000, "unix_seconds": 0, "violations": 0,
                "planted": [{"bug": "A", "after_seeds": 7, "invariant": "G2 nothing is lost"}],
            }),
            crash: json!({"cycles": 200, "violations": 1, "flows": [flow(1), flow(2)]}),
            conformance: json!([{
                "adapter": "iobox-x", "suite": "store",
                "cases": [{"guarantees": ["G2"], "passed": true}, {"guarantees": ["G2"], "passed": false}],
            }]),
            ..Figures::default()
        };
        let page = render(&figures);
        for expected in [
            "| 1970-01-01 |",
            "20,000 schedules",
            "relay 6 times (4 with work in hand)",
            "A after 7",
            "kill harness: 2,000 messages committed, 3 lost on the way",
            "iobox-x (store) 1 of 2",
        ] {
            assert!(page.contains(expected), "{expected}");
        }
    }
}
