//! Durability: what "the broker has it" is worth.

/// What an accepted message survives, from the weakest to the strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing: it lives in the memory of one process.
    Volatile,
    /// The death of the broker's process, not of its machine.
    PageCache,
    /// A power cut.
    Synced,
    /// The loss of a machine.
    Replicated,
}
