//! A tool of the registry in one version, built once into `target/tools`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::cargo::{cargo, check, root};

/// A program of cargo: its crate, and the only version that is taken, since another may judge otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

impl Tool {
    /// Builds it when it is not there, which takes minutes and needs the registry.
    pub(crate) fn get(self) -> Result<()> {
        if self.is_there() {
            return Ok(());
        }
        self.install()?;
        ensure!(
            self.is_there(),
            "{} is not {} {}",
            self.program().display(),
            self.name,
            self.version
        );
        Ok(())
    }

    pub(crate) fn is_there(self) -> bool {
        // As cargo calls it, with its own name in front.
        let name = self.name.trim_start_matches("cargo-");
        let output = Command::new(self.program())
            .args([name, "--version"])
            .output();
        output.is_ok_and(|output| self.is_version(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Whether this is what it says in its version.
    fn is_version(self, said: &str) -> bool {
        said.trim() == format!("{} {}", self.name, self.version)
    }

    pub(crate) fn program(self) -> PathBuf {
        tools().join("bin").join(self.name)
    }

    fn install(self) -> Result<()> {
        let mut command = cargo();
        command.args(["install", self.name, "--locked", "--version", self.version]);
        // What an optimised one would save, building it costs many times over.
        command.args(["--profile", "dev", "--config", "profile.dev.debug=false"]);
        command.arg("--root").arg(tools());
        check(command.arg("--target-dir").arg(tools().join("build")))?;
        // Hundreds of megabytes that nobody needs again.
        std::fs::remove_dir_all(tools().join("build"))?;
        Ok(())
    }
}

fn tools() -> PathBuf {
    root().join("target/tools")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_not_taken() {
        let tool = Tool {
            name: "cargo-deny",
            version: "0.20.2",
        };
        assert!(tool.is_version("cargo-deny 0.20.2\n"));
        for other in ["cargo-deny 0.20.20", "cargo-deny 0.14.2\n", "", "0.20.2"] {
            assert!(!tool.is_version(other), "{other}");
        }
    }
}
