//! Settling: what each change does to a row, when it does not apply, and repeating it.

use std::time::Duration;

use iobox_core::store::{Change, Entry, Pending, Revision, Settled, Settlement, State};

use super::{
    Harness,
    support::{
        Instance, LATER, clear, dead, discard_one, done, duplicate, enqueue, entry, keyed,
        partitions, plain, replay_one, retry, state, states, suspect, unknown,
    },
};

/// Every change, with the state that a pending row has after it.
fn changes() -> [(Change, State); 8] {
    [
        (done(), State::Done),
        (duplicate(), State::Done),
        (retry(LATER), State::Retrying),
        (unknown(LATER, true), State::Retrying),
        (dead(true), State::Dead),
        (dead(false), State::Dead),
        (suspect(1), State::Pending),
        (clear(1), State::Pending),
    ]
}

/// A row settled as done is done, and is not fetched again.
pub async fn done_is_done<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    one.apply(&one.one().await, done()).await;
    assert_eq!(states(harness.store().as_ref()).await, [State::Done]);
    assert!(one.fetch().await.pending.is_empty());
}

/// Each change brings a pending row into its state.
pub async fn each_change_brings_a_row_into_its_state<H: Harness>() {
    for (change, expected) in changes() {
        let (harness, one, row, id) = one_row::<H>().await;
        one.apply(&row, change.clone()).await;
        let after = entry(harness.store().as_ref(), &id).await;
        assert_eq!(after.state, expected, "{change:?}");
        let closed = matches!(expected, State::Done | State::Dead);
        assert_eq!(after.settled_at.is_some(), closed, "{change:?}");
    }
}

/// Each change applies to a row that is retrying as well; marks keep it retrying.
pub async fn each_change_applies_to_a_retrying_row<H: Harness>() {
    for (change, expected) in changes() {
        let (harness, one, row, id) = one_row::<H>().await;
        one.apply(&row, retry(Duration::ZERO)).await;
        one.apply(&one.one().await, change.clone()).await;
        let expected = match expected {
            State::Pending => State::Retrying,
            other => other,
        };
        let after = state(harness.store().as_ref(), &id).await;
        assert_eq!(after, expected, "{change:?}");
    }
}

/// Every change that applies records the attempts it names, as an absolute number.
pub async fn each_change_records_the_attempts<H: Harness>() {
    for (change, _) in changes() {
        let (harness, one, row, id) = one_row::<H>().await;
        let mut settlement = one.settlement(&row, change.clone());
        settlement.attempt = 7;
        assert_eq!(one.send(&settlement).await, Settled::Applied);
        let after = entry(harness.store().as_ref(), &id).await;
        assert_eq!(after.attempt, 7, "{change:?}");
    }
}

/// A settlement that is repeated after a lost reply is applied again without changing anything.
pub async fn a_repeated_settlement_changes_nothing<H: Harness>() {
    for (change, _) in changes() {
        let (harness, one, row, id) = one_row::<H>().await;
        let mut settlement = one.settlement(&row, change.clone());
        settlement.attempt = 1;
        assert_eq!(one.send(&settlement).await, Settled::Applied);
        let once = entry(harness.store().as_ref(), &id).await;
        harness.advance(Duration::from_secs(1)).await;
        for _ in 0..2 {
            assert_eq!(one.send(&settlement).await, Settled::Applied, "{change:?}");
        }
        let after = entry(harness.store().as_ref(), &id).await;
        assert_eq!(facts(&after), facts(&once), "{change:?}");
    }
}

/// A repeated mark raises the revision once: the next settlement names the one after it.
pub async fn a_repeated_mark_raises_the_revision_once<H: Harness>() {
    for change in [suspect(2), clear(2), retry(Duration::ZERO)] {
        let (_harness, one, row, _) = one_row::<H>().await;
        let settlement = one.settlement(&row, change.clone());
        one.send(&settlement).await;
        one.send(&settlement).await;
        let again = one.one().await;
        assert_eq!(again.revision, row.revision.next(), "{change:?}");
        one.apply(&again, done()).await;
    }
}

