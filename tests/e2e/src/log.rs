//! The log of accepted messages, which outlives the process that writes it.

use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use iobox::message::Message;

/// The name of the run for messages that the broker had already.
const DUPLICATE: &str = "duplicate";

/// An append-only file that several processes write, one line `id key run` for each message.
///
/// What was written survives SIGKILL without a sync, in the page cache.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    run: String,
}

impl Log {
    pub(crate) fn open(path: &Path, run: &str) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .context("cannot open the log")?;
        Ok(Self {
            file,
            run: run.to_owned(),
        })
    }

    /// Appends messages by one write call.
    ///
    /// It starts with an empty line, so that one that was cut off by a kill stays apart.
    pub(crate) fn append<'a>(&self, messages: impl Iterator<Item = &'a Message>) -> Result<()> {
        self.write(messages, &self.run)
    }

    /// Appends a message that the broker had already, in place of the run's name as `duplicate`.
    pub(crate) fn append_duplicate(&self, message: &Message) -> Result<()> {
        self.write([message].into_iter(), DUPLICATE)
    }

    fn write<'a>(&self, messages: impl Iterator<Item = &'a Message>, run: &str) -> Result<()> {
        let mut lines = String::from("\n");
        for message in messages {
            let key = message.key().map_or("-", |key| key.as_str());
            writeln!(lines, "{} {key} {run}", message.id())?;
        }
        let written = (&self.file).write(lines.as_bytes())?;
        ensure!(written == lines.len(), "the log took only a part");
        Ok(())
    }
}
