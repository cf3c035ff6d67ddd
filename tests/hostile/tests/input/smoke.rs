//! Every fuzz target on a bounded count of inputs, so that a panic is found without a fuzzer.
//!
//! The inputs are the seeds of the target, and mangled ones. `IOBOX_FUZZ_INPUTS` sets how many,
//! `IOBOX_FUZZ_SEED` from where they are drawn; a failure prints the line that repeats it.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use iobox_hostile::TARGETS;
use iobox_testkit::hostile::mangled;

/// How many inputs a target gets.
const INPUTS: usize = 20_000;

fn number(name: &str, default: usize) -> usize {
    let Ok(text) = env::var(name) else {
        return default;
    };
    text.parse()
        .unwrap_or_else(|_| panic!("{name} is no number"))
}

#[test]
fn no_target_panics() {
    let (inputs, seed) = (
        number("IOBOX_FUZZ_INPUTS", INPUTS),
        number("IOBOX_FUZZ_SEED", 1),
    );
    let mut found = Vec::new();
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(seeds.len() > 5, "{} has seeds", target.name);
        let each = inputs / seeds.len() + 1;
        let all = seeds.iter().enumerate().flat_map(|(n, bytes)| {
            let from = u64::try_from(seed * 1_000 + n).expect("a seed");
            std::iter::once(bytes.clone()).chain(mangled(bytes, from, each))
        });
        for bytes in all {
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&bytes))).is_err() {
                let shown = bytes.escape_ascii();
                found.push(format!("{}: b\"{shown}\" (seed {seed})", target.name));
                break;
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A target that is not in `fuzz/` is driven by no fuzzer, and one that is only there by no test.
#[test]
fn every_target_has_a_file_for_the_fuzzer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).expect("fuzz/Cargo.toml");
    let mut files: Vec<String> = std::fs::read_dir(folder.join("fuzz_targets"))
        .expect("fuzz/fuzz_targets")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    files.sort();
    let mut expected: Vec<String> = TARGETS
        .iter()
        .map(|one| format!("{}.rs", one.name))
        .collect();
    expected.sort();
    assert_eq!(files, expected);
    for target in TARGETS {
        let name = format!("name = \"{}\"", target.name);
        assert!(manifest.contains(&name), "{name} is not in fuzz/Cargo.toml");
        let file = folder
            .join("fuzz_targets")
            .join(format!("{}.rs", target.name));
        let text = std::fs::read_to_string(file).expect("a target");
        assert!(
            text.contains(&format!("run(\"{}\"", target.name)),
            "{}",
            target.name
        );
    }
}
