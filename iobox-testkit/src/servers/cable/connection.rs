//! The connection: what one client and the server say to each other, handed on.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp},
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{
    Ending, Way,
    line::{Line, Passed},
};

/// The most bytes that are read at a time.
const PIECE_BYTES: usize = 16 * 1024;
/// The most pieces that are on their way in one direction, beyond what the sockets hold.
const PIECES: usize = 64;

/// Hands a connection on until both sides ended it, or the line does.
pub(super) async fn hand_on(client: TcpStream, target: SocketAddr, number: u64, line: &Line) {
    let Ok(server) = TcpStream::connect(target).await else {
        // Dropped: the client sees its connection end.
        return;
    };
    // Only a speed-up.
    let _ = client.set_nodelay(true).and(server.set_nodelay(true));
    let (mut client, mut server) = (client, server);
    let ending = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let there = pipe(from_client, to_server, Way::ToServer, number, line);
        let back = pipe(from_server, to_client, Way::ToClient, number, line);
        tokio::select! {
            biased;
            ending = line.ended(number) => ending,
            ended = async { tokio::try_join!(there, back) } => ended.err().unwrap_or(Ending::Close),
        }
    };
    if ending == Ending::Reset {
        // Without it the end is that of a connection that was closed.
        let _ = client.set_zero_linger().and(server.set_zero_linger());
    }
}

/// Hands on what goes one way, until its end, which is handed on too.
///
/// # Errors
/// How the whole connection ends, if it ends here.
async fn pipe(
    from: tcp::ReadHalf<'_>,
    to: tcp::WriteHalf<'_>,
    way: Way,
    number: u64,
    line: &Line,
) -> Result<(), Ending> {
    let (pieces, waiting) = mpsc::channel(PIECES);
    let reading = async {
        read(from, pieces).await;
        Ok(())
    };
    let writing = write(waiting, to, way, number, line);
    tokio::try_join!(reading, writing).map(|_| ())
}

/// Reads until the end; a connection that breaks ends too, and what it said before goes on.
async fn read(mut from: tcp::ReadHalf<'_>, pieces: mpsc::Sender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; PIECE_BYTES];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let piece = (Instant::now(), buffer[..count].to_vec());
        if pieces.send(piece).await.is_err() {
            return;
        }
    }
}

async fn write(
    mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: tcp::WriteHalf<'_>,
    way: Way,
    number: u64,
    line: &Line,
) -> Result<(), Ending> {
    let mut passed = Passed::default();
    // Whether something vanished, or nobody is there to listen.
    let mut silent = false;
    while let Some((arrived, piece)) = pieces.recv().await {
        line.free(way, number, arrived).await;
        if line.vanishes(way, number) {
            line.touch();
            silent = true;
        }
        let mut rest = &piece[..];
        while !rest.is_empty() && !silent {
            let (most, pause) = line.drip(way).unwrap_or((rest.len(), Duration::ZERO));
            let most = most.min(rest.len());
            let (passes, ending) = line.pass(way, number, &mut passed, most);
            silent = send(&mut to, &rest[..passes]).await.is_err();
            if let Some(ending) = ending {
                return Err(ending);
            }
            rest = &rest[passes..];
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    }
    line.free(way, number, Instant::now()).await;
    if !silent && !line.vanishes(way, number) {
        // The other side may be gone already.
        let _ = to.shutdown().await;
    }
    Ok(())
}

async fn send(to: &mut tcp::WriteHalf<'_>, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}
