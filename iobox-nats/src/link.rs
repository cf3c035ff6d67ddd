//! The link: which connection is used, and when a new one is tried.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_nats::jetstream::{ErrorCode, context::CreateStreamErrorKind, stream::Info};
use iobox_core::{ErrorKind, publisher::Durability};
use tokio::{
    sync::{OwnedMutexGuard, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    config::Config,
    error::{self, Refusal},
    probe::{self, Stream},
    session::Session,
};

/// How often a server is tried that does not answer, and asked about a stream that is not right.
const PACE: Duration = Duration::from_secs(1);

/// A connection whose stream was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) session: Arc<Session>,
    pub(crate) stream: Arc<Stream>,
    /// What the stream is worth, or why nothing may be published to it.
    worth: Result<Durability, Refusal>,
    /// Whether every topic that was configured has a subject, while that can stop a relay's start.
    subjects: Result<(), Refusal>,
}

impl Live {
    /// What a probe tells.
    fn verdict(&self) -> Result<Durability, Refusal> {
        self.subjects.clone().and_then(|()| self.worth.clone())
    }
}

/// Holds at most one connection, and makes the next one.
#[derive(Debug)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    /// Asks the server whoever waits for the answer; aborted when the link is dropped.
    asking: Mutex<JoinSet<()>>,
}

/// What the link shares with the task that asks the server.
#[derive(Debug)]
struct Shared {
    config: Arc<Config>,
    live: Mutex<Option<Live>>,
    /// Held by the task that asks the server; others wait for what comes of it.
    turn: Arc<tokio::sync::Mutex<Turn>>,
}

/// What is known of the tries so far.
#[derive(Debug, Default)]
struct Turn {
    /// When the last try began, or ended if it failed: who waited for one that took long gets what it
    /// found, and does not wait for a second one.
    last: Option<Instant>,
    refusal: Option<Refusal>,
    /// When the stream was made that was seen last.
    created: Option<i128>,
    /// Whether a probe could say yes already.
    started: bool,
    /// What was told already, so that it is told once.
    told: Vec<String>,
}

impl Turn {
    /// From when on the server may be asked again, if not yet.
    fn too_soon(&self) -> Option<Instant> {
        let next = self.last? + PACE;
        (next > Instant::now()).then_some(next)
    }
}

impl Link {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            shared: Arc::new(Shared {
                config,
                live: Mutex::new(None),
                turn: Arc::default(),
            }),
            asking: Mutex::default(),
        }
    }

    /// A connection to publish over, or why there is none; asks the server at most once a second.
    ///
    /// When the future is dropped, the question goes on, and its answer serves the next caller.
    pub(crate) async fn live(&self) -> Result<Live, Refusal> {
        if let Some(live) = self.shared.fresh() {
            return usable(live);
        }
        let turn = Arc::clone(&self.shared.turn).lock_owned().await;
        if let Some(live) = self.shared.fresh() {
            return usable(live);
        }
        if turn.too_soon().is_some() {
            // What is known of the stream may be old, but sending is safe: the server answers.
            return match self.shared.open() {
                Some(live) => usable(live),
                None => Err(turn.refusal.clone().unwrap_or_else(not_connected)),
            };
        }
        self.look(turn).await.and_then(usable)
    }

    /// Asks the server: each time over a connection that is good, else at most once a second.
    ///
    /// It never answers from memory: a connection may have ended without having noticed.
    /// When the future is dropped, the question goes on, and its answer serves the next caller.
    pub(crate) async fn probe(&self) -> Result<Durability, Refusal> {
        loop {
            let turn = Arc::clone(&self.shared.turn).lock_owned().await;
            match turn.too_soon() {
                Some(next) if self.shared.fresh().is_none() => {
                    drop(turn);
                    sleep_until(next).await;
                }
                _ => return self.look(turn).await?.verdict(),
            }
        }
    }

    /// Looks at the stream in a task of its own, so that callers with less patience do not keep the
    /// publisher from ever getting a connection.
    async fn look(&self, mut turn: OwnedMutexGuard<Turn>) -> Result<Live, Refusal> {
        let (told, looked) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        {
            let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
            while asking.try_join_next().is_some() {}
            asking.spawn(async move {
                let looked = shared.look(&mut turn).await;
                // Whoever asked may have gone.
                let _ = told.send(looked);
            });
        }
        looked
            .await
            .unwrap_or_else(|_| Err(Refusal::unavailable("the attempt to connect ended early")))
    }
}

