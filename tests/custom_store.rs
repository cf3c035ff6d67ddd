//! Certifies the store of the example `custom_store`.

#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../examples/file_store/mod.rs"]
mod file_store;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use file_store::{FileStore, FileTx, slip::Slip};
use iobox::{
    ErrorKind, Relay, Result,
    memory::MemoryBroker,
    message::{Draft, MessageId},
    partition::Partitions,
    queue::Queue,
    store::{Admin as _, Enqueue as _, Enqueued, Filter, Page, Store as _},
};
use iobox_testkit::{
    Certification,
    suite::{Harness, Misfit, OpenTransaction},
};
use tempfile::TempDir;

/// The store in a folder of its own; with the slip of this number.
struct Kept<const SLIP: usize> {
    store: Arc<FileStore>,
    _folder: TempDir,
}

struct Open(Arc<FileStore>, FileTx);

/// Every slip, by its number.
const SLIPS: [Slip; 7] = [
    Slip::None,
    Slip::NoFence,
    Slip::SameEpoch,
    Slip::NoOrder,
    Slip::NoRevision,
    Slip::NoTransaction,
    Slip::ForgetsIds,
];

#[async_trait]
impl<const SLIP: usize> Harness for Kept<SLIP> {
    type Store = FileStore;
    type Open = Open;

    const CONCURRENT_WRITERS: bool = true;

    fn adapter() -> Option<String> {
        (SLIP == 0).then(|| String::from("FileStore (example)"))
    }

    async fn fresh(partitions: Partitions) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let path = folder.path().join("outbox.jsonl");
        let store = FileStore::with(&path, partitions, SLIPS[SLIP]).expect("a store");
        store.migrate().await.expect("migrate");
        Self {
            store: Arc::new(store),
            _folder: folder,
        }
    }

    fn store(&self) -> &Arc<FileStore> {
        &self.store
    }

    async fn another(&self) -> Arc<FileStore> {
        Arc::clone(&self.store)
    }

    async fn begin(&self) -> Result<Open> {
        Ok(Open(Arc::clone(&self.store), self.store.begin()))
    }

    async fn advance(&self, by: Duration) {
        self.store.advance(by);
    }

    async fn corrupt(&self, id: &MessageId) {
        self.store.corrupt(id).await.expect("a row is spoilt");
    }

    async fn misfit(misfit: Misfit) -> Option<Arc<FileStore>> {
        let mut folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        // The store outlives the harness.
        folder.disable_cleanup(true);
        let open = |partitions| {
            FileStore::open(&folder.path().join("outbox.jsonl"), partitions).expect("a store")
        };
        Some(Arc::new(match misfit {
            Misfit::NotMigrated => open(Partitions::DEFAULT),
            Misfit::Newer => {
                let store = open(Partitions::DEFAULT);
                store.migrate_as(1_000).await.expect("migrate");
                store
            }
            Misfit::Partitions { made, configured } => {
                open(made).migrate().await.expect("migrate");
                open(configured)
            }
        }))
    }
}

#[async_trait]
impl OpenTransaction for Open {
    async fn enqueue(&mut self, drafts: &[Draft]) -> Result<Vec<Enqueued>> {
        self.0.enqueue(&mut self.1, drafts).await
    }

    async fn commit(self) -> Result<()> {
        self.1.commit().await
    }

    async fn rollback(self) -> Result<()> {
        self.1.rollback();
        Ok(())
    }
}

iobox_testkit::store_suite!(Kept<0>);

/// The suite asks for nothing of a store that is opened again; this one lives in a file.
#[tokio::test]
async fn a_store_that_is_opened_again_has_what_it_had() {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().join("outbox.jsonl");
    let open = || FileStore::open(&path, Partitions::DEFAULT).expect("a store");
    let store = open();
    store.migrate().await.expect("migrate");
    let mut tx = store.begin();
    let drafts: Vec<_> = (0..100).map(|n| Draft::new("a", "b").key(n % 7)).collect();
    store.enqueue(&mut tx, &drafts).await.expect("enqueue");
    tx.commit().await.expect("commit");
    let broker = MemoryBroker::new();
    let relay = Relay::builder(store.clone(), broker.clone()).build();
    let relay = relay.expect("a relay").spawn();
    let empty = relay.wait_until_empty(Duration::from_secs(30)).await;
    empty.expect("everything is published");
    relay.drain().await.expect("a drain");
    let (before, origin) = (seen(&store).await, store.open(&Queue::Outbox).await);
    let locked = FileStore::open(&path, Partitions::DEFAULT);
    assert_eq!(
        locked.expect_err("it is open").kind(),
        ErrorKind::Unavailable
    );
    drop(store);
    let again = open();
    assert_eq!(seen(&again).await, before);
    assert_eq!(again.open(&Queue::Outbox).await.ok(), origin.ok());
    assert_eq!(broker.len(), 100);
}

