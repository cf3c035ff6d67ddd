//! A worker: a relay or an inbox in a place of its own, started again whenever it was killed.

use std::{fs, path::PathBuf};

use anyhow::{Result, ensure};

use crate::{
    plan::Kind,
    support::{broker::Broker, database::Database, process::Process},
};

/// The handlers of every inbox: the transactional one and the plain one.
pub(crate) const BOOK: &str = "book";
pub(crate) const NOTE: &str = "note";
/// The most messages of a relay that one kill leaves unknown: sent, and confirmed and not settled.
pub(crate) const SENT_MAX: usize = 200;
/// The most messages of a plain handler that one kill leaves unknown: what it works on, and what its
/// machine has fetched for it.
pub(crate) const NOTED_MAX: usize = 8 + 16;
/// How often in a row a worker may end before it is ready, which it does when its server is away.
const STARTS_MAX: u32 = 10;

const RELAY: &[&str] = &["--batch", "100", "--max-in-flight", "100"];
const INBOX: &[&str] = &["--book", BOOK, "--note", NOTE, "--concurrency", "8"];
/// Kills are not the fault of the messages that they meet, so that none is to die of them.
const BOTH: &[&str] = &[
    "--ttl",
    "2000",
    "--retry-base",
    "100",
    "--max-crashes",
    "50",
];

/// One place, and the process in it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) kind: Kind,
    pub(crate) at: usize,
    process: Process,
    lives: u32,
    gauge: PathBuf,
    ready: bool,
    /// How often in a row it ended before it was ready.
    vain: u32,
}

impl Worker {
    /// Starts one; `database` is the outbox of a relay, the store of an inbox.
    pub(crate) fn start(kind: Kind, at: usize, database: &Database, broker: &Broker) -> Self {
        let (process, gauge) = spawn(kind, at, 0, database, broker);
        Self {
            kind,
            at,
            process,
            lives: 0,
            gauge,
            ready: false,
            vain: 0,
        }
    }

    /// How many messages it has in hand, or had when it was killed.
    pub(crate) fn in_hand(&self) -> usize {
        let text = fs::read_to_string(&self.gauge).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    pub(crate) fn is_ready(&mut self) -> bool {
        self.ready = self.ready || self.process.has_said("READY");
        self.ready
    }

    /// Starts it again if it ended because its server was away. Returns whether it did.
    pub(crate) fn look_after(&mut self, database: &Database, broker: &Broker) -> Result<bool> {
        self.is_ready();
        let Some(status) = self.process.ended() else {
            return Ok(false);
        };
        ensure!(
            !self.is_ready(),
            "{:?} {} ended by itself ({status}): {}",
            self.kind,
            self.at,
            self.process.errors()
        );
        self.vain += 1;
        ensure!(
            self.vain < STARTS_MAX,
            "{:?} {} does not start: {}",
            self.kind,
            self.at,
            self.process.errors()
        );
        self.again(database, broker);
        Ok(true)
    }

    /// Kills it. Returns how many messages it had in hand.
    pub(crate) fn kill(&mut self) -> Result<usize> {
        self.process.strike()?;
        Ok(self.in_hand())
    }

    /// Puts a new process into its place.
    pub(crate) fn again(&mut self, database: &Database, broker: &Broker) {
        if self.ready {
            self.vain = 0;
        }
        self.lives += 1;
        (self.process, self.gauge) = spawn(self.kind, self.at, self.lives, database, broker);
        self.ready = false;
    }

    /// Stops it as an operator would.
    pub(crate) async fn stop(self) {
        self.process.stop().await;
    }
}

fn spawn(
    kind: Kind,
    at: usize,
    lives: u32,
    database: &Database,
    broker: &Broker,
) -> (Process, PathBuf) {
    let run = format!("{kind:?}-{at}-{lives}").to_lowercase();
    let gauge = database.file(&format!("{run}.gauge"));
    let gauge_name = gauge.display().to_string();
    let broker = broker.arguments();
    let own = if kind == Kind::Relay { RELAY } else { INBOX };
    let mut options: Vec<&str> = [own, BOTH, &["--gauge", &gauge_name]].concat();
    options.extend(broker.iter().map(String::as_str));
    let process = if kind == Kind::Relay {
        Process::relay(database, &run, &options)
    } else {
        Process::inbox(database, &run, &options)
    };
    (process, gauge)
}
