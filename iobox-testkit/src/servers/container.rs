//! Postgres in a container, where a Docker engine answers.

use std::env;
use std::time::Duration;

use anyhow::{Context as _, Result};
use testcontainers::core::{IntoContainerPort as _, WaitFor, client::ClientError};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _, TestcontainersError};
use tokio::runtime::{self, Runtime};

use super::POSTGRES_IMAGE;
use super::process::Keeper;

const IMAGE: &str = "postgres:18";
const READY: &str = "database system is ready to accept connections";
const START_MAX: Duration = Duration::from_secs(120);

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
    pub(super) fn start() -> Result<Option<Self>> {
        let image = env::var(POSTGRES_IMAGE)
            .ok()
            .filter(|image| !image.is_empty());
        let image = image.unwrap_or_else(|| IMAGE.to_owned());
        let wanted = image.clone();
        let make = move || match run(&wanted) {
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

fn run(image: &str) -> Result<Option<Running>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot make a runtime")?;
    let (name, tag) = match image.rsplit_once(':') {
        // A colon before a slash is that of a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    };
    let request = GenericImage::new(name, tag)
        .with_exposed_port(5432.tcp())
        // The first server, which sets the database up, says so on stdout; the one that stays
        // says so on stderr.
        .with_wait_for(WaitFor::message_on_stdout(READY))
        .with_wait_for(WaitFor::message_on_stderr(READY))
        .with_startup_timeout(START_MAX)
        .with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust")
        .with_env_var("POSTGRES_USER", "postgres")
        .with_cmd(
            [
                "postgres",
                "-c",
                "fsync=off",
                "-c",
                "full_page_writes=off",
                "-c",
                "jit=off",
            ]
            .into_iter()
            .chain([
                "-c",
                "max_connections=300",
                "-c",
                "max_prepared_transactions=4",
            ]),
        );
    let started = runtime.block_on(async {
        let container = request.start().await?;
        // Not `get_host`, which inside a container gives an address where nothing listens.
        let port = container.get_host_port_ipv4(5432).await?;
        Ok((port, container))
    });
    match started {
        Ok((port, container)) => {
            let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
            Ok(Some((url, runtime, container)))
        }
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
