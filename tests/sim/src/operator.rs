//! The operator: after the heal, replays or discards every dead letter, so that everything ends.

use iobox_core::{
    memory::MemoryStore,
    message::MessageId,
    queue::Queue,
    store::{Admin, Filter, Page, Selection, State},
};

use crate::history::{Event, History};

/// Deals with the dead letters. Returns how many there were.
pub(crate) async fn deal_with_dead(
    store: &MemoryStore,
    history: &History,
    random: &mut fastrand::Rng,
) -> usize {
    let queue = Queue::Outbox;
    let dead = Filter {
        states: vec![State::Dead],
        ..Filter::default()
    };
    let entries = store
        .list(&queue, &dead, Page::default())
        .await
        .expect("the page is valid");
    for entry in &entries {
        let id = MessageId::new(&entry.id).expect("ids are valid");
        let one = Selection::One(id);
        // What cannot be decoded would die again.
        let undecodable = entry
            .reason
            .as_deref()
            .is_some_and(|r| r.contains("decoded"));
        if undecodable || random.bool() {
            store
                .discard(&queue, &one, false)
                .await
                .expect("memory does not fail");
            history.add(Event::Discarded {
                id: entry.id.clone(),
            });
        } else {
            let replayed = store
                .replay(&queue, &one, false)
                .await
                .expect("memory does not fail");
            history.add(Event::Replayed {
                id: entry.id.clone(),
                out_of_order: replayed.out_of_order > 0,
            });
        }
    }
    entries.len()
}
