//! The libraries that a program needs, as `ldd` names them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Returns them with their own libraries and the loader; none for a static program.
pub(super) fn of(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .context("cannot run `ldd`")?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && !told.contains("not a dynamic executable") {
        bail!("`ldd {}` failed: {}", program.display(), told.trim_end());
    }
    in_text(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("{} cannot run on this machine", program.display()))
}

/// Takes the paths from lines such as `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f…)`.
fn in_text(text: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in text.lines() {
        let (name, target) = line.split_once("=>").unwrap_or((line, line));
        if target.trim() == "not found" {
            bail!("its library {} is missing", name.trim());
        }
        // The kernel's own library has no path.
        let path = target.split(" (").next().unwrap_or(target).trim();
        if path.starts_with('/') {
            libraries.push(PathBuf::from(path));
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_and_the_kernels_library_is_not() {
        let text = "\tlinux-vdso.so.1 (0x00007ffc7d5f2000)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1d5c400000)\n\
            \tliba.so => /opt/with space/liba.so (0x00007f1d5c000000)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f1d5c6a8000)\n";
        let expected = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/opt/with space/liba.so",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(in_text(text).expect("paths"), expected.map(PathBuf::from));
    }

    #[test]
    fn a_static_program_needs_none() {
        assert_eq!(
            in_text("\tstatically linked\n").expect("none"),
            [""; 0].map(PathBuf::from)
        );
    }

    #[test]
    fn a_missing_library_is_named() {
        let error = in_text("\tlibpq.so.5 => not found\n").expect_err("missing");
        assert_eq!(error.to_string(), "its library libpq.so.5 is missing");
    }
}