/// A repeated retry does not push back when the row is due.
pub async fn a_repeated_retry_keeps_its_due_time<H: Harness>() {
    let (harness, one, row, _) = one_row::<H>().await;
    let settlement = one.settlement(&row, retry(LATER));
    assert_eq!(one.send(&settlement).await, Settled::Applied);
    harness.advance(LATER / 2).await;
    assert_eq!(one.send(&settlement).await, Settled::Applied);
    harness.advance(LATER / 2).await;
    assert_eq!(one.fetch().await.pending.len(), 1);
}

/// A settlement that names an older revision than the row has is superseded, unless it repeats the
/// last change.
pub async fn an_older_revision_is_superseded<H: Harness>() {
    for (change, _) in changes() {
        let (harness, one, row, id) = one_row::<H>().await;
        one.apply(&row, suspect(1)).await;
        one.apply(&one.one().await, clear(1)).await;
        let before = entry(harness.store().as_ref(), &id).await;
        assert_eq!(one.settle(&row, change.clone()).await, Settled::Superseded);
        let after = entry(harness.store().as_ref(), &id).await;
        assert_eq!(facts(&after), facts(&before), "{change:?}");
    }
}

/// A settlement that names a revision that the row does not have yet is superseded.
pub async fn a_revision_of_the_future_is_superseded<H: Harness>() {
    let (harness, one, row, id) = one_row::<H>().await;
    for ahead in [1, 2, 100] {
        let settlement = Settlement {
            revision: Revision(row.revision.0 + ahead),
            ..one.settlement(&row, done())
        };
        assert_eq!(one.send(&settlement).await, Settled::Superseded);
    }
    assert_eq!(state(harness.store().as_ref(), &id).await, State::Pending);
}

/// A settlement that contradicts the one that was applied is superseded.
pub async fn a_contradiction_is_superseded<H: Harness>() {
    let contradictions = [
        (done(), retry(LATER)),
        (done(), dead(true)),
        (done(), suspect(1)),
        (done(), clear(1)),
        (retry(LATER), done()),
        (retry(LATER), dead(true)),
        (retry(LATER), suspect(1)),
        (dead(true), done()),
        (dead(true), unknown(LATER, false)),
        (suspect(1), clear(0)),
        (clear(0), suspect(1)),
        (suspect(1), done()),
    ];
    for (first, second) in contradictions {
        let (harness, one, row, id) = one_row::<H>().await;
        one.apply(&row, first.clone()).await;
        let before = entry(harness.store().as_ref(), &id).await;
        let settled = one.settle(&row, second.clone()).await;
        assert_eq!(settled, Settled::Superseded, "{second:?} after {first:?}");
        let after = entry(harness.store().as_ref(), &id).await;
        assert_eq!(facts(&after), facts(&before), "{second:?} after {first:?}");
    }
}

/// Every change is superseded once a person discarded the row.
pub async fn a_discard_supersedes_every_change<H: Harness>() {
    for (change, _) in changes() {
        let (harness, one, row, id) = one_row::<H>().await;
        discard_one(harness.store().as_ref(), &id).await;
        let settled = one.settle(&row, change.clone()).await;
        assert_eq!(settled, Settled::Superseded, "{change:?}");
        let after = state(harness.store().as_ref(), &id).await;
        assert_eq!(after, State::Discarded, "{change:?}");
    }
}

/// Every change is superseded once a person discarded and replayed the row, which is pending again.
pub async fn a_replay_supersedes_every_change<H: Harness>() {
    for (change, _) in changes() {
        let (harness, one, row, id) = one_row::<H>().await;
        discard_one(harness.store().as_ref(), &id).await;
        replay_one(harness.store().as_ref(), &id).await;
        let settled = one.settle(&row, change.clone()).await;
        assert_eq!(settled, Settled::Superseded, "{change:?}");
        one.apply(&one.one().await, done()).await;
    }
}

/// A repetition of a verdict is superseded once a person has replayed the row that it closed.
pub async fn a_verdict_repeated_after_a_replay_is_superseded<H: Harness>() {
    for change in [done(), dead(true)] {
        let (harness, one, row, id) = one_row::<H>().await;
        let settlement = one.settlement(&row, change);
        assert_eq!(one.send(&settlement).await, Settled::Applied);
        replay_one(harness.store().as_ref(), &id).await;
        assert_eq!(one.send(&settlement).await, Settled::Superseded);
        assert_eq!(state(harness.store().as_ref(), &id).await, State::Pending);
        // The verdict and the replay are two changes, also where a verdict leaves the row as it is.
        let again = one.one().await;
        assert_eq!(again.revision, row.revision.next().next());
    }
}