/// Everything that a person sees of a store, and its epochs.
async fn seen(store: &FileStore) -> String {
    let page = Page {
        after: None,
        limit: 1_000,
    };
    let listed = store.list(&Queue::Outbox, &Filter::default(), page).await;
    let partitions = store.stats(&Queue::Outbox).await.expect("stats").partitions;
    format!("{:?} {partitions:?}", listed.expect("a listing"))
}

/// What fails of the suite, or of one file of it, but for races, which a mistake may win.
fn failed<const SLIP: usize>(slip: Slip, noun: Option<&str>) -> Vec<String> {
    assert_eq!(SLIPS[SLIP], slip);
    let suite = Certification::of_store::<Kept<SLIP>>().patience(Duration::from_secs(20));
    let sheet = match noun {
        Some(noun) => suite.only(noun).run(),
        None => suite.run(),
    };
    let mut failed = sheet.failed();
    failed.retain(|name| !name.contains("racing") && !name.starts_with("race::"));
    failed
}

#[test]
fn a_store_without_a_fence_fails_by_name() {
    assert_eq!(
        failed::<1>(Slip::NoFence, None),
        [
            "fence::an_older_epoch_settles_nothing",
            "fence::a_settle_after_ones_own_release_is_refused",
            "fence::an_epoch_of_the_future_settles_nothing",
            "fence::a_repetition_after_a_takeover_is_refused",
            "fence::an_expired_owner_settles_until_a_takeover",
            "fence::partitions_are_fenced_one_by_one",
            "fence::an_older_epoch_releases_nothing",
            "fence::an_older_epoch_sets_nothing_aside",
            "fence::a_fetch_after_ones_own_release_moves_nothing",
            "program::random_programs_agree_with_the_model",
        ]
    );
}

#[test]
fn a_store_that_keeps_epochs_fails_by_name() {
    assert_eq!(
        failed::<2>(Slip::SameEpoch, Some("lease")),
        [
            "lease::every_acquisition_raises_the_epoch",
            "lease::every_takeover_raises_the_epoch",
            "lease::a_grant_whose_reply_was_lost_is_granted_again",
            "lease::an_epoch_that_the_owner_does_not_know_is_granted_again",
            "lease::an_unknown_epoch_is_granted_again_beyond_the_share",
        ]
    );
}

#[test]
fn a_store_without_an_order_fails_by_name() {
    assert_eq!(
        failed::<3>(Slip::NoOrder, Some("halt")),
        [
            "halt::messages_enqueued_after_a_halt_wait_too",
            "halt::a_halt_survives_a_takeover",
            "halt::a_key_is_halted_until_its_last_dead_message_is_gone",
            "halt::a_second_death_halts_again",
            "halt::a_halt_reaches_only_forward",
        ]
    );
}

#[test]
fn a_store_that_ignores_revisions_fails_by_name() {
    assert_eq!(
        failed::<4>(Slip::NoRevision, Some("settle")),
        [
            "settle::a_repeated_settlement_changes_nothing",
            "settle::a_repeated_retry_keeps_its_due_time",
            "settle::an_older_revision_is_superseded",
            "settle::a_revision_of_the_future_is_superseded",
            "settle::a_contradiction_is_superseded",
            "settle::a_replay_supersedes_every_change",
            "settle::a_verdict_repeated_after_a_replay_is_superseded",
            "settle::results_stand_in_the_order_of_the_settlements",
        ]
    );
}

#[test]
fn a_store_without_transactions_fails_by_name() {
    assert_eq!(
        failed::<5>(Slip::NoTransaction, Some("late")),
        [
            "late::a_message_exists_from_its_commit_on",
            "late::rolled_back_messages_never_appear",
            "late::messages_of_a_dropped_transaction_never_appear",
            "late::a_late_commit_is_delivered",
            "late::a_late_commit_is_not_blocked_by_later_messages",
            "late::a_rolled_back_seq_leaves_a_gap",
        ]
    );
}

#[test]
fn a_store_that_forgets_ids_fails_by_name() {
    assert_eq!(
        failed::<6>(Slip::ForgetsIds, Some("duplicate")),
        [
            "duplicate::an_id_outlives_its_message",
            "duplicate::an_id_is_forgotten_after_its_message",
        ]
    );
}
