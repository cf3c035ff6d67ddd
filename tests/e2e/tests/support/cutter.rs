//! A cutter: TCP to a broker that ends a connection when a message passes that it knows.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream, tcp},
    task::JoinHandle,
};

/// The most bytes on their way to the broker.
const BUFFER_BYTES: usize = 16 * 1024;

/// TCP on a port of its own, handed on to a broker. Ends with the test's runtime.
#[derive(Debug)]
pub(crate) struct Cutter {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Cutter {
    /// Hands on to `target` what does not hold `marker`.
    pub(crate) async fn to(target: SocketAddr, marker: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let cuts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&cuts);
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    continue;
                };
                let cuts = Arc::clone(&counted);
                // A connection that breaks is told to both sides by its end.
                tokio::spawn(async move {
                    let _ = hand_on(client, target, marker.as_bytes(), &cuts).await;
                });
            }
        });
        Self {
            address,
            cuts,
            accepting,
        }
    }

    /// Where clients connect to.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has ended.
    pub(crate) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn hand_on(
    client: TcpStream,
    target: SocketAddr,
    marker: &[u8],
    cuts: &AtomicUsize,
) -> io::Result<()> {
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let mut to_client = to_client;
    tokio::select! {
        ended = watch(from_client, to_server, marker, cuts) => ended,
        ended = copy(&mut from_server, &mut to_client) => ended.map(|_| ()),
    }
}

/// Copies until the end or until the marker was read, also one that comes in two pieces. What comes
/// with its last piece does not pass.
async fn watch(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    marker: &[u8],
    cuts: &AtomicUsize,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut seen = Vec::new();
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        seen.extend_from_slice(&buffer[..count]);
        if seen.windows(marker.len()).any(|part| part == marker) {
            cuts.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        seen.drain(..seen.len().saturating_sub(marker.len() - 1));
        to.write_all(&buffer[..count]).await?;
    }
}
