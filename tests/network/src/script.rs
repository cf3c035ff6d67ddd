//! The script: a schedule of faults.

use std::time::Duration;

use iobox_testkit::servers::Fault;

/// What a call asks of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Messages: a fetch of the relay from a database, a reading of the inbox from a broker.
    Read,
    /// To be told what became of them: a settle of the relay in a database, a publish to a broker.
    Write,
    /// To keep what was done: a COMMIT of a handler or of an application in a database, an ack of the
    /// inbox to a broker.
    Commit,
}

/// One step of a script.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Waits until so many more calls of this kind begin. The last of them finds these faults on its
    /// way.
    At(Event, u32, &'static [Fault]),
    /// Breaks something at once.
    Break(&'static [Fault]),
    /// Ends every connection, old or new.
    Cut,
    /// Lets the load go on like this.
    Wait(Duration),
    /// Ends all faults.
    Mend,
}

/// A schedule of faults; what it leaves broken is mended at its end.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// Its name, which is that of its test.
    pub name: &'static str,
    /// Its steps.
    pub steps: &'static [Step],
    /// Whether it leaves a broker's answers to publishes out; then some must be unknown.
    pub silences: bool,
}

impl Script {
    /// How often it breaks something: at each of these moments messages in flight may be repeated.
    #[must_use]
    pub fn breaks(&self) -> usize {
        let breaks = |step: &&Step| !matches!(step, Step::Wait(_));
        self.steps.iter().filter(breaks).count()
    }
}
