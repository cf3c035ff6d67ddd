//! The operations of a program that a person does.

use std::{collections::BTreeSet, sync::Arc};

use iobox_core::{
    message::MessageId,
    queue::Queue,
    store::{Admin, Entry, Selection, Seq, State},
};

use super::run::{Program, UNIT};
use crate::suite::{
    Harness,
    support::{entries, purge},
};

impl<H: Harness> Program<H> {
    pub(super) async fn replay(&mut self) {
        let store = Arc::clone(self.harness.store());
        let (selection, taken) = match self.rng.u8(..4) {
            0 => {
                let listed = entries(store.as_ref()).await;
                let done: Vec<_> = listed
                    .iter()
                    .filter(|one| one.state == State::Done)
                    .collect();
                let Some(since) = self.rng.choice(done.iter()).and_then(|one| one.settled_at)
                else {
                    return;
                };
                let taken = done.iter().filter(|one| one.settled_at >= Some(since));
                (
                    Selection::published_since(since),
                    taken.map(|one| one.seq).collect(),
                )
            }
            1 => match self.one() {
                Some(one) => one,
                None => return,
            },
            _ => {
                let mut filter = self.filter();
                let selection = Selection::Matching(filter.clone());
                if filter.states.is_empty() {
                    filter.states.push(State::Dead);
                }
                (selection, self.taken(&filter))
            }
        };
        self.log.note(format_args!("replay {selection:?}"));
        let dry = store
            .replay(&Queue::Outbox, &selection, true)
            .await
            .expect("replay");
        let wet = store
            .replay(&Queue::Outbox, &selection, false)
            .await
            .expect("replay");
        let number = wet.replay.map_or(-1, |replay| replay.0);
        let (count, least, most) = self.model.replay(number, |row| taken.contains(&row.seq));
        assert_eq!((wet.count, wet.more), (count, false));
        assert!(
            (least..=most).contains(&wet.out_of_order),
            "{wet:?} and {least}..={most}"
        );
        assert_eq!(wet.replay.is_some(), count > 0, "{wet:?}");
        assert_eq!(
            (dry.count, dry.out_of_order, dry.replay),
            (wet.count, wet.out_of_order, None)
        );
        self.replays.extend(wet.replay.map(|replay| replay.0));
    }

    pub(super) async fn discard(&mut self) {
        let (selection, taken) = if self.rng.bool() {
            match self.one() {
                Some(one) => one,
                None => return,
            }
        } else {
            let filter = self.filter();
            (Selection::Matching(filter.clone()), self.taken(&filter))
        };
        self.log.note(format_args!("discard {selection:?}"));
        let store = self.harness.store();
        let discarded = store
            .discard(&Queue::Outbox, &selection, false)
            .await
            .expect("discard");
        let count = self.model.discard(|row| taken.contains(&row.seq));
        assert_eq!((discarded.count, discarded.more), (count, false));
    }

    pub(super) async fn purge(&mut self) {
        // Half a unit beside every time of the model, so that nothing is settled just then.
        let retention = UNIT * self.rng.u32(..4) + UNIT / 2;
        let limit = self.rng.choice([1, 3, 1_000]).unwrap_or(1);
        self.log.note(format_args!("purge {retention:?}, {limit}"));
        let store = self.harness.store().as_ref();
        let before = entries(store).await;
        let count = purge(store, retention, limit).await;
        let left: BTreeSet<Seq> = entries(store).await.iter().map(|entry| entry.seq).collect();
        let old = self.model.purgeable(retention);
        let gone = |entry: &&Entry| !left.contains(&entry.seq);
        let removed: Vec<_> = before.iter().filter(gone).collect();
        assert_eq!(count, removed.len() as u64);
        assert_eq!(
            removed.len(),
            old.len().min(usize::try_from(limit).expect("small"))
        );
        assert!(
            removed.iter().all(|entry| old.contains(&entry.seq)),
            "{removed:?} of {old:?}"
        );
        let newest = removed.iter().filter_map(|entry| entry.settled_at).max();
        let kept = before
            .iter()
            .filter(|e| old.contains(&e.seq) && left.contains(&e.seq));
        let oldest = kept.filter_map(|entry| entry.settled_at).min();
        assert!(oldest.is_none() || newest <= oldest, "the oldest go first");
        self.model.rows.retain(|row| left.contains(&row.seq));
    }

    pub(super) async fn corrupt(&mut self) {
        let Some(at) = self.some_row() else { return };
        let row = &mut self.model.rows[at];
        self.log.note(format_args!("corrupt {:?}", row.seq));
        row.corrupt = true;
        let id = MessageId::new(&row.id).expect("an id of the store's");
        self.harness.corrupt(&id).await;
    }
}
