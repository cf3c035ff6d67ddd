//! The connection: one that publishing shares, made when it is needed, and again at most once a second;
//! and one of its own for each reader.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use iobox_core::{Error, Result};
use redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, PushInfo, PushKind, RedisResult, Value,
    aio::MultiplexedConnection,
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};

use crate::{Config, error};

/// How many commands may wait for the task that writes them.
const QUEUE_MAX: usize = 1_024;
/// How many bytes are gathered before they are written.
const WRITE_BYTES: usize = 64 * 1024;

/// Makes connections and hands out the one that lives. Clones are the same.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Inner>);

struct Inner {
    client: Client,
    settings: AsyncConnectionConfig,
    response_timeout: Duration,
    pause: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<Connection>,
    /// When the last try began, or when it failed.
    tried: Option<Instant>,
    /// Why the last try failed: its kind and its sentence.
    failed: Option<(iobox_core::ErrorKind, String)>,
}

/// A connection. Clones are the same; it is closed when the last of them is dropped.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: MultiplexedConnection,
    alive: Arc<AtomicBool>,
    response_timeout: Duration,
}

impl Connection {
    /// The reply to a command, within the response timeout and `wait`, for which the server may
    /// block. A connection that is of no more use is given up.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) when there is no reply in time.
    pub(crate) async fn reply(&self, command: &Cmd, wait: Duration) -> Result<RedisResult<Value>> {
        let mut client = self.client.clone();
        self.within(wait, command.query_async(&mut client)).await
    }

    /// The replies to commands that are written in one piece, each of which may be an error, within
    /// the same time.
    ///
    /// # Errors
    /// As for [`reply`](Self::reply).
    pub(crate) async fn replies(
        &self,
        commands: &Pipeline,
        wait: Duration,
    ) -> Result<RedisResult<Vec<Value>>> {
        let mut client = self.client.clone();
        self.within(wait, commands.query_async(&mut client)).await
    }

    async fn within<T>(
        &self,
        wait: Duration,
        asking: impl Future<Output = RedisResult<T>>,
    ) -> Result<RedisResult<T>> {
        let Ok(reply) = timeout(self.response_timeout + wait, asking).await else {
            self.give_up();
            return Err(Error::unavailable(format!(
                "Redis sent no reply for {:?}",
                self.response_timeout
            )));
        };
        if let Err(error) = &reply
            && error::ends_connection(error)
        {
            self.give_up();
        }
        Ok(reply)
    }

    /// Whether it has not been seen to end.
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Gives it up: nobody gets it any more.
    pub(crate) fn give_up(&self) {
        self.alive.store(false, Ordering::Release);
    }
}

/// What to do when it is too early for another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Early {
    /// Fail as the last try did.
    Fail,
    /// Wait until the pause is over, and fail as whoever tried meanwhile.
    Wait,
}

impl Connector {
    pub(crate) fn new(config: &Config) -> Self {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            // The default of half a second makes outcomes unknown that are merely slow, and ends
            // reads that wait; each call has a timeout of its own.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE_MAX)
            .set_write_backpressure_boundary(WRITE_BYTES);
        Self(Arc::new(Inner {
            client: config.client.clone(),
            settings,
            response_timeout: config.response_timeout,
            pause: config.reconnect_pause,
            state: Mutex::default(),
        }))
    }

    /// The connection that lives, or a new one.
    ///
    /// Calls that come together wait for one try, and fail with it. When this is dropped, the try
    /// goes on for those who come next, within the timeout.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) or
    /// [`Invalid`](iobox_core::ErrorKind::Invalid), as the last try came to.
    pub(crate) async fn get(&self, early: Early) -> Result<Connection> {
        if let Some(live) = self.0.state.lock().await.alive() {
            return Ok(live);
        }
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move { inner.get(early).await })
            .await
            .unwrap_or_else(|_| Err(Error::internal("connecting to Redis panicked")))
    }

    /// A new connection that nobody else gets, at once. Nothing is left when this is dropped.
    ///
    /// # Errors
    /// [`Unavailable`](iobox_core::ErrorKind::Unavailable) or
    /// [`Invalid`](iobox_core::ErrorKind::Invalid).
    pub(crate) async fn dedicated(&self) -> Result<Connection> {
        self.0.connect().await
    }
}

impl Inner {
    async fn get(&self, early: Early) -> Result<Connection> {
        if early == Early::Wait {
            let tried = self.state.lock().await.tried;
            // Without the lock: who does not want to wait need not.
            if let Some(tried) = tried {
                sleep_until(tried + self.pause).await;
            }
        }
        let mut state = self.state.lock().await;
        if let Some(live) = state.alive() {
            return Ok(live);
        }
        state.live = None;
        if state.tried.is_some_and(|tried| tried + self.pause > now()) {
            return Err(state.failure());
        }
        state.tried = Some(now());
        state.failed = None;
        match self.connect().await {
            Ok(live) => {
                state.live = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                let (kind, text) = (error.kind(), error.to_string());
                let sentence = text.strip_prefix(&format!("{kind}: ")).unwrap_or(&text);
                state.failed = Some((kind, sentence.to_owned()));
                // A try may take longer than the pause. Those who waited for it would each begin
                // another, one behind the other, until their time is up.
                state.tried = Some(now());
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<Connection> {
        let alive = Arc::new(AtomicBool::new(true));
        let told = Arc::clone(&alive);
        let settings = self
            .settings
            .clone()
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    told.store(false, Ordering::Release);
                }
                Ok::<(), redis::aio::SendError>(())
            });
        let client = self
            .client
            .get_multiplexed_async_connection_with_config(&settings)
            .await
            .map_err(|error| error::asked("cannot connect to Redis", &error))?;
        Ok(Connection {
            client,
            alive,
            response_timeout: self.response_timeout,
        })
    }
}

impl State {
    fn alive(&self) -> Option<Connection> {
        self.live.clone().filter(Connection::is_alive)
    }

    fn failure(&self) -> Error {
        match &self.failed {
            Some((kind, sentence)) => Error::new(*kind, sentence.clone()),
            None => {
                Error::unavailable("the connection to Redis has ended; it is made again shortly")
            }
        }
    }
}

/// The time of this machine.
#[allow(
    clippy::disallowed_methods,
    reason = "pauses and what a server is asked are in real time; tokio's clock can be paused by tests"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("pause", &self.0.pause)
            .finish_non_exhaustive()
    }
}
