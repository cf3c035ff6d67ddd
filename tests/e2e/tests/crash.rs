//! The kill harness draws the kills that it promises, and sees what it must see.

#![allow(
    clippy::disallowed_methods,
    reason = "what the tests share lives on the machine's clock"
)]
#![allow(dead_code, reason = "the harness uses the rest")]

#[path = "../crash/oracle.rs"]
mod oracle;
#[path = "../crash/plan.rs"]
mod plan;
mod support;
#[path = "../crash/tally.rs"]
mod tally;
#[path = "../crash/verdict.rs"]
mod verdict;
#[path = "../crash/worker.rs"]
mod worker;

use std::{collections::BTreeMap, fs, time::Duration};

use oracle::{End, Known, Oracle};
use plan::{Event, Kind, POSTGRES, SQLITE, draw, split};
use support::checker::{Accepted, Committed};
use tally::Tally;
use verdict::{Evidence, judge};

/// The cycles of `cargo xtask ci`.
const CI_CYCLES: usize = 120;

fn kinds(events: &[Event]) -> BTreeMap<Kind, usize> {
    let mut kinds = BTreeMap::new();
    for victim in events.iter().flat_map(|event| &event.victims) {
        *kinds.entry(victim.kind()).or_default() += 1;
    }
    kinds
}

#[test]
fn every_seed_draws_the_kills_that_ci_promises() {
    let [first, second] = split(CI_CYCLES);
    for seed in 0..1_000 {
        let postgres = draw(first, POSTGRES, seed);
        assert_eq!(postgres, draw(first, POSTGRES, seed), "a seed is a plan");
        let (postgres, sqlite) = (kinds(&postgres), kinds(&draw(second, SQLITE, seed)));
        let workers = |kinds: &BTreeMap<Kind, usize>| kinds[&Kind::Relay] + kinds[&Kind::Inbox];
        assert!(workers(&postgres) + workers(&sqlite) >= 60, "{seed}");
        assert!(postgres[&Kind::Postgres] >= 30, "{seed}: {postgres:?}");
        assert!(postgres[&Kind::Broker] >= 20, "{seed}: {postgres:?}");
        assert!(sqlite[&Kind::Broker] >= 20, "{seed}: {sqlite:?}");
    }
}

#[test]
fn some_events_kill_two_of_different_kinds() {
    let events = draw(60, POSTGRES, 7);
    let doubles: Vec<&Event> = events.iter().filter(|one| one.victims.len() == 2).collect();
    assert_eq!(doubles.len(), 10);
    for event in doubles {
        assert_ne!(event.victims[0].kind(), event.victims[1].kind());
    }
}

fn row(id: &str, position: i64) -> Committed {
    Committed {
        id: id.to_owned(),
        key: Some("a".to_owned()),
        position,
    }
}

fn seen(ids: &[&str]) -> Vec<Accepted> {
    let one = |id: &&str| Accepted {
        id: (*id).to_owned(),
        key: Some("a".to_owned()),
        run: "-".to_owned(),
    };
    ids.iter().map(one).collect()
}

/// Two messages of a key that went through everything, and one transaction that was rolled back.
fn evidence() -> Evidence {
    let history = vec![row("w0-0-a-1", 1), row("w0-1-a-2", 2)];
    let all = seen(&["w0-0-a-1", "w0-1-a-2"]);
    Evidence {
        known: Known {
            committed: history.iter().map(|row| row.id.clone()).collect(),
            rolled_back: ["w0-2-".to_owned()].into(),
            unknown: ["w0-3-".to_owned()].into(),
        },
        history,
        stream: all.clone(),
        effects: all.clone(),
        notes: all,
        confirmed: seen(&["w0-0-a-1"]),
        dead: 0,
        unsettled: 0,
        left: 0,
        unrouted: 0,
        backlog: 0,
        took: Duration::from_secs(1),
        drain_max: Duration::from_secs(2),
        absorbs_copies: true,
    }
}

/// What is said of the evidence once `change` was made to it.
fn violations(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut evidence = evidence();
    change(&mut evidence);
    judge(&evidence, &Tally::default()).violations
}

#[test]
fn a_run_in_which_all_is_well_has_no_violation() {
    assert_eq!(violations(|_| ()), [""; 0]);
    // A transaction without an answer may be there, if everything of it is.
    let found = violations(|evidence| {
        evidence.history.push(row("w0-3-a-3", 3));
        let all = seen(&["w0-0-a-1", "w0-1-a-2", "w0-3-a-3"]);
        (evidence.stream, evidence.effects) = (all.clone(), all.clone());
        evidence.notes = all;
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn every_violation_is_seen() {
    type Change = fn(&mut Evidence);
    let changes: [(&str, Change); 15] = [
        ("is not in the database", |all| {
            all.known.committed.insert("w1-0-a-9".to_owned());
        }),
        ("was never committed", |all| {
            all.history.push(row("w0-2-a-3", 3))
        }),
        ("stream: 1 lost", |all| drop(all.stream.pop())),
        ("stream: 0 of the lost had been confirmed", |all| {
            drop(all.stream.pop());
        }),
        ("stream: 1 of the lost had been confirmed", |all| {
            drop(all.stream.remove(0));
        }),
        ("effects: 1 lost", |all| drop(all.effects.pop())),
        ("notes: 1 lost", |all| drop(all.notes.pop())),
        ("effects: 1 never committed", |all| {
            all.effects.extend(seen(&["w0-2-a-3"]))
        }),
        ("stream: 1 reordered", |all| all.stream.reverse()),
        ("copies in the stream: 1 of at most 0", |all| {
            all.stream.extend(seen(&["w0-0-a-1"]))
        }),
        ("effects twice: 1 of at most 0", |all| {
            all.effects.extend(seen(&["w0-0-a-1"]))
        }),
        ("messages noted again: 1 of at most 0", |all| {
            all.notes.extend(seen(&["w0-0-a-1"]))
        }),
        ("1 messages are dead", |all| all.dead = 1),
        ("1 messages are unsettled", |all| all.unsettled = 1),
        ("drained in 3.0s of at most 2.0s", |all| {
            all.took = Duration::from_secs(3)
        }),
    ];
    for (expected, change) in changes {
        let found = violations(change);
        assert!(
            found.iter().any(|one| one.contains(expected)),
            "{expected}: {found:?}"
        );
    }
}

#[test]
fn copies_are_allowed_for_kills_alone() {
    let mut tally = Tally::default();
    tally.killed(Kind::Inbox, true);
    let mut evidence = evidence();
    evidence.notes.extend(seen(&["w0-0-a-1"]));
    assert_eq!(judge(&evidence, &tally).violations, [""; 0]);
}

#[test]
fn what_the_oracle_wrote_it_reads() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("oracle");
    let oracle = Oracle::open(&file).expect("a file");
    let ends = [
        ("w0-0-", End::Committed(vec![row("w0-0-a-1", 1)])),
        ("w0-1-", End::RolledBack),
        ("w0-2-", End::Unknown),
    ];
    for (prefix, end) in ends {
        oracle.write(prefix, &end).expect("written");
    }
    let known = Known::read(&fs::read_to_string(file).expect("text")).expect("lines");
    assert_eq!(known.committed, ["w0-0-a-1".to_owned()].into());
    assert_eq!(known.rolled_back, ["w0-1-".to_owned()].into());
    assert_eq!(known.unknown, ["w0-2-".to_owned()].into());
    assert_eq!(known.found(&[row("w0-2-a-2", 2)]), 1);
}
