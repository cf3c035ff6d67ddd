//! Retries: delays by the store's clock, attempts, reasons, unknown outcomes.

use std::time::Duration;

use iobox_core::store::{Change, State, Verdict};

use super::{
    Harness,
    support::{
        Instance, LATER, clear, dead, dead_because, done, enqueue, entry, keyed, labels,
        partitions, plain, retry, state, suspect, unknown,
    },
};

/// A message that is retried after a delay is not due before it, and due after it, by the store's
/// clock.
pub async fn a_retry_is_due_after_its_delay<H: Harness>() {
    for change in [retry(LATER), unknown(LATER, false)] {
        let harness = H::fresh(partitions(1)).await;
        let one = Instance::owner(harness.store()).await;
        enqueue(&harness, &[plain("a")]).await;
        one.apply(&one.one().await, change).await;
        assert!(one.fetch().await.pending.is_empty(), "not due at once");
        harness.advance(LATER / 2).await;
        assert!(one.fetch().await.pending.is_empty(), "not due at half time");
        harness.advance(LATER / 2).await;
        assert_eq!(labels(&one.fetch().await), ["a"]);
    }
}

/// A message that is retried without a delay is due at once.
pub async fn a_retry_without_a_delay_is_due_at_once<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    for attempt in 1..=5 {
        let mut settlement = one.settlement(&one.one().await, retry(Duration::ZERO));
        settlement.attempt = attempt;
        one.send(&settlement).await;
        assert_eq!(one.one().await.attempt, attempt);
    }
}

/// Delays of milliseconds and of weeks are kept as they are.
pub async fn short_and_long_delays_are_kept<H: Harness>() {
    let week = Duration::from_secs(7 * 24 * 3_600);
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("short"), plain("long")]).await;
    let rows = one.fetch().await.pending;
    one.apply(&rows[0], retry(Duration::from_millis(1_500)))
        .await;
    one.apply(&rows[1], retry(4 * week)).await;
    harness.advance(Duration::from_millis(1_500)).await;
    assert_eq!(labels(&one.fetch().await), ["short"]);
    harness.advance(3 * week).await;
    assert_eq!(labels(&one.fetch().await), ["short"]);
    harness.advance(week).await;
    assert_eq!(labels(&one.fetch().await), ["short", "long"]);
}

/// Due retries and pending messages come together in the order of their seqs; when a limit leaves
/// some out, which of the due retries come is the store's choice.
pub async fn due_retries_come_in_their_old_place<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts: Vec<_> = (0..6).map(plain).collect();
    enqueue(&harness, &drafts).await;
    let rows = one.fetch().await.pending;
    for (at, seconds) in [(4, 0), (1, 30), (3, 10), (0, 60)] {
        one.apply(&rows[at], retry(Duration::from_secs(seconds)))
            .await;
    }
    harness.advance(Duration::from_secs(60)).await;
    assert_eq!(labels(&one.fetch().await), ["0", "1", "2", "3", "4", "5"]);
}

/// Retries that are not due do not hide the messages behind them, however small the fetch.
pub async fn retries_that_are_not_due_hide_nothing<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts: Vec<_> = (0..40).map(plain).collect();
    enqueue(&harness, &drafts).await;
    one.apply_all(&one.fetch().await.pending, &retry(LATER))
        .await;
    enqueue(&harness, &[plain("x")]).await;
    let fetched = one.fetch_each(|part| part.limit = 2).await;
    assert_eq!(labels(&fetched), ["x"]);
    assert!(fetched.more.is_empty(), "what is not due is not more");
}

/// The reason of the last failure is kept, and shown to a person.
pub async fn the_last_reason_is_kept<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let id = enqueue(&harness, &[plain("a")]).await.remove(0);
    for reason in ["timed out", "refused: 'quoted' \"é漢\""] {
        let change = Change::Verdict(Verdict::Retry {
            after: Duration::ZERO,
            reason: reason.into(),
        });
        one.apply(&one.one().await, change).await;
        let entry = entry(harness.store().as_ref(), &id).await;
        assert_eq!(entry.reason.as_deref(), Some(reason));
    }
}

