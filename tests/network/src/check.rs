//! What must hold once everything has ended.

use std::collections::{BTreeMap, BTreeSet};

use iobox::store::{Entry, State};

use crate::{
    driver::{BATCH, IN_FLIGHT},
    ledger::{Seen, Sent, Written},
    script::Script,
};

/// # Panics
/// When something was lost, made up, reordered, done twice, or repeated without need.
pub(crate) fn check(script: &Script, written: &[Written], seen: &Seen) {
    let name = script.name;
    let rows: BTreeSet<&str> = seen.outbox.iter().map(|row| row.id.as_str()).collect();
    all_written(name, written, &rows);
    settled(name, "outbox", &seen.outbox, 1);
    // A handler whose transaction is broken off has run, which counts; one that gets none has not.
    let runs = if seen.handles_there {
        1 + script.breaks()
    } else {
        1
    };
    settled(name, "inbox", &seen.inbox, runs);

    // Nothing is lost on the way, and nothing made up.
    let arrived: BTreeSet<&str> = seen.log.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(arrived, rows, "{name}: the broker's log");
    let handled: BTreeSet<&str> = seen.inbox.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(handled, rows, "{name}: the rows of the handler");
    let once: BTreeMap<&str, usize> = rows.iter().map(|id| (*id, 1)).collect();
    let effects: BTreeMap<&str, usize> = seen
        .effects
        .iter()
        .map(|(id, count)| (id.as_str(), *count))
        .collect();
    assert_eq!(effects, once, "{name}: every effect, once");

    let unknown: usize = seen.sends.values().map(Sent::unknown).sum();
    assert!(
        unknown > 0 || !script.silences || seen.handles_there,
        "{name}: every publish was answered"
    );
    in_order(name, written, seen);
    copies(script, seen);
}

/// Everything whose COMMIT was confirmed is there, and nothing that nobody wrote.
fn all_written(name: &str, written: &[Written], rows: &BTreeSet<&str>) {
    let known: BTreeSet<&str> = written.iter().map(|one| one.id.as_str()).collect();
    for one in written.iter().filter(|one| one.certain) {
        assert!(
            rows.contains(one.id.as_str()),
            "{name}: {} was committed",
            one.id
        );
    }
    let phantoms: Vec<_> = rows.difference(&known).collect();
    assert!(phantoms.is_empty(), "{name}: nobody wrote {phantoms:?}");
}

/// Every row is done, and no outage was counted as its fault.
fn settled(name: &str, what: &str, rows: &[Entry], attempts_max: usize) {
    let attempts_max = u32::try_from(attempts_max).expect("a short script");
    let harmed: Vec<_> = rows
        .iter()
        .filter(|row| row.state != State::Done || row.attempt > attempts_max)
        .collect();
    assert!(
        harmed.is_empty(),
        "{name}: {} rows of the {what} such as {:?}",
        harmed.len(),
        harmed.first()
    );
}

/// The first copies of a key are in the order of their COMMITs, as far as those are known.
fn in_order(name: &str, written: &[Written], seen: &Seen) {
    let certain = written.iter().filter(|one| one.certain);
    let places: BTreeMap<&str, &Written> = certain.map(|one| (one.id.as_str(), one)).collect();
    let mut known = BTreeSet::new();
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &seen.log {
        if !known.insert(one.id.as_str()) {
            continue;
        }
        let Some(place) = places.get(one.id.as_str()) else {
            continue;
        };
        assert_eq!(one.key.as_deref(), Some(place.key.as_str()), "{name}");
        if let Some(before) = last.insert(&place.key, place.position) {
            assert!(before < place.position, "{name}: {} is late", one.id);
        }
    }
}

/// There are no more copies than unknown outcomes, and no more of those than were in flight.
fn copies(script: &Script, seen: &Seen) {
    let name = script.name;
    let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
    for one in &seen.log {
        *copies.entry(one.id.as_str()).or_default() += 1;
    }
    let mut again = 0;
    for (id, count) in copies {
        let sent = seen.sends.get(id).copied().unwrap_or_default();
        let most = if seen.absorbs {
            1
        } else {
            sent.taken + sent.unknown()
        };
        assert!(count <= most, "{name}: {count} copies of {id}, {sent:?}");
        again += (sent.taken + sent.unknown()).saturating_sub(1);
    }
    let most = (IN_FLIGHT + BATCH) * script.breaks();
    assert!(
        again <= most,
        "{name}: {again} sent again, {most} are possible"
    );
}
