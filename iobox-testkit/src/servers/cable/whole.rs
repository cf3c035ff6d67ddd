//! The cable itself: a port of its own, and the connections that come to it.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
};

use super::{Fault, Reach, Way, connection::hand_on, line::Line};

/// TCP on a port of its own, handed on to a server.
///
/// It works on the tokio runtime that it was made on, and ends all connections when it is dropped. At
/// most [`CONNECTIONS_MAX`](Self::CONNECTIONS_MAX) are open; each holds at most about 2 MiB that is on
/// its way.
///
/// ```no_run
/// # async fn example() -> anyhow::Result<()> {
/// use iobox_testkit::servers::{Cable, Fault, Reach, Way};
///
/// let cable = Cable::to(([127, 0, 0, 1], 5432).into()).await?;
/// // What the clients of now say waits, and arrives when they have long given up.
/// cable.apply(Fault::Hold { way: Way::ToServer, reach: Reach::Open });
/// cable.mend();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    line: Line,
    /// Each open connection holds a receiver.
    open: watch::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Cable {
    /// The most connections that are open at a time; more wait until one ends.
    pub const CONNECTIONS_MAX: usize = 1_024;

    /// Lays a cable to the server at `target`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("cannot listen for a cable")?;
        let address = listener.local_addr().context("a cable has no port")?;
        let line = Line::default();
        let open = watch::Sender::new(());
        let accepting = tokio::spawn(accept(listener, target, line.clone(), open.clone()));
        Ok(Self {
            address,
            line,
            open,
            accepting,
        })
    }

    /// Where clients connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections clients have tried, those that a cut cable ended at once included.
    #[must_use]
    pub fn connections(&self) -> usize {
        usize::try_from(self.line.opened()).unwrap_or(usize::MAX)
    }

    /// How many connections are open, also those that one side has left and the other has not heard of.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.receiver_count()
    }

    /// How often a fault did something: delayed, held or swallowed a piece, dripped, ended a connection.
    /// A test that wants a fault to have happened looks here.
    #[must_use]
    pub fn touched(&self) -> u64 {
        self.line.touched()
    }

    /// Does something wrong from now on, besides what is wrong already.
    pub fn apply(&self, fault: Fault) {
        self.line.apply(fault);
    }

    /// Holds back what the server says, until the cable is cut or mended.
    pub fn mute(&self) {
        self.apply(Fault::Hold {
            way: Way::ToClient,
            reach: Reach::All,
        });
    }

    /// Ends every connection, and each one that is tried anew. Nothing passes once this has returned.
    pub async fn cut(&self) {
        self.line.cut();
        self.open.closed().await;
    }

    /// Lets everything through again. What was held arrives; what vanished does not, and connections
    /// that lost something stay silent.
    pub fn mend(&self) {
        self.line.mend();
    }
}

impl Drop for Cable {
    /// Ends the task that holds the connections, and all of them with it.
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, line: Line, open: watch::Sender<()>) {
    let room = Arc::new(Semaphore::new(Cable::CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let client = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((client, _)) = client else {
            continue;
        };
        let guard = open.subscribe();
        let Some(number) = line.open() else {
            // Dropped: the client sees its connection end.
            continue;
        };
        let line = line.clone();
        connections.spawn(async move {
            hand_on(client, target, number, &line).await;
            drop((guard, permit));
        });
    }
}
