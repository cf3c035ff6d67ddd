//! The life of a simulated process: it may stand still, and it may die wherever it is.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::mpsc;

use crate::{
    chaos::Chaos,
    history::{Event, History, Process},
    pause::Stopped,
    point::Point,
};

/// What everything that a process does goes through.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) process: Process,
    pub(crate) chaos: Arc<Chaos>,
    /// Where what concerns the process as a whole is noted.
    pub(crate) history: History,
    pub(crate) stopped: Stopped,
    /// Where a process that dies says so.
    pub(crate) kills: mpsc::Sender<Process>,
    pub(crate) dead: Arc<AtomicBool>,
    pub(crate) draining: Arc<AtomicBool>,
}

impl Life {
    /// Goes on at once, or when the process goes on, or never when it is dead.
    pub(crate) async fn passed(&self) {
        self.stopped.passed().await;
        if self.dead.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }

    /// A place at which it may die.
    pub(crate) async fn point(&self, point: Point) {
        self.passed().await;
        if self.chaos.kills_at(point) {
            self.die(point).await;
        }
        if self.draining.load(Ordering::Relaxed) && self.chaos.kills_at(Point::Draining) {
            self.die(Point::Draining).await;
        }
    }

    async fn die(&self, at: Point) {
        let process = self.process;
        self.history.add(Event::Killed { process, at });
        self.end().await;
    }

    /// The process dies.
    pub(crate) async fn end(&self) {
        self.dead.store(true, Ordering::Relaxed);
        // Full means that enough kills are under way; this process does nothing more anyway.
        let _ = self.kills.try_send(self.process);
        pending::<()>().await;
    }

    /// Notes a fault.
    pub(crate) fn fault(&self, what: &'static str) {
        self.history.add(Event::Fault { what });
    }
}
