//! Reading the log that the relay processes write.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use super::checker::Accepted;

/// Reads the whole log. Lines that a kill cut off before their end are not there, since nobody was
/// told that they are.
pub(crate) fn read(path: &Path) -> Vec<Accepted> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        text => text.expect("a log"),
    };
    text.lines().filter_map(parse).collect()
}

fn parse(line: &str) -> Option<Accepted> {
    let mut fields = line.split(' ').filter(|field| !field.is_empty());
    let (id, key, run) = (fields.next()?, fields.next()?, fields.next()?);
    Some(Accepted {
        id: id.to_owned(),
        key: (key != "-").then(|| key.to_owned()),
        run: run.to_owned(),
    })
}

/// Counts the lines of a log while it grows.
#[derive(Debug)]
pub(crate) struct Progress {
    path: PathBuf,
    offset: u64,
    lines: u64,
}

impl Progress {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self {
            path,
            offset: 0,
            lines: 0,
        }
    }

    /// How many messages were accepted so far, copies included.
    pub(crate) fn count(&mut self) -> u64 {
        let Ok(mut file) = File::open(&self.path) else {
            return 0;
        };
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.offset)).expect("a place");
        file.read_to_end(&mut bytes).expect("the rest of the log");
        // Only whole lines, so that none is counted twice.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n');
        let bytes = &bytes[..whole.map_or(0, |end| end + 1)];
        let lines = bytes.split(|byte| *byte == b'\n');
        self.lines += lines.filter(|line| !line.is_empty()).count() as u64;
        self.offset += bytes.len() as u64;
        self.lines
    }
}
