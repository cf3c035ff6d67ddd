//! The session: one connection, from its handshake to its end.
//!
//! async-nats reconnects by itself and then sends what was queued before the connection broke, which
//! may be minutes old and long since sent by somebody else. Dropping its client does not help: the
//! queue is emptied first. So each client here has one connection and ends with it, queue and all;
//! the [link](crate::link) makes the next one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_nats::{
    Auth, AuthError, Client, ConnectOptions, Event, ServerAddr,
    connection::State,
    jetstream::{
        Error as ApiError,
        context::{Context, ContextBuilder},
        response::Response,
        stream::Info,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    access::Access,
    acks::{Call, Calls},
    address::Credentials,
    error::{self, Refusal},
};

/// How often an idle connection is tried; it ends when two pings are not answered.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How many replies may wait to be handed on, beyond those to messages in flight; async-nats drops
/// any more, and their messages are unknown.
///
/// Calls that were dropped give their places back at once, and their replies come all the same.
const REPLIES_MAX: usize = 65_536;

/// One connection and what is known of the stream behind it.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    context: Context,
    calls: Arc<Calls>,
    ended: watch::Sender<bool>,
    stale: AtomicBool,
    /// Aborted when the session is dropped, so that the client ends.
    _router: JoinSet<()>,
}

impl Session {
    /// Connects and signs in; `in_flight` is how many replies and messages may wait at once.
    ///
    /// When the future is dropped, the connection is closed.
    pub(crate) async fn connect(access: &Access, in_flight: usize) -> Result<Self, Refusal> {
        let ended = watch::Sender::new(false);
        let connected = Arc::new(AtomicBool::new(false));
        let addresses = access.servers.addresses().to_vec();
        let options = options(access, in_flight, &connected, &ended)?;
        let client = connect(options, addresses).await?;
        connected.store(true, Ordering::SeqCst);

        let inbox = client.new_inbox();
        let replies = client.subscribe(format!("{inbox}.>")).await;
        let replies =
            replies.map_err(|error| Refusal::unavailable(format!("cannot subscribe: {error}")))?;
        let calls = Arc::new(Calls::new(inbox));
        let mut router = JoinSet::new();
        router.spawn(Arc::clone(&calls).route(replies));
        let context = ContextBuilder::new()
            .timeout(access.connect_timeout)
            .build(client.clone());
        Ok(Self {
            client,
            context,
            calls,
            ended,
            stale: AtomicBool::new(false),
            _router: router,
        })
    }

    /// Whether messages may be sent over it.
    pub(crate) fn is_open(&self) -> bool {
        !*self.ended.borrow() && self.client.connection_state() == State::Connected
    }

    /// Ends it: what waits for replies is unknown from now on.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Whether the stream may have changed since it was looked at.
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.load(Ordering::Relaxed)
    }

    /// The version of the server.
    pub(crate) fn server_version(&self) -> String {
        self.client.server_info().version
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Asks the server for the stream.
    pub(crate) async fn inspect(&self, stream: &str) -> Result<Info, Refusal> {
        let info = self.ask("STREAM.INFO", stream, &()).await?;
        let info = info.map_err(|error| error::of_api(&error, stream))?;
        self.stale.store(false, Ordering::Relaxed);
        Ok(info)
    }

    /// Asks JetStream `what` about `whom`, such as `STREAM.INFO` about a stream.
    ///
    /// When the future is dropped, the question may have taken effect.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        whom: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<Result<T, ApiError>, Refusal> {
        let reply = self
            .context
            .request::<_, _, Response<T>>(format!("{what}.{whom}"), body)
            .await
            .map_err(|error| error::of_request(error.kind(), what, &error.to_string()))?;
        Ok(match reply {
            Response::Ok(answer) => Ok(answer),
            Response::Err { error } => Err(error),
        })
    }

    /// Opens a call that waits for `count` replies.
    pub(crate) fn open_call(&self, count: usize) -> Call {
        self.calls.open(count)
    }

    /// How many replies have come so far.
    pub(crate) fn answers(&self) -> u64 {
        self.calls.answers()
    }

    /// Changes to true when the connection ends.
    pub(crate) fn watch_end(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    /// Notes that the stream may have changed since it was looked at.
    pub(crate) fn mark_stale(&self) {
        self.stale.store(true, Ordering::Relaxed);
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }
}

/// The options of a client that has one connection.
fn options(
    access: &Access,
    in_flight: usize,
    connected: &Arc<AtomicBool>,
    ended: &watch::Sender<bool>,
) -> Result<ConnectOptions, Refusal> {
    let credentials = access.servers.credentials.clone();
    let connected = Arc::clone(connected);
    let ended = ended.clone();
    let options = ConnectOptions::with_auth_callback(move |_| {
        let auth = if connected.load(Ordering::SeqCst) {
            Err(AuthError::new(
                "this connection has ended, and iobox makes a new one",
            ))
        } else {
            Ok(auth(&credentials))
        };
        std::future::ready(auth)
    })
    // One try for each server, first to connect and then, in vain, to connect again.
    .max_reconnects(access.servers.addresses().len())
    .reconnect_delay_callback(|_| Duration::ZERO)
    .ignore_discovered_servers()
    .event_callback(move |event| {
        if matches!(event, Event::Disconnected | Event::Closed) {
            ended.send_replace(true);
        }
        std::future::ready(())
    })
    .connection_timeout(access.connect_timeout)
    .request_timeout(Some(access.connect_timeout))
    .ping_interval(PING_INTERVAL)
    .subscription_capacity(REPLIES_MAX + in_flight)
    .name(&access.name);
    #[cfg(feature = "tls")]
    let options = options
        .tls_client_config(crate::tls::client_config()?)
        .require_tls(access.require_tls);
    Ok(options)
}

fn auth(credentials: &Credentials) -> Auth {
    let mut auth = Auth::new();
    match credentials {
        Credentials::None => {}
        Credentials::Token(token) => auth.token = Some(token.clone()),
        Credentials::User(name, password) => {
            auth.username = Some(name.clone());
            auth.password = Some(password.clone());
        }
    }
    auth
}

/// Connects in a task of its own, since async-nats panics when a server wants TLS and the program
/// holds no cryptography.
async fn connect(options: ConnectOptions, addresses: Vec<ServerAddr>) -> Result<Client, Refusal> {
    let mut task = JoinSet::new();
    task.spawn(async move { options.connect(&addresses[..]).await });
    match task.join_next().await {
        Some(Ok(Ok(client))) => Ok(client),
        Some(Ok(Err(error))) => Err(error::of_connect(error.kind(), &error.to_string())),
        _ => Err(Refusal::invalid(
            "the connection panicked, as it does when the server wants TLS and the program is built \
             without the feature tls: switch that on",
        )),
    }
}
