//! Several processes on one file.

use std::collections::BTreeSet;

use iobox_core::{message::Draft, store::State};

use super::{
    child::{Role, start},
    fixture::{enqueue, migrated, states},
};

#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_enqueue_and_nothing_is_lost() {
    let (file, _store) = migrated().await;
    let children: Vec<_> = (0..8)
        .map(|name| start(Role::Enqueue(60), &file.path(), name))
        .collect();
    let committed: usize = children.into_iter().map(|child| child.finish().len()).sum();
    assert_eq!(committed, 8 * 60);
    assert_eq!(file.number("SELECT count(*) FROM iobox_outbox"), 8 * 60);
    assert_eq!(file.number("SELECT count(*) FROM iobox_content"), 8 * 60);
    // Of one key, which is one process here, later enqueues have later seqs.
    let disordered = file.number(
        "SELECT count(*) FROM (SELECT CAST(substr(CAST(payload AS TEXT), 3) AS INTEGER) AS at, \
         lag(CAST(substr(CAST(payload AS TEXT), 3) AS INTEGER)) OVER (PARTITION BY key ORDER BY seq) \
         AS before FROM iobox_outbox JOIN iobox_content USING (seq)) WHERE before >= at",
    );
    assert_eq!(disordered, 0);
    assert!(file.is_sound());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_process_had_committed_is_there() {
    let (file, store) = migrated().await;
    for round in 0..5 {
        let mut child = start(Role::Enqueue(1_000_000), &file.path(), round);
        let mut committed: Vec<String> = (0..30)
            .map(|_| child.line().expect("it goes on for long"))
            .collect();
        committed.extend(child.kill());
        let kept: BTreeSet<String> = {
            let conn = file.connect();
            let mut select = conn
                .prepare("SELECT CAST(payload AS TEXT) FROM iobox_content")
                .expect("a statement");
            let rows = select.query_map([], |row| row.get(0)).expect("rows");
            rows.collect::<Result<_, _>>().expect("texts")
        };
        for label in &committed {
            assert!(kept.contains(label), "{label} was committed");
        }
        let prefix = format!("{round}-");
        let own = kept
            .iter()
            .filter(|label| label.starts_with(&prefix))
            .count();
        assert_eq!(
            own % 3,
            0,
            "a transaction is there as a whole or not at all"
        );
        assert!(file.is_sound());
        // The lock of the dead is gone.
        enqueue(&store, vec![Draft::new("after.kill", "x")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_share_the_partitions_settle_each_message_once() {
    let (file, store) = migrated().await;
    let drafts = (0..300)
        .map(|at| Draft::new("orders.created", format!("m-{at}")).key(at % 40))
        .collect();
    enqueue(&store, drafts).await;
    let children: Vec<_> = (0..4)
        .map(|name| start(Role::Work, &file.path(), name))
        .collect();
    let settled: Vec<String> = children
        .into_iter()
        .flat_map(super::child::Process::finish)
        .collect();
    let distinct: BTreeSet<&String> = settled.iter().collect();
    assert_eq!((settled.len(), distinct.len()), (300, 300));
    assert!(
        states(&store)
            .await
            .iter()
            .all(|state| *state == State::Done)
    );
    assert_eq!(file.number("SELECT count(*) FROM iobox_instance"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_migrate_at_once_agree() {
    let file = super::fixture::File::new();
    let children: Vec<_> = (0..8)
        .map(|name| start(Role::Migrate, &file.path(), name))
        .collect();
    let origins: BTreeSet<Vec<String>> = children
        .into_iter()
        .map(super::child::Process::finish)
        .collect();
    assert_eq!(origins.len(), 1, "one origin: {origins:?}");
    assert_eq!(file.number("SELECT count(*) FROM iobox_migration"), 4);
    assert_eq!(file.number("SELECT count(*) FROM iobox_partition"), 16);
}