/// A long reason is cut at 1,000 bytes, between two characters.
pub async fn a_long_reason_is_cut_between_characters<H: Harness>() {
    for (reason, kept) in [
        ("x".repeat(5_000), 1_000),
        ("漢".repeat(1_000), 999),
        (format!("x{}", "é".repeat(900)), 999),
        ("x".repeat(1_000), 1_000),
    ] {
        let harness = H::fresh(partitions(1)).await;
        let one = Instance::owner(harness.store()).await;
        let id = enqueue(&harness, &[plain("a")]).await.remove(0);
        one.apply(&one.one().await, dead_because(&reason, false))
            .await;
        let stored = entry(harness.store().as_ref(), &id).await.reason;
        assert_eq!(stored.as_deref(), reason.get(..kept));
    }
}

/// A message that once had an unknown outcome stays uncertain through retries, release, takeover,
/// death and replay.
pub async fn an_unknown_outcome_is_remembered_for_ever<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let id = enqueue(&harness, &[keyed("k", "a")]).await.remove(0);
    let store = harness.store().as_ref();
    assert!(!one.one().await.uncertain);
    one.apply(&one.one().await, unknown(Duration::ZERO, false))
        .await;
    assert!(one.one().await.uncertain);
    one.apply(&one.one().await, retry(Duration::ZERO)).await;
    one.apply(&one.one().await, suspect(0)).await;
    one.apply(&one.one().await, clear(0)).await;
    assert!(one.one().await.uncertain, "a retry does not clear it");
    let heir = Instance::heir(&harness).await;
    assert!(heir.one().await.uncertain, "a takeover does not clear it");
    heir.apply(&heir.one().await, dead(true)).await;
    assert!(entry(store, &id).await.uncertain, "death does not clear it");
    super::support::replay_one(store, &id).await;
    assert!(heir.one().await.uncertain, "a replay does not clear it");
    heir.apply(&heir.one().await, done()).await;
    assert!(entry(store, &id).await.uncertain, "it is history now");
}

/// A retry alone makes nothing uncertain.
pub async fn a_known_failure_is_not_uncertain<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    one.apply(&one.one().await, retry(Duration::ZERO)).await;
    let row = one.one().await;
    assert!(!row.uncertain && !row.alone, "{row:?}");
}

/// An unknown outcome that was not counted makes the message run alone until its next verdict.
pub async fn alone_lasts_until_the_next_verdict<H: Harness>() {
    for next in [retry(Duration::ZERO), unknown(Duration::ZERO, false)] {
        let harness = H::fresh(partitions(1)).await;
        let one = Instance::owner(harness.store()).await;
        enqueue(&harness, &[plain("a")]).await;
        one.apply(&one.one().await, unknown(Duration::ZERO, true))
            .await;
        assert!(one.one().await.alone);
        one.apply(&one.one().await, suspect(1)).await;
        assert!(one.one().await.alone, "a mark is no verdict");
        one.apply(&one.one().await, clear(0)).await;
        assert!(one.one().await.alone, "nor is its end");
        let heir = Instance::heir(&harness).await;
        assert!(heir.one().await.alone, "nor is a takeover");
        heir.apply(&heir.one().await, next).await;
        assert!(!heir.one().await.alone);
    }
}

/// An unknown outcome that is not alone leaves the message among the others.
pub async fn a_counted_unknown_outcome_is_not_alone<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    one.apply(&one.one().await, unknown(Duration::ZERO, false))
        .await;
    let row = one.one().await;
    assert!(row.uncertain && !row.alone, "{row:?}");
}

/// Retries survive a takeover with their attempts and their due times.
pub async fn retries_survive_a_takeover<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let id = enqueue(&harness, &[plain("a")]).await.remove(0);
    let mut settlement = one.settlement(&one.one().await, retry(LATER));
    settlement.attempt = 4;
    one.send(&settlement).await;
    let heir = Instance::heir(&harness).await;
    assert!(heir.fetch().await.pending.is_empty(), "it is not due yet");
    assert_eq!(state(harness.store().as_ref(), &id).await, State::Retrying);
    harness.advance(LATER).await;
    assert_eq!(heir.one().await.attempt, 4);
}
