//! `cargo xtask tidy`: the repository's own rules, each checked in a room of its own.

mod cases;
mod docs;
mod edges;
mod finding;
mod furniture;
mod links;
mod locks;
mod metrics;
mod scorecard;
mod sheets;
mod size;
mod tree;
mod words;

use anyhow::{Result, bail};

use crate::cargo::root;
use finding::Finding;
use tree::Tree;

/// Check the repository's own rules.
///
/// Which crate may depend on which; lock files beside that of the workspace; a sentence at the head of
/// every file; the size of files; the same rooms in every adapter; links that lead somewhere; cases that
/// pages promise; the metrics that a page lists; the scorecard and the table of the guarantee sheets;
/// words that must not occur.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {}

type Check = fn(&Tree) -> Result<Vec<Finding>>;

/// The checks, in the order of what they say.
const CHECKS: [Check; 11] = [
    edges::check,
    locks::check,
    furniture::check,
    docs::check,
    size::check,
    links::check,
    cases::check,
    metrics::check,
    scorecard::check,
    sheets::check,
    words::check,
];

pub(crate) fn run(_: &Args) -> Result<()> {
    let tree = Tree::read(&root())?;
    let mut count = 0;
    for check in CHECKS {
        for finding in check(&tree)? {
            eprintln!("{finding}");
            count += 1;
        }
    }
    match count {
        0 => Ok(()),
        1 => bail!("tidy has 1 finding"),
        _ => bail!("tidy has {count} findings"),
    }
}
