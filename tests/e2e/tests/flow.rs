//! From an outbox through a broker into an inbox: relays, ingesters and handlers are killed at the
//! worst moments, the broker too, and every committed message has its effects once.

#![allow(
    clippy::disallowed_methods,
    reason = "kills and processes live on the machine's clock"
)]

mod support;

use std::{sync::Arc, time::Instant};

use async_nats::jetstream::stream::RetentionPolicy;
use support::{
    broker::Broker,
    checker::check,
    database::Database,
    flow::{BOOK, Flow, NOTE, UNKNOWN_MAX},
    log, number,
};
use tokio::sync::Mutex;

/// One at a time: each wants the whole machine.
static ALONE: Mutex<()> = Mutex::const_new(());

fn messages() -> u64 {
    number("IOBOX_E2E_MESSAGES").unwrap_or(5_000)
}

async fn postgres() -> [Arc<Database>; 2] {
    [Database::postgres().await, Database::postgres().await]
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_to_jetstream_to_postgres_has_every_effect_once() {
    let _alone = ALONE.lock().await;
    let broker = Broker::jetstream().await;
    let flow = Flow::start(postgres().await, broker, messages()).await;
    through(flow, messages()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_to_redis_to_sqlite_has_every_effect_once() {
    let _alone = ALONE.lock().await;
    let databases = [Database::sqlite().await, Database::sqlite().await];
    let flow = Flow::start(databases, Broker::redis().await, messages()).await;
    through(flow, messages()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_interest_has_every_effect_once() {
    let _alone = ALONE.lock().await;
    removing(RetentionPolicy::Interest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_queue_has_every_effect_once() {
    let _alone = ALONE.lock().await;
    removing(RetentionPolicy::WorkQueue).await;
}

/// Everybody is killed, where it hurts most and where it happens to be.
async fn through(mut flow: Flow, messages: u64) {
    let started = Instant::now();
    let sent = flow.kill_sender().await;
    flow.pass(1).await;
    let read = flow.kill_where("read").await;
    flow.pass(2).await;
    let stored = flow.kill_where("stored").await;
    flow.pass(3).await;
    flow.kill_some_relay();
    flow.kill_where("handling").await;
    flow.pass(4).await;
    flow.kill_broker();
    flow.pass(5).await;
    flow.kill_where("noted").await;
    flow.pass(6).await;
    flow.kill_some_inbox();
    flow.pass(7).await;
    flow.kill_where("handling").await;
    let (committed, rolled_back) = flow.end().await;
    let took = started.elapsed();
    let copies = assert_right(&flow, committed).await;
    assert!(committed >= messages && rolled_back * 30 > committed);
    println!(
        "{committed} messages, {rolled_back} rolled back, in {took:.1?}; killed: 2 relays, one with \
         {sent} sent, {} inboxes, one with {read} read and one with {stored} stored, the broker once; \
         {copies} messages noted twice",
        flow.inboxes_killed
    );
    assert!(copies >= 1, "the one that was noted and not settled");
    remove(&flow).await;
}

/// A stream that removes what was acked keeps what was not.
async fn removing(retention: RetentionPolicy) {
    let messages = messages() * 3 / 10;
    let broker = Broker::jetstream_with(retention).await;
    let mut flow = Flow::start(postgres().await, broker, messages).await;
    let started = Instant::now();
    let sent = flow.kill_sender().await;
    flow.pass(2).await;
    let read = flow.kill_where("read").await;
    flow.pass(4).await;
    let stored = flow.kill_where("stored").await;
    flow.pass(6).await;
    flow.kill_broker();
    let (committed, rolled_back) = flow.end().await;
    let took = started.elapsed();
    let copies = assert_right(&flow, committed).await;
    println!(
        "{retention:?}: {committed} messages, {rolled_back} rolled back, in {took:.1?}; killed: a relay \
         with {sent} sent, an inbox with {read} read and one with {stored} stored, the broker once; \
         {copies} messages noted twice"
    );
    remove(&flow).await;
}

/// Looks at everything once nothing runs any more. Returns how often the plain handler ran again.
async fn assert_right(flow: &Flow, committed: u64) -> usize {
    let history = flow.from.history().await;
    assert_eq!(history.len() as u64, committed);

    let booked = check(&history, &flow.to.effects(BOOK).await);
    booked.assert_clean();
    assert_eq!(booked.duplicates, 0, "effects and mark commit together");
    let noted = check(&history, &log::read(&flow.to.log()));
    noted.assert_clean();
    let bound = flow.inboxes_killed * UNKNOWN_MAX;
    assert!(noted.duplicates <= bound, "{} of {bound}", noted.duplicates);

    let all = [
        flow.from.stats().await,
        flow.to.handler_stats(BOOK).await,
        flow.to.handler_stats(NOTE).await,
    ];
    for stats in all {
        assert_eq!((stats.unsettled(), stats.dead), (0, 0));
        assert_eq!(stats.instances.len(), 0, "nobody is left");
    }
    assert_eq!(flow.to.unrouted().await, 0);
    let kept = flow.broker.keeps().await;
    match kept.entries {
        // It is for the next reader, who would find there what was published meanwhile.
        Some(entries) => {
            assert_eq!((kept.readers, entries), (1, 0));
        }
        None => assert_eq!(kept.readers, 0, "the last one was closed"),
    }
    noted.duplicates
}

async fn remove(flow: &Flow) {
    flow.from.remove().await;
    flow.to.remove().await;
}
