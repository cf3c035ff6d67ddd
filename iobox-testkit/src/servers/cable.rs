//! A cable: TCP between a client and a server, which tests mute, cut and mend.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinHandle,
};

/// The most bytes that are on their way in one direction, beyond what the sockets hold.
const BUFFER_BYTES: usize = 16 * 1024;

/// What the cable lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Everything.
    Whole,
    /// What clients send, and no replies.
    Muted,
    /// Nothing: connections end.
    Cut,
}

/// TCP on a port of its own, handed on to a server.
///
/// It works on the tokio runtime that it was made on, and ends all connections when it is dropped.
#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    state: watch::Sender<State>,
    /// Each open connection holds a receiver.
    open: watch::Sender<()>,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Cable {
    /// Lays a cable to the server at `target`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("cannot listen for a cable")?;
        let address = listener.local_addr().context("a cable has no port")?;
        let state = watch::Sender::new(State::Whole);
        let open = watch::Sender::new(());
        let connections = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(accept(
            listener,
            target,
            state.subscribe(),
            open.clone(),
            Arc::clone(&connections),
        ));
        Ok(Self {
            address,
            state,
            open,
            connections,
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
        self.connections.load(Ordering::Relaxed)
    }

    /// Holds back what the server says, until the cable is cut or mended.
    pub fn mute(&self) {
        self.state.send_replace(State::Muted);
    }

    /// Ends every connection, and each one that is tried anew. Nothing passes once this has returned.
    pub async fn cut(&self) {
        self.state.send_replace(State::Cut);
        self.open.closed().await;
    }

    /// Lets everything through again.
    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accepting.abort();
        self.state.send_replace(State::Cut);
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    state: watch::Receiver<State>,
    open: watch::Sender<()>,
    connections: Arc<AtomicUsize>,
) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        connections.fetch_add(1, Ordering::Relaxed);
        let guard = open.subscribe();
        if *state.borrow() == State::Cut {
            // Dropped: the client sees its connection end.
            continue;
        }
        let state = state.clone();
        tokio::spawn(async move {
            // A connection that breaks is told to both sides by its end.
            let _ = connect(client, target, state).await;
            drop(guard);
        });
    }
}

/// Hands a connection on until one side ends it or the cable is cut.
async fn connect(
    client: TcpStream,
    target: SocketAddr,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let replies_may_pass = state.clone();
    let handed_on = async {
        let server = TcpStream::connect(target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            ended = copy(from_client, to_server, None) => ended,
            ended = copy(from_server, to_client, Some(replies_may_pass)) => ended,
        }
    };
    tokio::select! {
        biased;
        _ = state.wait_for(|state| *state == State::Cut) => Ok(()),
        ended = handed_on => ended,
    }
}

/// Copies until the end; what a muted cable holds back waits here and in the sockets.
async fn copy(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut state: Option<watch::Receiver<State>>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        if let Some(state) = &mut state {
            // The sender is gone only when the cable is, and then the connection ends.
            let _ = state.wait_for(|state| *state == State::Whole).await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, and tells how much that was.
    async fn echo() -> (SocketAddr, watch::Receiver<usize>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (got, total) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a client");
                let got = got.clone();
                tokio::spawn(async move {
                    let mut buffer = [0; 64];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        got.send_modify(|total| *total += count);
                        if stream.write_all(&buffer[..count]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        (address, total)
    }

    async fn ask(stream: &mut TcpStream) -> io::Result<[u8; 4]> {
        let mut answer = [0; 4];
        stream.write_all(b"ping").await?;
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn a_muted_cable_holds_back_replies_until_it_is_mended() {
        let (target, mut total) = echo().await;
        let cable = Cable::to(target).await.expect("a cable");
        let mut client = TcpStream::connect(cable.address()).await.expect("open");
        assert_eq!(&ask(&mut client).await.expect("whole"), b"ping");
        cable.mute();
        let asking = tokio::spawn(async move { ask(&mut client).await });
        total
            .wait_for(|total| *total == 8)
            .await
            .expect("requests pass");
        assert!(!asking.is_finished());
        cable.mend();
        assert_eq!(&asking.await.expect("no panic").expect("whole"), b"ping");
    }

    #[tokio::test]
    async fn a_cut_cable_ends_connections_old_and_new() {
        let (target, total) = echo().await;
        let cable = Cable::to(target).await.expect("a cable");
        let mut old = TcpStream::connect(cable.address()).await.expect("open");
        ask(&mut old).await.expect("whole");
        cable.cut().await;
        ask(&mut old).await.expect_err("cut");
        if let Ok(mut new) = TcpStream::connect(cable.address()).await {
            ask(&mut new).await.expect_err("cut");
        }
        assert_eq!(*total.borrow(), 4);
        assert!(cable.connections() >= 1);
        cable.mend();
        let mut new = TcpStream::connect(cable.address()).await.expect("open");
        assert_eq!(&ask(&mut new).await.expect("whole"), b"ping");
    }
}
