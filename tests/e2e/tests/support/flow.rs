//! The flow: an outbox, a broker and an inbox under load, whose processes are killed on the way.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;

use super::{
    LONG,
    broker::Broker,
    database::Database,
    log,
    process::{Process, stop_all},
    until,
    writers::Writers,
};

/// The transactional handler of every inbox.
pub(crate) const BOOK: &str = "book";
/// The plain handler of every inbox.
pub(crate) const NOTE: &str = "note";
/// The most messages of a plain handler that one kill leaves unknown: what it works on, and what its
/// machine has fetched for it.
pub(crate) const UNKNOWN_MAX: usize = CONCURRENCY + BATCH;

const KEYS: usize = 1_000;
const CONCURRENCY: usize = 8;
/// What a policy makes of that concurrency.
const BATCH: usize = 16;
const RELAY: [&str; 6] = ["--batch", "300", "--max-in-flight", "300", "--ttl", "3000"];
const INBOX: [&str; 8] = [
    "--book",
    BOOK,
    "--note",
    NOTE,
    "--concurrency",
    "8",
    "--ttl",
    "3000",
];

/// Transactions of a business in one database, whose messages are handled in another.
#[derive(Debug)]
pub(crate) struct Flow {
    // First, so that a test that fails ends them before it removes their files.
    relays: Vec<Process>,
    inboxes: Vec<Process>,
    pub(crate) from: Arc<Database>,
    pub(crate) to: Arc<Database>,
    pub(crate) broker: Broker,
    /// How many inboxes were killed.
    pub(crate) inboxes_killed: usize,
    messages: u64,
    writers: Writers,
    /// What the plain handler logged.
    handled: log::Progress,
    random: Rng,
}

impl Flow {
    /// Starts three inboxes, two relays, a third one that will stop reporting, and writers that
    /// commit so many messages.
    pub(crate) async fn start(
        [from, to]: [Arc<Database>; 2],
        broker: Broker,
        messages: u64,
    ) -> Self {
        from.open_accounts(KEYS).await;
        to.open_effects().await;
        let options = broker.arguments();
        let hold_after = (messages / 20).to_string();
        let inbox = |run| Process::inbox(&to, run, &and(&INBOX, &options));
        let relay = |run, more: &[&str]| {
            Process::relay(&from, run, &[&and(&RELAY, &options)[..], more].concat())
        };
        let mut first = inbox("one");
        // Nobody's interest is nobody's entry.
        first.line("READING").await;
        let inboxes = vec![first, inbox("two"), inbox("three")];
        let mut relays = vec![
            relay("one", &[]),
            relay("two", &[]),
            relay("victim", &["--hold-after", &hold_after]),
        ];
        for relay in &mut relays {
            relay.ready().await;
        }
        // Far enough ahead for everybody to have work, and so near that no kill comes too late.
        let ahead = (messages / 10).max(300);
        Self {
            writers: Writers::start(&from, KEYS, messages, ahead),
            handled: to.progress(),
            random: Rng::with_seed(messages),
            inboxes_killed: 0,
            from,
            to,
            broker,
            messages,
            relays,
            inboxes,
        }
    }

    /// How long that many messages may take.
    fn limit(&self) -> Duration {
        LONG.mul_f64((self.messages as f64 / 20_000.0).max(1.0))
    }

    /// Waits for something of this flow while the writers go on.
    async fn wait<T>(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let mut found = None;
        until(self.limit(), what, async || {
            let handled = self.handled.count();
            self.writers.published(handled);
            found = done(self);
            found.is_some()
        })
        .await;
        found.expect("it was found")
    }

    /// Waits until about so many tenths of all messages are handled.
    pub(crate) async fn pass(&mut self, tenths: u64) {
        let jitter = self.random.u64(..self.messages / 20);
        let target = self.messages * tenths / 10 + jitter;
        let passed = |flow: &mut Self| (flow.handled.count() >= target).then_some(());
        self.wait("more messages", passed).await;
        assert!(self.writers.committed() < self.messages, "under load");
    }

    /// Kills the relay that has sent what it never settles. Returns how many messages.
    pub(crate) async fn kill_sender(&mut self) -> usize {
        let last = self.relays.len() - 1;
        let sent = |flow: &mut Self| flow.relays[last].said("SENT");
        let sent = self.wait("SENT", sent).await.parse().expect("a number");
        assert!(sent > 0);
        self.kill_relay(last, "heir");
        sent
    }