/// A settlement of a row that is gone is superseded.
pub async fn a_row_that_is_gone_is_superseded<H: Harness>() {
    let (harness, one, row, id) = one_row::<H>().await;
    let settlement = one.settlement(&row, done());
    assert_eq!(one.send(&settlement).await, Settled::Applied);
    harness.advance(LATER).await;
    let purged = super::support::purge(harness.store().as_ref(), LATER / 2, 10).await;
    assert_eq!(purged, 1);
    assert_eq!(one.send(&settlement).await, Settled::Superseded, "{id}");
}

/// Each change applies to a row that was set aside after it was fetched, with the revision that it was
/// fetched with; marks keep it waiting.
pub async fn each_change_applies_to_a_waiting_row<H: Harness>() {
    for (change, expected) in changes() {
        let (harness, one, row, id) = one_row::<H>().await;
        one.set_aside(std::slice::from_ref(&row)).await;
        assert_eq!(state(harness.store().as_ref(), &id).await, State::Waiting);
        one.apply(&row, change.clone()).await;
        let expected = match expected {
            State::Pending => State::Waiting,
            other => other,
        };
        let after = state(harness.store().as_ref(), &id).await;
        assert_eq!(after, expected, "{change:?}");
    }
}

/// The results of a call stand in the order of its settlements, whatever partitions and changes they
/// mix.
pub async fn results_stand_in_the_order_of_the_settlements<H: Harness>() {
    let harness = H::fresh(partitions(4)).await;
    let one = Instance::owner(harness.store()).await;
    let drafts: Vec<_> = (0..40).map(|n| keyed(&format!("k{n}"), n)).collect();
    enqueue(&harness, &drafts).await;
    let mut rows = one.fetch().await.pending;
    rows.sort_by_key(|row| row.seq);
    let settlements: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(n, row)| {
            let (change, _) = changes()[n % 8].clone();
            let mut settlement = one.settlement(row, change);
            settlement.revision.0 += i32::from(n % 3 == 0);
            settlement
        })
        .collect();
    let settled = one.send_all(&settlements).await;
    for (n, settled) in settled.iter().enumerate() {
        let expected = [Settled::Superseded, Settled::Applied][usize::from(n % 3 != 0)];
        assert_eq!(*settled, expected, "settlement {n}");
    }
    let after = states(harness.store().as_ref()).await;
    for (n, state) in after.iter().enumerate() {
        let applied = changes()[n % 8].1;
        let expected = [State::Pending, applied][usize::from(n % 3 != 0)];
        assert_eq!(*state, expected, "row {n}");
    }
}

/// A row that is superseded does not keep its neighbours in the same call from being settled.
pub async fn a_superseded_row_leaves_its_neighbours_alone<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let ids = enqueue(&harness, &[plain("a"), plain("b"), plain("c")]).await;
    let rows = one.fetch().await.pending;
    discard_one(harness.store().as_ref(), &ids[1]).await;
    let settlements: Vec<_> = rows.iter().map(|row| one.settlement(row, done())).collect();
    let settled = one.send_all(&settlements).await;
    assert_eq!(
        settled,
        [Settled::Applied, Settled::Superseded, Settled::Applied]
    );
}

/// A call without settlements does nothing and succeeds.
pub async fn no_settlements_are_no_results<H: Harness>() {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    enqueue(&harness, &[plain("a")]).await;
    assert_eq!(one.send_all(&[]).await, []);
    assert_eq!(states(harness.store().as_ref()).await, [State::Pending]);
}

/// What a settlement may change of an entry.
fn facts(entry: &Entry) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        entry.state,
        entry.attempt,
        entry.uncertain,
        entry.halts,
        entry.reason.clone(),
        entry.settled_at,
    )
}

/// A store with one message with a key, fetched.
async fn one_row<H: Harness>() -> (
    H,
    Instance<H::Store>,
    Pending,
    iobox_core::message::MessageId,
) {
    let harness = H::fresh(partitions(1)).await;
    let one = Instance::owner(harness.store()).await;
    let id = enqueue(&harness, &[keyed("k", "a")]).await.remove(0);
    let row = one.one().await;
    (harness, one, row, id)
}
