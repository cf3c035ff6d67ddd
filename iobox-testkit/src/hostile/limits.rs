//! Numbers that a person sets: the bound of payloads, the count of partitions.

use super::Entry;

/// Values for the largest payload, in bytes: 1 to 1,048,576.
#[must_use]
pub fn payload_bounds() -> Vec<Entry<usize>> {
    let (taken, says) = (
        [1_usize, 2, 262_144, 1_048_575, 1_048_576],
        "needs 1 to 1048576",
    );
    let mut entries: Vec<_> = taken.map(|n| Entry::taken(n.to_string(), n)).into();
    for n in [0_usize, 1_048_577, 1 << 31, 1 << 32, 1 << 33, usize::MAX] {
        entries.push(Entry::refused(n.to_string(), n, says));
    }
    entries
}

/// Counts of partitions: the powers of two from 1 to 256.
#[must_use]
pub fn partition_counts() -> Vec<Entry<u16>> {
    let powers = (0..=8).map(|n| 1_u16 << n);
    let mut entries: Vec<_> = powers.map(|n| Entry::taken(n.to_string(), n)).collect();
    for n in [0, 3, 6, 100, 255, 257, 512, 32_768, u16::MAX] {
        entries.push(Entry::refused(n.to_string(), n, "power of two"));
    }
    entries
}
