//! The journal: a file of which each line is a transaction, complete or not there.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _},
    path::Path,
};

use iobox::{Error, ErrorKind, Result};

use super::{
    slip::Slip,
    table::{Change, Table},
};

/// A file that this process alone may change. It only grows; taking out what is purged is left out.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    /// Where the last complete line ends.
    end: u64,
}

impl Journal {
    /// Opens the file at `path`, and makes it if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut options = File::options();
        options.read(true).append(true).create(true);
        let file = options.open(path).map_err(failed)?;
        file.try_lock().map_err(|source| {
            let message = "another process has the file of the store open";
            Error::unavailable(message).with_source(io::Error::from(source))
        })?;
        Ok(Self { file, end: 0 })
    }

    /// Reads the file from its beginning, and cuts off half a line that a killed process may have
    /// left: nobody was told that it is there.
    pub(crate) fn read(&mut self, slip: Slip) -> Result<Table> {
        let mut table = Table::new(slip);
        self.end = 0;
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut lines = BufReader::new(&self.file);
        let mut line = Vec::new();
        loop {
            line.clear();
            lines.read_until(b'\n', &mut line).map_err(failed)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            let changes: Vec<Change> = serde_json::from_slice(&line).map_err(|source| {
                Error::corrupt("a line of the store's file cannot be read").with_source(source)
            })?;
            changes.iter().for_each(|change| table.apply(change));
            self.end += line.len() as u64;
        }
        self.file.set_len(self.end).map_err(failed)?;
        Ok(table)
    }

    /// Appends a transaction. When this returns without an error a power cut does not undo it.
    pub(crate) fn append(&mut self, changes: &[Change]) -> Result<()> {
        let mut line = serde_json::to_vec(changes)
            .map_err(|source| Error::internal("a change is no JSON").with_source(source))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        self.end += line.len() as u64;
        Ok(())
    }
}

/// A disk that is full or gone: whether the change is there is open, and the call may be repeated.
fn failed(source: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the file of the store failed").with_source(source)
}
