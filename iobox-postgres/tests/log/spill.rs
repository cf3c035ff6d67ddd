//! What leaves the log while its settlement waits.

use iobox_core::store::Settled;

use crate::{
    count, drafts, id_of, pending, settle, settling,
    support::{Owner, Schema, connection, enqueue, run, until_locked_out},
};

/// How many messages are stuck in front: more than a cursor lists.
const STUCK: usize = 300;

/// A settlement makes messages in front leave the log, while another one that read them as logged waits
/// for the cursor.
#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_that_waits_learns_what_left_the_log() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let owner = Owner::new(&store).await;
    enqueue(&store, &drafts("m", STUCK + 1_200)).await;
    let rows = owner.fetch(3_000).await.pending;
    let (stuck, others) = rows.split_at(STUCK);
    let (listed, last) = others.split_at(1_000);
    settle(&owner, listed).await;
    let apart = "select count(*) from {s}.message where state = 0";
    assert_eq!(count(&schema, apart).await, 0, "all is listed so far");

    let mut stopper = connection().await;
    run(&mut stopper, "begin").await;
    let hold = format!(
        "select from \"{}\".message where id = '{}' for update",
        schema.0,
        id_of(&stuck[0])
    );
    run(&mut stopper, hold).await;
    let spilling = settling(&owner, last);
    until_locked_out(&schema, 1, &spilling).await;
    let waiting = settling(&owner, &stuck[10..20]);
    until_locked_out(&schema, 2, &waiting).await;
    run(&mut stopper, "rollback").await;
    for task in [spilling, waiting] {
        let settled = task.await.unwrap().unwrap();
        assert!(settled.iter().all(|one| *one == Settled::Applied));
    }
    assert!(count(&schema, apart).await > 0, "nothing left the log");
    assert_eq!(pending(&store).await, STUCK as u64 - 10);
    assert_eq!(owner.fetch(3_000).await.pending.len(), STUCK - 10);
}
