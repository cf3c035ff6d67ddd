//! Outages: a line that is mute, cut and mended, and readers that end without a word.
//!
//! Where a line cannot be cut, the cases check the same with readers that are dropped.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use iobox_core::{ErrorKind, source::Source as _};
use tokio::time::{sleep, timeout};

use super::{
    Harness,
    support::{LOOK, PATIENCE, Read, ids_of, inbox, open, range, reopen, room, start, store},
};

async fn cut<H: Harness>(harness: &H) {
    if H::CAN_BE_CUT {
        harness.cut().await;
    }
}

async fn mend<H: Harness>(harness: &H) {
    if H::CAN_BE_CUT {
        harness.mend().await;
    }
}

/// A cut ends the reader, and the next one reads on where the position is.
pub async fn a_cut_ends_the_reader<H: Harness>() {
    let harness = H::fresh().await;
    let mut read = Read::default();
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    for round in 0..5 {
        harness.publish(&range(round * 10, round * 10 + 10)).await;
        read.until(reader.as_mut(), round * 10 + 10).await;
        cut(&harness).await;
        if H::CAN_BE_CUT {
            let ended = timeout(PATIENCE, async {
                while read.step(reader.as_mut(), room(10)).await.is_ok() {}
            });
            assert!(ended.await.is_ok(), "the reader does not notice the cut");
        }
        drop(reader);
        mend(&harness).await;
        let epoch = i64::try_from(round).expect("small") + 2;
        reader = reopen(harness.source().as_ref(), read.position.as_ref(), epoch).await;
    }
    let mut ids = read.ids();
    ids.dedup();
    assert_eq!(ids, ids_of(&range(0, 50)));
    reader.close().await;
}

/// Opening and probing a broker that cannot be reached is unavailable, within a bounded time, and works
/// once it can be.
pub async fn an_unreachable_broker_is_unavailable<H: Harness>() {
    let harness = H::fresh().await;
    if H::CAN_BE_CUT {
        harness.cut().await;
        let opened = timeout(PATIENCE, harness.source().open(&start(None, 1))).await;
        let error = opened.expect("open returns").expect_err("no reader");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let probed = timeout(PATIENCE, harness.source().probe()).await;
        let error = probed.expect("probe returns").expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        harness.mend().await;
    }
    harness.publish(&range(0, 3)).await;
    let mut reader = reopen(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 3).await;
    reader.close().await;
}

/// A broker that falls silent holds up nobody for ever: the reader fails or brings empty batches, and
/// what comes after is read.
pub async fn a_silent_broker_is_survived<H: Harness>() {
    let harness = H::fresh().await;
    harness.publish(&range(0, 5)).await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 5).await;
    if H::CAN_BE_CUT {
        harness.mute().await;
        harness.publish(&range(5, 8)).await;
        let probed = timeout(PATIENCE, harness.source().probe()).await;
        let error = probed.expect("probe returns").expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let ended = timeout(PATIENCE, async {
            while let Ok(batch) = reader.next(room(10)).await {
                assert!(batch.is_empty(), "the line is mute");
            }
        });
        assert!(
            ended.await.is_ok(),
            "the reader trusts a silent broker for ever"
        );
        harness.cut().await;
        harness.mend().await;
    } else {
        harness.publish(&range(5, 8)).await;
    }
    drop(reader);
    let mut reader = reopen(harness.source().as_ref(), read.position.as_ref(), 2).await;
    read.until(reader.as_mut(), 8).await;
    reader.close().await;
}

/// An ack that fails is harmless: what was stored does not come again behind the position.
pub async fn a_lost_ack_is_harmless<H: Harness>() {
    let harness = H::fresh().await;
    harness.publish(&range(0, 6)).await;
    let mut reader = open(harness.source().as_ref(), None, 1).await;
    let mut read = Read::default();
    while read.deliveries.len() < 6 {
        let batch = reader.next(room(6)).await.expect("a batch");
        read.deliveries.extend(batch.deliveries);
        read.position = batch.position.or(read.position);
    }
    cut(&harness).await;
    if H::CAN_BE_CUT {
        let acked = timeout(PATIENCE, reader.ack()).await.expect("ack returns");
        assert_eq!(
            acked.map_err(|error| error.kind()),
            Err(ErrorKind::Unavailable)
        );
    }
    drop(reader);
    mend(&harness).await;
    harness.publish(&range(6, 9)).await;
    let mut reader = reopen(harness.source().as_ref(), read.position.as_ref(), 2).await;
    if read.position.is_some() {
        read.until(reader.as_mut(), 9).await;
        assert_eq!(read.ids(), ids_of(&range(0, 9)));
    }
    reader.close().await;
}

/// What each handler run noted: how often each id came.
type Notes = Arc<Mutex<BTreeMap<String, u32>>>;

fn counts(notes: &Notes) -> BTreeMap<String, u32> {
    let notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
    notes.clone()
}

async fn handled(notes: &Notes, count: usize) {
    let all = timeout(PATIENCE * 2, async {
        while counts(notes).len() < count {
            sleep(LOOK).await;
        }
    });
    assert!(
        all.await.is_ok(),
        "{} of {count} are handled",
        counts(notes).len()
    );
}

/// An inbox handles every message once although the line is cut again and again.
pub async fn an_inbox_outlives_cuts<H: Harness>() {
    let harness = H::fresh().await;
    let (store, notes) = (store(), Notes::default());
    let sink = Arc::clone(&notes);
    let note = move |message: &iobox_core::message::Message| {
        let mut notes = sink.lock().unwrap_or_else(PoisonError::into_inner);
        *notes.entry(message.id().to_string()).or_default() += 1;
    };
    let running = inbox(&store, Arc::clone(harness.source()), note).spawn();
    for round in 0..6 {
        harness
            .publish(&range(round * 100, round * 100 + 100))
            .await;
        // Somewhere in the middle of the round.
        handled(&notes, round * 100 + 1).await;
        cut(&harness).await;
        mend(&harness).await;
    }
    handled(&notes, 600).await;
    assert!(
        counts(&notes).values().all(|count| *count == 1),
        "{notes:?}"
    );
    running.drain().await.expect("a drain");
}

/// Two inboxes on one store handle every message once although they are killed again and again.
pub async fn inboxes_outlive_kills<H: Harness>() {
    let harness = H::fresh().await;
    let (store, notes) = (store(), Notes::default());
    let sink = Arc::clone(&notes);
    let note = move |message: &iobox_core::message::Message| {
        let mut notes = sink.lock().unwrap_or_else(PoisonError::into_inner);
        *notes.entry(message.id().to_string()).or_default() += 1;
    };
    let spawn = |source| inbox(&store, source, note.clone()).spawn();
    let mut first = spawn(Arc::clone(harness.source()));
    for round in 0..4 {
        harness
            .publish(&range(round * 100, round * 100 + 100))
            .await;
        let second = spawn(harness.another().await.expect("a source"));
        handled(&notes, round * 100 + 30).await;
        first.kill();
        first = second;
    }
    handled(&notes, 400).await;
    let twice: u32 = counts(&notes).values().map(|count| count - 1).sum();
    // What ran or was not settled at a kill runs again, 16 and 32 by default; nothing is stored twice.
    assert!(twice <= 4 * (16 + 32), "{twice} repetitions");
    first.drain().await.expect("a drain");
}
