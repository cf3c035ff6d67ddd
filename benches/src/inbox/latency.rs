//! Latency: from the call of `receive` to the end of the handler, by one clock.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use iobox::{Inbox, Router, handler, inbox::SourceName, message::Message, store::Receive};
use tokio::time::{sleep, sleep_until};

use super::{
    Args,
    rate::{HANDLER, TOPIC, delivery},
};

/// How long an inbox may take to start before it is measured.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long the last message may take.
const LAST: Duration = Duration::from_secs(3);

/// Notes when each message was handled.
#[derive(Debug, Clone, Default)]
struct Stopwatch(Arc<Mutex<HashMap<String, Instant>>>);

impl Stopwatch {
    fn note(&self, message: &Message) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(message.id().to_string())
            .or_insert_with(Instant::now);
    }

    fn take(&self) -> HashMap<String, Instant> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Measures it, in microseconds: until it is received, and until it is handled.
pub(super) async fn sample<S: Receive>(args: &Args, store: &S) -> Result<[Histogram<u64>; 2]> {
    let stopwatch = Stopwatch::default();
    let noted = stopwatch.clone();
    let mut router = Router::new();
    let noting = handler::from_fn(move |message: Message| {
        noted.note(&message);
        async { Ok(()) }
    });
    router.on(TOPIC, HANDLER, noting);
    let inbox = Inbox::builder(store.clone(), router).build()?;
    let running = inbox.spawn();
    sleep(WARM_UP).await;

    let source = SourceName::new("latency")?;
    let mut received = Histogram::new(3)?;
    let mut sent = Vec::new();
    let mut next = tokio::time::Instant::now();
    let gap = Duration::from_secs(1) / args.rate.max(1);
    let mut turn = 0.0_f64;
    for number in 0..args.seconds * args.rate {
        sleep_until(next).await;
        let id = usize::try_from(number)?;
        let one = [delivery(args, id)?];
        let start = Instant::now();
        inbox.receive(&source, &one).await?;
        received.record(u64::try_from(start.elapsed().as_micros())?)?;
        sent.push((id.to_string(), start));
        // Half a gap to one and a half, spread evenly, so that it does not march with a poller.
        turn = (turn + 0.618_033_988_75).fract();
        next += gap.mul_f64(0.5 + turn);
    }
    let mut seen = HashMap::new();
    let end = Instant::now() + LAST;
    while seen.len() < sent.len() && Instant::now() < end {
        sleep(Duration::from_millis(10)).await;
        seen.extend(stopwatch.take());
    }
    running.drain().await?;
    let mut handled = Histogram::new(3)?;
    for (id, start) in sent {
        let at = seen.get(&id).context("a message was not handled in time")?;
        let took = at.saturating_duration_since(start);
        handled.record(u64::try_from(took.as_micros())?)?;
    }
    Ok([received, handled])
}