    /// Kills a relay that was not chosen.
    pub(crate) fn kill_some_relay(&mut self) {
        let victim = self.random.usize(..self.relays.len());
        self.kill_relay(victim, "second-heir");
    }

    fn kill_relay(&mut self, at: usize, heir: &str) {
        self.relays.swap_remove(at).kill();
        let options = self.broker.arguments();
        let heir = Process::relay(&self.from, heir, &and(&RELAY, &options));
        self.relays.push(heir);
    }

    /// Kills an inbox that was not chosen.
    pub(crate) fn kill_some_inbox(&mut self) {
        let victim = self.random.usize(..self.inboxes.len());
        self.kill_inbox(victim);
    }

    /// Orders an inbox to stand still, looks at the messages that it says it has in hand, and kills
    /// it. Returns how many they were.
    pub(crate) async fn kill_where(&mut self, order: &str) -> usize {
        self.to.order(order);
        let word = order.to_uppercase();
        let obeyed = |flow: &mut Self| {
            let mut inboxes = flow.inboxes.iter_mut().enumerate();
            inboxes.find_map(|(at, inbox)| Some((at, inbox.said(&word)?)))
        };
        let (victim, ids) = self.wait(&word, obeyed).await;
        let ids: Vec<&str> = ids.split(' ').collect();
        let stands = match order {
            "read" => !self.are_stored(&ids).await,
            "stored" => self.are_stored(&ids).await,
            "handling" => {
                let effects = self.to.effects(BOOK).await;
                !effects
                    .iter()
                    .any(|effect| ids.contains(&effect.id.as_str()))
            }
            "noted" => {
                let notes = log::read(&self.to.log());
                notes.iter().any(|note| ids.contains(&note.id.as_str()))
            }
            _ => panic!("there is no order {order}"),
        };
        assert!(stands, "it is not where it says: {word}");
        self.kill_inbox(victim);
        ids.len()
    }

    /// Whether these messages are stored for the handler.
    async fn are_stored(&self, ids: &[&str]) -> bool {
        // The last ones first: a source may bring copies of those that are stored.
        for id in ids.iter().rev() {
            if self.to.row(BOOK, id).await.is_none() {
                return false;
            }
        }
        true
    }

    fn kill_inbox(&mut self, at: usize) {
        self.inboxes.swap_remove(at).kill();
        self.inboxes_killed += 1;
        let run = format!("heir-{}", self.inboxes_killed);
        let options = self.broker.arguments();
        let heir = Process::inbox(&self.to, &run, &and(&INBOX, &options));
        self.inboxes.push(heir);
    }

    /// Kills the broker and starts it again.
    pub(crate) fn kill_broker(&mut self) {
        let server = self.broker.server();
        server.kill().expect("a kill");
        server.start().expect("a start");
    }

    /// Waits until the writers are done and everything is handled, then stops all processes. Returns
    /// how many messages were committed and rolled back.
    pub(crate) async fn end(&mut self) -> (u64, u64) {
        let written = |flow: &mut Self| flow.writers.are_done().then_some(());
        self.wait("all transactions", written).await;
        let none = Writers::start(&self.from, KEYS, 0, 0);
        let writers = std::mem::replace(&mut self.writers, none);
        let written = writers.finish().await;
        let (from, to, broker) = (&self.from, &self.to, &self.broker);
        until(self.limit(), "an end of everything", async || {
            let Some(position) = to.position().await else {
                return false;
            };
            from.stats().await.unsettled() == 0
                && broker.ends_at(&position).await
                && to.handler_stats(BOOK).await.unsettled() == 0
                && to.handler_stats(NOTE).await.unsettled() == 0
        })
        .await;
        let kept = self.broker.keeps().await;
        assert_eq!(kept.readers, 1, "none is left of an earlier opening");
        stop_all(std::mem::take(&mut self.relays)).await;
        stop_all(std::mem::take(&mut self.inboxes)).await;
        // The right to read may have gone from one to the next while they were stopped, and an opening that
        // was dropped then leaves what it had made to the next one, which is this.
        let mut last = Process::inbox(&self.to, "last", &and(&INBOX, &self.broker.arguments()));
        last.line("READING").await;
        last.stop().await;
        written
    }
}

/// Options in front of those of the broker.
fn and<'a>(options: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    let more = more.iter().map(String::as_str);
    options.iter().copied().chain(more).collect()
}
