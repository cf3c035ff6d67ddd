//! `cargo xtask scorecard`: takes the figures of the last runs over, and writes docs/guarantees.md.

mod fencing;
mod figures;
mod guarantee;
mod limit;
mod page;
mod table;

use std::fs;

use anyhow::{Context as _, Result};

pub(crate) use figures::Figures;
pub(crate) use page::{PAGE, render};
pub(crate) use table::GUARANTEES;

use crate::cargo::root;

/// Write docs/guarantees.md: each guarantee, the tests that would falsify it, and the figures of the
/// last runs.
///
/// Takes over what `cargo xtask sim`, `crash` and `test` left in target/, and sheets of the conformance
/// suites in target/sheets/, into docs/figures/. What was not run keeps its figures.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave docs/figures as it is, and only write the page
    #[arg(long)]
    page_only: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = root();
    if !args.page_only {
        for name in figures::take_over(&root)? {
            println!("took over {name}");
        }
    }
    let page = render(&Figures::read(&root)?);
    fs::write(root.join(PAGE), page).with_context(|| format!("cannot write {PAGE}"))?;
    println!("wrote {PAGE}");
    Ok(())
}
