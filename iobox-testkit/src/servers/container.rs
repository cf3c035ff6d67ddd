//! A server in a container, where a Docker engine answers.

use std::env;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail};
use testcontainers::bollard::{Docker, errors::Error as DockerError};
use testcontainers::core::{IntoContainerPort as _, WaitFor, client::docker_client_instance};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};
use tokio::runtime::{self, Runtime};
use tokio::time::timeout;

use super::process::Keeper;

const START_MAX: Duration = Duration::from_secs(120);

/// How long an engine may take to say that it is there.
const PING_MAX: Duration = Duration::from_secs(10);

/// Images with such names are built here; nothing is fetched for them.
const LOCAL: &str = "localhost/";

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

/// Why no container was started.
#[derive(Debug)]
pub(super) enum Failure {
    /// No Docker engine answers; this is what the attempt came to.
    NoEngine(String),
    /// An engine answers, but it went wrong.
    Start(Error),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Start(error.into())
    }
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
    /// Starts a container and waits until its server is ready.
    pub(super) fn start(recipe: &Recipe) -> Result<Self, Failure> {
        let image = env::var(recipe.variable)
            .ok()
            .filter(|image| !image.is_empty());
        let image = image.unwrap_or_else(|| recipe.image.to_owned());
        let (recipe, wanted) = (recipe.clone(), image.clone());
        let make = move || match run(&recipe, &wanted) {
            Ok((url, runtime, container)) => (Ok(url), Some((runtime, container))),
            Err(error) => (Err(error), None),
        };
        let (url, keeper) = Keeper::run(make, |kept| {
            if let Some((runtime, container)) = kept {
                remove(&runtime, container);
            }
        })?;
        match url {
            Ok(url) => Ok(Self { url, image, keeper }),
            Err(Failure::Start(error)) => {
                let told = format!("cannot start a container of {image}");
                Err(Failure::Start(error.context(told)))
            }
            Err(no_engine) => Err(no_engine),
        }
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

fn run(recipe: &Recipe, image: &str) -> Result<Running, Failure> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot make a runtime")?;
    let engine = runtime.block_on(engine()).map_err(Failure::NoEngine)?;
    runtime.block_on(have_local(&engine, image))?;
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
    let (port, container) = runtime.block_on(async {
        let container = request.start().await?;
        // Not `get_host`, which inside a container gives an address where nothing listens.
        let port = container.get_host_port_ipv4(recipe.port).await?;
        Ok::<_, Error>((port, container))
    })?;
    Ok(((recipe.url)(port), runtime, container))
}

/// The engine, if it answers.
async fn engine() -> Result<Docker, String> {
    let engine = docker_client_instance()
        .await
        .map_err(|error| error.to_string())?;
    match timeout(PING_MAX, engine.ping()).await {
        Ok(Ok(_)) => Ok(engine),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("silent for {} s", PING_MAX.as_secs())),
    }
}

/// Fails for an image of a local name that is not there, before it is asked of a registry.
async fn have_local(engine: &Docker, image: &str) -> Result<()> {
    if !image.starts_with(LOCAL) {
        return Ok(());
    }
    match engine.inspect_image(image).await {
        Ok(_) => Ok(()),
        Err(DockerError::DockerResponseServerError {
            status_code: 404, ..
        }) => bail!(
            "the engine has no such image, and one named `{LOCAL}…` is never fetched; \
             `cargo xtask images` builds it"
        ),
        Err(error) => Err(error).context("cannot look for the image"),
    }
}

fn remove(runtime: &Runtime, container: ContainerAsync<GenericImage>) {
    if let Err(error) = runtime.block_on(container.rm()) {
        eprintln!("iobox-testkit: cannot remove a container: {error}");
    }
}
