//! The Docker client: whether an engine answers, and images made from a folder.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::cargo::show;

/// Asks the engine for its version; fails with advice when none answers.
pub(super) fn version() -> Result<String> {
    let mut command = Command::new("docker");
    command.args(["version", "--format", "{{.Server.Version}}"]);
    let output = command
        .output()
        .context("cannot run `docker`; install the client (on Debian, the package `docker.io`)")?;
    if !output.status.success() {
        bail!(
            "no Docker engine answers; start one, and set DOCKER_HOST to where it listens ({}): {}",
            env::var("DOCKER_HOST").as_deref().unwrap_or("not set"),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}

/// Makes `image` of what `folder` holds; `changes` are lines as in a Dockerfile.
///
/// An older image of the same name goes, unless a container runs on it.
pub(super) fn import(folder: &Path, changes: &[String], image: &str) -> Result<()> {
    let older = inspect(image, "{{.Id}}").ok();

    let mut tar = Command::new("tar");
    // Whoever builds it, root owns everything and everybody may read it.
    tar.args(["--create", "--numeric-owner", "--owner=0", "--group=0"]);
    tar.args(["--mode=a+rX", "--directory"])
        .arg(folder)
        .arg(".");
    let mut packing = tar
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run `tar`")?;
    let packed = packing.stdout.take().context("`tar` has no output")?;

    let mut docker = Command::new("docker");
    docker.arg("import");
    for change in changes {
        docker.args(["--change", change]);
    }
    docker.args(["-", image]).stdin(packed);
    let imported = ask(&mut docker);
    let status = packing.wait().context("cannot wait for `tar`")?;
    imported?;
    ensure!(status.success(), "`tar` failed ({status})");

    if let Some(older) = older
        && older != inspect(image, "{{.Id}}")?
    {
        // It stays while a container runs on it.
        let _ = ask(Command::new("docker").args(["image", "rm", &older]));
    }
    Ok(())
}

/// The size of an image in bytes.
pub(super) fn size(image: &str) -> Result<u32> {
    let size = inspect(image, "{{.Size}}")?;
    size.parse()
        .with_context(|| format!("`docker` gives `{size}` as a size"))
}

fn inspect(image: &str, format: &str) -> Result<String> {
    ask(Command::new("docker").args(["image", "inspect", "--format", format, image]))
}

/// Runs a command and returns what it prints.
fn ask(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .output()
        .with_context(|| format!("cannot run `{shown}`"))?;
    ensure!(
        output.status.success(),
        "`{shown}` failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}
