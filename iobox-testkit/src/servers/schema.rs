//! Unique schema names, so that tests share one database and never meet in it.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// The longest name that [`unique_schema`] gives; leaves room for what a store appends to it.
const NAME_BYTES_MAX: usize = 48;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Returns a schema name that no other test has: not in this process, not in another one.
///
/// The name matches `[a-z_][a-z0-9_]{0,47}`, so it needs no quoting. It starts with as much of
/// `prefix` as fits, lower-cased, with `_` for any other character; process id, a counter and a
/// random number follow.
///
/// ```
/// use iobox_testkit::servers::unique_schema;
///
/// let name = unique_schema("Claims two");
/// assert!(name.starts_with("claims_two_"));
/// assert_ne!(name, unique_schema("Claims two"));
/// ```
#[must_use]
pub fn unique_schema(prefix: &str) -> String {
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let suffix = format!("_{:x}_{count:x}_{:08x}", process::id(), fastrand::u32(..));
    let mut name = String::with_capacity(NAME_BYTES_MAX);
    if !prefix.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        name.push('_');
    }
    let legal = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    name.extend(prefix.chars().map(legal));
    name.truncate(NAME_BYTES_MAX - suffix.len());
    name.push_str(&suffix);
    name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn is_legal(name: &str) -> bool {
        let mut chars = name.chars();
        name.len() <= NAME_BYTES_MAX
            && chars
                .next()
                .is_some_and(|c| c.is_ascii_lowercase() || c == '_')
            && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    }

    #[test]
    fn every_prefix_gives_a_legal_name() {
        let long = "x".repeat(200);
        for prefix in [
            "",
            "a",
            "9lives",
            "Ünïcode",
            "with space",
            "semi;drop",
            "_",
            &long,
        ] {
            let name = unique_schema(prefix);
            assert!(is_legal(&name), "{prefix:?} gave {name:?}");
        }
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<String> = (0..10_000).map(|_| unique_schema("same")).collect();
        assert_eq!(names.len(), 10_000);
    }
}
