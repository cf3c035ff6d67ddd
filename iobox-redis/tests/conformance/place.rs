//! A place on a real server, behind a line that can be cut.

use std::sync::Arc;

use iobox_redis::Config;
use iobox_testkit::servers::{Cable, Redis, unique_schema};

use crate::support::{Reader, address};

/// A prefix on the shared server, and a line to it.
pub(crate) struct Place {
    pub(crate) config: Config,
    pub(crate) prefix: String,
    /// A client past the line.
    pub(crate) reader: Reader,
    pub(crate) url: String,
    pub(crate) cable: Cable,
    _server: Arc<Redis>,
}

/// The shared server; one of its own where users are made and the shared one is somebody else's.
fn server(few: bool) -> anyhow::Result<Arc<Redis>> {
    let shared = Redis::shared()?;
    if few && !shared.is_private() {
        return Ok(Arc::new(Redis::private()?));
    }
    Ok(shared)
}

/// The shared server and its version.
pub(crate) fn server_name() -> String {
    let server = Redis::shared().expect("a Redis");
    format!("{} {}", server.name(), server.version())
}

impl Place {
    /// A place of its own, whose user has no other rights than these, if any are given.
    pub(crate) async fn fresh(rights: Option<&'static str>) -> Self {
        let server = tokio::task::spawn_blocking(move || server(rights.is_some()))
            .await
            .expect("no panic")
            .expect("a Redis");
        let reader = Reader::open(server.url()).await.expect("a reader");
        let cable = Cable::to(address(server.url())).await.expect("a cable");
        let name = unique_schema("suite");
        let prefix = format!("{name}:");
        let mut url = format!("redis://{}", cable.address());
        if let Some(rights) = rights {
            let login = format!("ACL SETUSER {name} on >few ~{prefix}* {rights}");
            let login: Vec<&str> = login.split(' ').collect();
            reader.ask(&login).await.expect("a user with few rights");
            url = format!("redis://{name}:few@{}", cable.address());
        }
        let config = Config::builder(url).prefix(&prefix).build();
        Self {
            config: config.expect("a configuration"),
            prefix,
            reader,
            url: server.url().to_owned(),
            cable,
            _server: server,
        }
    }
}
