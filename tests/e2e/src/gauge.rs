//! The gauge: how many messages a process has in hand, in a file that outlives the process.

use std::{
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    process,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};

/// Counts what is in hand. What was written survives SIGKILL without a sync, in the page cache.
#[derive(Debug, Clone)]
pub(crate) struct Gauge(Option<Arc<Mutex<Count>>>);

#[derive(Debug)]
struct Count {
    file: File,
    messages: usize,
}

/// Messages that are in hand until this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    gauge: Gauge,
    messages: usize,
}

impl Gauge {
    /// One that writes to a new file, or without a path one that counts nothing.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else {
            return Ok(Self(None));
        };
        let file = File::create(path).context("cannot open the gauge")?;
        let messages = 0;
        Ok(Self(Some(Arc::new(Mutex::new(Count { file, messages })))))
    }

    /// Takes messages in hand.
    pub(crate) fn hold(&self, messages: usize) -> Held {
        self.change(|count| count + messages);
        let gauge = self.clone();
        Held { gauge, messages }
    }

    fn change(&self, change: impl FnOnce(usize) -> usize) {
        let Some(count) = &self.0 else { return };
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        count.messages = change(count.messages);
        let text = format!("{:>10}\n", count.messages);
        if let Err(error) = count.file.write_all_at(text.as_bytes(), 0) {
            // What a broken gauge says is worse than no process.
            eprintln!("cannot write the gauge: {error}");
            process::abort();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.change(|count| count - self.messages);
    }
}