impl Shared {
    /// The connection, if there is one.
    fn open(&self) -> Option<Live> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.clone().filter(|live| live.session.is_open())
    }

    /// The connection, if there is one and nothing speaks for another look at its stream.
    fn fresh(&self) -> Option<Live> {
        self.open()
            .filter(|live| live.worth.is_ok() && !live.session.is_stale())
    }

    fn replace(&self, live: Option<Live>) {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = live;
    }

    /// Looks at the stream, over a new connection if there is none.
    async fn look(&self, turn: &mut Turn) -> Result<Live, Refusal> {
        turn.last = Some(Instant::now());
        let open = self.open();
        if open.is_none() {
            // Ends the client of a connection that was lost.
            self.replace(None);
        }
        let patience = self.config.access.connect_timeout;
        let looked = timeout(patience, self.ask(open.as_ref(), turn)).await;
        let looked = looked.unwrap_or_else(|_| {
            Err(Refusal::unavailable(format!(
                "the server did not answer within {patience:?}"
            )))
        });
        match &looked {
            Ok(live) => self.replace(Some(live.clone())),
            Err(refusal) => {
                if let Some(open) = open {
                    self.keep_or_end(open, refusal);
                }
            }
        }
        turn.refusal = looked.as_ref().err().cloned();
        if looked.is_err() {
            turn.last = Some(Instant::now());
        }
        looked
    }

    /// Ends a connection that does not answer, since it may be dead without knowing it. One whose
    /// stream is gone is kept, but nothing is sent over it before the stream is back.
    fn keep_or_end(&self, open: Live, refusal: &Refusal) {
        if refusal.kind == ErrorKind::Unavailable {
            open.session.end();
            self.replace(None);
        } else {
            open.session.mark_stale();
            self.replace(Some(Live {
                worth: Err(refusal.clone()),
                ..open
            }));
        }
    }

    async fn ask(&self, open: Option<&Live>, turn: &mut Turn) -> Result<Live, Refusal> {
        let session = match open {
            Some(live) => Arc::clone(&live.session),
            None => {
                Arc::new(Session::connect(&self.config.access, self.config.max_in_flight).await?)
            }
        };
        let version = session.server_version();
        probe::check_server(&version)?;
        let info = self.find(&session, turn).await?;
        let stream = Stream::of(&info);
        let worth = probe::check_stream(&info.config, &self.config)
            .and_then(|worth| probe::check_room(&info).map(|()| worth));
        let mut subjects = probe::check_subjects(&stream, &self.config);
        let mut warnings = probe::warnings(&version, &info.config);
        if turn.started
            && let Err(refusal) = subjects
        {
            // From now on each message is told apart: those of other subjects go on.
            warnings.push(refusal.text);
            subjects = Ok(());
        }
        turn.started |= worth.is_ok() && subjects.is_ok();
        tell(turn, &stream, warnings);
        Ok(Live {
            worth,
            subjects,
            stream: Arc::new(stream),
            session,
        })
    }

    /// Asks for the stream; the first time, makes it if that is wanted and it is not there.
    async fn find(&self, session: &Session, turn: &Turn) -> Result<Info, Refusal> {
        let name = &self.config.stream;
        let found = session.inspect(name).await;
        let Some(settings) = self
            .config
            .create
            .as_ref()
            .filter(|_| turn.created.is_none())
        else {
            return found;
        };
        if !matches!(&found, Err(refusal) if refusal.missing) {
            return found;
        }
        let request = settings.request(&self.config);
        match session.context().create_stream(request).await {
            Ok(_) => tracing::info!(stream = %name, "the stream was made"),
            Err(error) => match error.kind() {
                // Somebody else was faster.
                CreateStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {}
                CreateStreamErrorKind::JetStream(error) => {
                    return Err(error::of_api(&error, name));
                }
                kind => {
                    let text = format!("stream {name} could not be made: {kind}");
                    return Err(Refusal::unavailable(text));
                }
            },
        }
        session.inspect(name).await
    }
}

/// Tells a person what has changed, once.
fn tell(turn: &mut Turn, stream: &Stream, warnings: Vec<String>) {
    let name = stream.name();
    if turn
        .created
        .is_some_and(|created| created != stream.created)
    {
        tracing::error!(
            stream = %name,
            "the stream was deleted and made anew: what was published before is gone; replay it"
        );
    }
    turn.created = Some(stream.created);
    for warning in &warnings {
        if !turn.told.contains(warning) {
            tracing::warn!(stream = %name, "{warning}");
        }
    }
    turn.told = warnings;
}

/// Refuses a connection to a stream that nothing may be published to.
fn usable(live: Live) -> Result<Live, Refusal> {
    match &live.worth {
        Ok(_) => Ok(live),
        Err(refusal) => Err(refusal.clone()),
    }
}

fn not_connected() -> Refusal {
    Refusal::unavailable("the connection was lost; a new one is tried within a second")
}
