//! The verdict: what the evidence of one flow says about its guarantees.

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};

use crate::{
    oracle::Known,
    plan::{Kind, WORKERS},
    support::checker::{Accepted, Committed, check},
    tally::Tally,
    worker::{NOTED_MAX, SENT_MAX},
};

/// What is there once nothing runs any more.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) known: Known,
    /// The table of the business, written in the transactions of the enqueues.
    pub(crate) history: Vec<Committed>,
    /// What the broker holds.
    pub(crate) stream: Vec<Accepted>,
    /// The rows of the transactional handler.
    pub(crate) effects: Vec<Accepted>,
    /// The log of the plain handler.
    pub(crate) notes: Vec<Accepted>,
    /// What the relays noted when the broker had confirmed it.
    pub(crate) confirmed: Vec<Accepted>,
    pub(crate) dead: u64,
    pub(crate) unsettled: u64,
    /// Instances that are still registered.
    pub(crate) left: usize,
    pub(crate) unrouted: u64,
    /// What was not handled when the load ended.
    pub(crate) backlog: u64,
    pub(crate) took: Duration,
    pub(crate) drain_max: Duration,
    /// Whether the broker keeps one copy of what is sent twice.
    pub(crate) absorbs_copies: bool,
}

/// Figures, and a sentence for each guarantee that was broken.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) figures: Value,
    pub(crate) violations: Vec<String>,
}

/// Judges one flow.
pub(crate) fn judge(evidence: &Evidence, tally: &Tally) -> Verdict {
    let mut violations = evidence.known.contradictions(&evidence.history);
    let stream = check(&evidence.history, &evidence.stream);
    let effects = check(&evidence.history, &evidence.effects);
    let notes = check(&evidence.history, &evidence.notes);
    let places = [
        ("stream", &stream),
        ("effects", &effects),
        ("notes", &notes),
    ];
    for (place, report) in places {
        let lists = [
            ("lost", &report.lost),
            ("never committed", &report.phantom),
            ("reordered", &report.reordered),
        ];
        for (what, ids) in lists {
            if !ids.is_empty() {
                let few: Vec<&String> = ids.iter().take(5).collect();
                violations.push(format!("{place}: {} {what}, such as {few:?}", ids.len()));
            }
        }
    }
    if !stream.lost.is_empty() {
        let confirmed = evidence.confirmed.iter().map(|one| one.id.as_str());
        let confirmed: HashSet<&str> = confirmed.collect();
        let lost = stream.lost.iter();
        let forgotten = lost.filter(|id| confirmed.contains(id.as_str())).count();
        violations.push(format!(
            "stream: {forgotten} of the lost had been confirmed"
        ));
    }
    let stream_max = if evidence.absorbs_copies {
        0
    } else {
        SENT_MAX * (tally.kills(Kind::Relay) + WORKERS * tally.kills(Kind::Broker))
    };
    let notes_max = NOTED_MAX * (tally.kills(Kind::Inbox) + WORKERS * tally.kills(Kind::Postgres));
    let bounds = [
        ("copies in the stream", stream.duplicates, stream_max),
        ("effects twice", effects.duplicates, 0),
        ("messages noted again", notes.duplicates, notes_max),
        ("instances left", evidence.left, 0),
    ];
    for (what, count, max) in bounds {
        if count > max {
            violations.push(format!("{what}: {count} of at most {max}"));
        }
    }
    let none = [
        ("dead", evidence.dead),
        ("unsettled", evidence.unsettled),
        ("unrouted", evidence.unrouted),
    ];
    for (what, count) in none {
        if count > 0 {
            violations.push(format!("{count} messages are {what}"));
        }
    }
    if evidence.took > evidence.drain_max {
        let (took, max) = (evidence.took, evidence.drain_max);
        violations.push(format!("drained in {took:.1?} of at most {max:.1?}"));
    }
    let sum = |field: fn(&crate::support::checker::Report) -> usize| -> usize {
        places.iter().map(|(_, report)| field(report)).sum()
    };
    let figures = json!({
        "committed": evidence.history.len(),
        "confirmed_to_writers": evidence.known.committed.len(),
        "transactions_rolled_back": evidence.known.rolled_back.len(),
        "transactions_unknown": evidence.known.unknown.len(),
        "transactions_unknown_found": evidence.known.found(&evidence.history),
        "in_stream": evidence.stream.len(),
        "lost": sum(|report| report.lost.len()),
        "reordered": sum(|report| report.reordered.len()),
        "never_committed": sum(|report| report.phantom.len()),
        "stream_copies": stream.duplicates,
        "stream_copies_max": stream_max,
        "absorbed_by_broker": evidence.confirmed.iter().filter(|one| one.is_duplicate()).count(),
        "effects": evidence.effects.len(),
        "effects_twice": effects.duplicates,
        "noted": evidence.notes.len(),
        "noted_again": notes.duplicates,
        "noted_again_max": notes_max,
        "dead": evidence.dead,
        "backlog_at_end_of_load": evidence.backlog,
        "drained_ms": u64::try_from(evidence.took.as_millis()).unwrap_or(u64::MAX),
        "drained_ms_max": u64::try_from(evidence.drain_max.as_millis()).unwrap_or(u64::MAX),
        "two_at_once": tally.doubles,
        "starts_in_vain": tally.vain_starts,
    });
    Verdict {
        figures,
        violations,
    }
}
