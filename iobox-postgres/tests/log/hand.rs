//! What a person changes while messages are settled.

use std::sync::Arc;

use iobox_core::{
    queue::Queue,
    store::{Admin, Selection, Settled, State},
};

use crate::{
    done, drafts, id_of, pending, settling,
    support::{Owner, Schema, connection, enqueue, id, run, until_locked_out},
};

/// The settlement has read the message, and waits for the cursor that the discard holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_waits_for_a_discard_learns_of_it() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let owner = Owner::new(&store).await;
    enqueue(&store, &drafts("m", 3)).await;
    let rows = owner.fetch(10).await.pending;
    assert_eq!(id_of(&rows[1]), "m-1");
    let mut stopper = connection().await;
    run(&mut stopper, "begin").await;
    let hold = format!(
        "select from \"{}\".message where id = 'm-1' for update",
        schema.0
    );
    run(&mut stopper, hold).await;
    let discarding = {
        let store = Arc::clone(&store);
        let selection = Selection::One(id("m-1"));
        tokio::spawn(async move { store.discard(&Queue::Outbox, &selection, false).await })
    };
    until_locked_out(&schema, 1, &discarding).await;
    let settling = settling(&owner, &rows);
    until_locked_out(&schema, 2, &settling).await;
    run(&mut stopper, "rollback").await;
    assert_eq!(discarding.await.unwrap().unwrap().count, 1);
    assert_eq!(
        settling.await.unwrap().unwrap(),
        [Settled::Applied, Settled::Superseded, Settled::Applied]
    );
    let entry = store.get(&Queue::Outbox, &id("m-1")).await.unwrap();
    assert_eq!(entry.unwrap().state, State::Discarded);
    assert_eq!(pending(&store).await, 0);
    assert_eq!(done(&schema).await, 2);
}
