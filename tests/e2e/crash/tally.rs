//! The tally: who was killed how often, and how often with work in hand.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::plan::Kind;

/// Counts of one flow.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    kinds: BTreeMap<Kind, (usize, usize)>,
    /// Events that killed two at once.
    pub(crate) doubles: usize,
    /// Workers that ended before they were ready, since their server was away.
    pub(crate) vain_starts: usize,
}

impl Tally {
    pub(crate) fn killed(&mut self, kind: Kind, busy: bool) {
        let (kills, met) = self.kinds.entry(kind).or_default();
        *kills += 1;
        *met += usize::from(busy);
    }

    /// How often this kind was killed.
    pub(crate) fn kills(&self, kind: Kind) -> usize {
        self.kinds.get(&kind).map_or(0, |(kills, _)| *kills)
    }

    /// As JSON, with the kinds named as in this flow.
    pub(crate) fn json(&self, broker: &str) -> Value {
        let entry = |(kind, (kills, busy)): (&Kind, &(usize, usize))| {
            let name = match kind {
                Kind::Relay => "relay",
                Kind::Inbox => "inbox",
                Kind::Postgres => "postgres",
                Kind::Broker => broker,
            };
            (name.to_owned(), json!({"kills": kills, "busy": busy}))
        };
        Value::Object(self.kinds.iter().map(entry).collect::<Map<_, _>>())
    }
}
