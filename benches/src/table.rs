//! The table: how figures are shown and judged.

use anyhow::{Result, ensure};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};

/// A table with these column heads.
pub(crate) fn table<const N: usize>(heads: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(heads);
    table
}

/// Prints lines of facts above the figures.
pub(crate) fn facts<const N: usize>(title: &str, facts: [(&str, String); N]) {
    println!("{title}");
    for (name, value) in facts {
        println!("  {name}: {value}");
    }
}

/// A count as a float; benchmarks count less than four billion.
pub(crate) fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The median, or 0 of nothing.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    if sorted.len().is_multiple_of(2) {
        let lower = sorted.get((sorted.len() / 2).saturating_sub(1)).copied();
        f64::midpoint(lower.unwrap_or(upper), upper)
    } else {
        upper
    }
}

/// Figures in the order of the rounds.
pub(crate) fn each(figures: &[f64]) -> String {
    let texts: Vec<String> = figures
        .iter()
        .map(|figure| format!("{figure:.0}"))
        .collect();
    texts.join(" ")
}

/// Fails when there is a bound and `ratio` is below it.
pub(crate) fn at_least(what: &str, ratio: f64, bound: Option<f64>) -> Result<()> {
    if let Some(bound) = bound {
        ensure!(ratio >= bound, "{what}: {ratio:.2} is below {bound}");
    }
    Ok(())
}
