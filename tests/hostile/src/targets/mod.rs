//! The fuzz targets: one function for each parser and codec, and the seeds that lead into it.

mod core;
mod nats;
mod redis;
mod sql;

/// A function that must not panic, whatever the bytes are.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its file in `fuzz/fuzz_targets`.
    pub name: &'static str,
    /// Inputs that reach deep; mangled ones reach beside.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// The function.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    core::TEXT,
    core::TOPIC,
    core::PATTERN,
    core::NAME,
    core::HEADERS,
    core::STORED_HEADERS,
    core::DRAFT,
    core::JSON_PAYLOAD,
    nats::SERVERS,
    nats::SUBJECT,
    nats::PERCENT,
    redis::URL,
    redis::PREFIX,
    sql::IDENTIFIER,
    sql::POSTGRES_URL,
    sql::SQLITE_ROW,
];

/// The target with this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Runs the target with this name.
///
/// # Panics
/// When there is none, and when the target has found something.
pub fn run(name: &str, bytes: &[u8]) {
    let target = named(name).unwrap_or_else(|| panic!("there is no target {name}"));
    (target.run)(bytes);
}

/// Writes the seeds of the target with this name to the folder that `IOBOX_FUZZ_SEEDS` names, if it
/// names one, so that a fuzzer begins with them.
///
/// # Panics
/// When there is no such target, and when the folder cannot be written.
pub fn leave_seeds(name: &str) {
    let target = named(name).unwrap_or_else(|| panic!("there is no target {name}"));
    let Some(folder) = std::env::var_os("IOBOX_FUZZ_SEEDS") else {
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    for (n, bytes) in (target.seeds)().iter().enumerate() {
        let path = folder.join(format!("seed-{n:04}"));
        let written = std::fs::write(&path, bytes);
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
}

/// The inputs of tables of texts, as bytes.
fn bytes_of(tables: impl IntoIterator<Item = Vec<iobox_testkit::hostile::Entry>>) -> Vec<Vec<u8>> {
    let entries = tables.into_iter().flatten();
    let texts = entries.map(|entry| entry.input.into_bytes());
    // Long ones would be copied thousands of times, and say nothing more.
    texts.filter(|bytes| bytes.len() <= 2_048).collect()
}

/// Checks that an error is fit to be shown.
fn shown(error: &iobox::Error) {
    for text in iobox_testkit::hostile::texts_of(error) {
        assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
    }
}
