//! The kind of a server: its names, and the search for one.

use std::env;

use anyhow::{Context as _, Result, bail};

#[cfg(feature = "containers")]
use super::container::{Container, Failure, Recipe};
use super::install;
use super::programs::Programs;
use super::server::{Child, Server};

/// What the search needs to know of a kind of server.
#[derive(Debug)]
pub(super) struct Kind {
    /// Its name in sentences.
    pub(super) name: &'static str,
    /// The environment variable with the URL of one that tests may use.
    pub(super) url: &'static str,
    /// Set beside it by a runner that started the server for this run alone.
    pub(super) private: &'static str,
    /// Finds its programs on this machine.
    pub(super) programs: fn() -> Option<Programs>,
    /// Where those are looked for, as an advice.
    pub(super) advice: &'static str,
    /// The Debian package that brings them.
    pub(super) package: &'static str,
    /// What to do before that is installed.
    pub(super) prepare: fn() -> Result<()>,
    /// Asks a running one for its version.
    pub(super) ask_version: fn(&str) -> Result<String>,
    /// How it runs in a container.
    #[cfg(feature = "containers")]
    pub(super) recipe: Recipe,
}

impl Kind {
    /// Finds a server by the ways that the [module](super) names; `start` starts a private one.
    pub(super) fn find<C: Child + 'static>(
        &'static self,
        start: impl FnOnce(Programs) -> Result<(C, String)>,
    ) -> Result<Server> {
        if let Some(url) = env::var(self.url).ok().filter(|url| !url.is_empty()) {
            let private = env::var_os(self.private).is_some_and(|value| !value.is_empty());
            return Server::borrowed(self, url, private);
        }
        if let Some(programs) = (self.programs)() {
            return Server::started(self, programs, start);
        }
        #[cfg(feature = "containers")]
        let no_container = match Container::start(&self.recipe) {
            Ok(running) => return Ok(Server::contained(self, running)),
            Err(Failure::NoEngine(_)) => "no Docker engine answers",
            Err(Failure::Start(error)) => return Err(error),
        };
        #[cfg(not(feature = "containers"))]
        let no_container = "built without the feature";
        self.install(no_container, start)
    }

    /// Starts a server in a container, or says why that cannot be done here.
    #[cfg(feature = "containers")]
    pub(super) fn contained(&'static self) -> Result<Server> {
        match Container::start(&self.recipe) {
            Ok(running) => Ok(Server::contained(self, running)),
            Err(Failure::NoEngine(why)) => bail!(
                "no Docker engine answers, so {} cannot run in a container ({why}); either:\n\
                 - start an engine, and set DOCKER_HOST to where it listens ({})\n\
                 - go without containers, with {} set to the URL of a running server",
                self.name,
                env::var("DOCKER_HOST").as_deref().unwrap_or("not set"),
                self.url
            ),
            Err(Failure::Start(error)) => Err(error),
        }
    }

    /// Starts a private server, from programs that are there or are installed now.
    pub(super) fn private<C: Child + 'static>(
        &'static self,
        start: impl FnOnce(Programs) -> Result<(C, String)>,
    ) -> Result<Server> {
        match (self.programs)() {
            Some(programs) => Server::started(self, programs, start),
            None => self.install("cannot be private", start),
        }
    }

    fn install<C: Child + 'static>(
        &'static self,
        no_container: &str,
        start: impl FnOnce(Programs) -> Result<(C, String)>,
    ) -> Result<Server> {
        if let Some(obstacle) = install::obstacle() {
            bail!(
                "no {} for the tests; any of these gives one:\n\
                 - set {} to the URL of a running server (not set)\n\
                 - {} (not found)\n\
                 - feature `containers` and a Docker engine ({no_container})\n\
                 - run as root on Debian, to have the package installed ({obstacle})",
                self.name,
                self.url,
                self.advice
            );
        }
        install::package(self)?;
        let programs = (self.programs)().with_context(|| {
            format!(
                "the package `{}` is installed, but brought no server programs",
                self.package
            )
        })?;
        Server::started(self, programs, start)
    }
}
