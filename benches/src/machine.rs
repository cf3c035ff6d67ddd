//! The machine: what it has, and what else it does.

use std::{fs, thread};

use anyhow::{Context as _, Result};

/// Cores and load, for the table.
pub(crate) fn describe() -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, load {}", load())
}

/// The load of the last minute.
pub(crate) fn load() -> String {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').next().map(str::to_owned))
        .unwrap_or_else(|| String::from("unknown"))
}

/// A memory figure of this process in KiB, such as `VmRSS` or its peak, `VmHWM`.
pub(crate) fn memory_kib(field: &str) -> Result<u32> {
    let status = fs::read_to_string("/proc/self/status")
        .context("reading /proc/self/status, which only Linux has")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("/proc/self/status has no {field}"))
}
