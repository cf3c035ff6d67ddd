//! The log of a program: what it did before it failed.

use std::fmt;

/// The operations so far; printed when the program panics.
pub(super) struct Log {
    seed: u64,
    lines: Vec<String>,
}

impl Log {
    /// An empty log of the program with this seed.
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            seed,
            lines: Vec::new(),
        }
    }

    /// Adds an operation.
    pub(super) fn note(&mut self, line: fmt::Arguments<'_>) {
        self.lines.push(line.to_string());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the program with seed {} failed after:", self.seed);
            for line in &self.lines {
                eprintln!("  {line}");
            }
        }
    }
}
