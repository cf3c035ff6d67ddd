//! A server in a container, where a Docker engine answers.

use std::env;
use std::time::Duration;

use anyhow::{Context as _, Result};
use testcontainers::core::{IntoContainerPort as _, WaitFor, client::ClientError};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _, TestcontainersError};
use tokio::runtime::{self, Runtime};

use super::process::Keeper;

const START_MAX: Duration = Duration::from_secs(120);

/// How a kind of server runs in a container.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    /// The image, as `name:tag`.
    pub(super) image: &'static str,
    /// The environment variable that names another one.
    pub(super) variable: &'static str,
    /// The port inside.
    pub(super) port: u16,
    /// Its environment.
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// The command with its arguments; that of the image if empty.
    pub(super) command: &'static [&'static str],
    /// What it says on stdout when it accepts connections.
    pub(super) ready_on_stdout: Option<&'static str>,
    /// What it says on stderr when it accepts connections.
    pub(super) ready_on_stderr: Option<&'static str>,
    /// The URL at a port of this host.
    pub(super) url: fn(u16) -> String,
}

/// A running container, removed on drop.
///
/// It lives on a thread with a runtime of its own, so that callers may be in one or in none.
#[derive(Debug)]
pub(super) struct Container {
    url: String,
    image: String,
    keeper: Keeper,
}

impl Container {
    /// Starts a container; returns nothing if no Docker engine answers.
    pub(super) fn start(recipe: &Recipe) -> Result<Option<Self>> {
        let image = env::var(recipe.variable)
            .ok()
            .filter(|image| !image.is_empty());
        let image = image.unwrap_or_else(|| recipe.image.to_owned());
        let (recipe, wanted) = (recipe.clone(), image.clone());
        let make = move || match run(&recipe, &wanted) {
            Ok(Some((url, runtime, container))) => (Ok(Some(url)), Some((runtime, container))),
            Ok(None) => (Ok(None), None),
            Err(error) => (Err(error), None),
        };
        let (url, keeper) = Keeper::run(make, |kept| {
            if let Some((runtime, container)) = kept {
                remove(&runtime, container);
            }
        })?;
        let url = url.with_context(|| format!("cannot start a container of {image}"))?;
        Ok(url.map(|url| Self { url, image, keeper }))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn image(&self) -> &str {
        &self.image
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.keeper.leave();
    }
}

type Running = (String, Runtime, ContainerAsync<GenericImage>);

fn run(recipe: &Recipe, image: &str) -> Result<Option<Running>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot make a runtime")?;
    let (name, tag) = match image.rsplit_once(':') {
        // A colon before a slash is that of a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    };
    let mut image = GenericImage::new(name, tag).with_exposed_port(recipe.port.tcp());
    if let Some(ready) = recipe.ready_on_stdout {
        image = image.with_wait_for(WaitFor::message_on_stdout(ready));
    }
    if let Some(ready) = recipe.ready_on_stderr {
        image = image.with_wait_for(WaitFor::message_on_stderr(ready));
    }
    let mut request = image.with_startup_timeout(START_MAX);
    for (name, value) in recipe.environment {
        request = request.with_env_var(*name, *value);
    }
    if !recipe.command.is_empty() {
        request = request.with_cmd(recipe.command.iter().copied());
    }
    let started = runtime.block_on(async {
        let container = request.start().await?;
        // Not `get_host`, which inside a container gives an address where nothing listens.
        let port = container.get_host_port_ipv4(recipe.port).await?;
        Ok((port, container))
    });
    match started {
        Ok((port, container)) => Ok(Some(((recipe.url)(port), runtime, container))),
        Err(TestcontainersError::Client(ClientError::Init(_) | ClientError::Configuration(_))) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn remove(runtime: &Runtime, container: ContainerAsync<GenericImage>) {
    if let Err(error) = runtime.block_on(container.rm()) {
        eprintln!("iobox-testkit: cannot remove a container: {error}");
    }
}
