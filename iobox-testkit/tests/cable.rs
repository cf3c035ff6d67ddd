//! The cable: every fault does what it says, and nothing is left behind.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock of the machine"
)]

use std::{io, net::SocketAddr, time::Duration};

use iobox_testkit::servers::{Cable, Ending, Fault, Reach, Way};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, timeout},
};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for something to arrive that may.
const MOMENT: Duration = Duration::from_millis(100);
const WAYS: [Way; 2] = [Way::ToServer, Way::ToClient];

/// What a server got: bytes, and connections that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Got {
    bytes: usize,
    ended: usize,
}

/// A server that sends back what it gets, and a cable to it.
struct Desk {
    cable: Cable,
    got: watch::Receiver<Got>,
}

impl Desk {
    async fn new() -> Self {
        let (target, got) = echo().await;
        let cable = Cable::to(target).await.expect("a cable");
        Self { cable, got }
    }

    async fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.cable.address()).await;
        client.expect("a connection")
    }

    /// A connection that was handed on.
    async fn used(&self) -> TcpStream {
        let mut client = self.client().await;
        assert_eq!(&ask(&mut client).await.expect("whole"), b"ping");
        client
    }

    async fn wait_for(&mut self, what: impl FnMut(&Got) -> bool) {
        let waiting = self.got.wait_for(what);
        let got = timeout(PATIENCE, waiting).await;
        got.expect("it arrives").expect("the server goes on");
    }

    async fn wait_until_open(&self, count: usize) {
        let closed = async {
            while self.cable.open() != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, closed).await.expect("an end");
    }
}

async fn echo() -> (SocketAddr, watch::Receiver<Got>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (got, total) = watch::channel(Got::default());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let got = got.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    got.send_modify(|got| got.bytes += count);
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
                got.send_modify(|got| got.ended += 1);
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

/// Whether nothing comes for a while.
async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(MOMENT, stream.read_u8()).await.is_err()
}

#[tokio::test]
async fn a_muted_cable_holds_back_replies_until_it_is_mended() {
    let mut desk = Desk::new().await;
    let mut client = desk.used().await;
    desk.cable.mute();
    let asking = tokio::spawn(async move { ask(&mut client).await });
    desk.wait_for(|got| got.bytes == 8).await;
    assert!(!asking.is_finished());
    desk.cable.mend();
    assert_eq!(&asking.await.expect("no panic").expect("whole"), b"ping");
}

#[tokio::test]
async fn a_cut_cable_ends_connections_old_and_new() {
    let desk = Desk::new().await;
    let mut old = desk.used().await;
    desk.cable.cut().await;
    ask(&mut old).await.expect_err("cut");
    if let Ok(mut new) = TcpStream::connect(desk.cable.address()).await {
        ask(&mut new).await.expect_err("cut");
    }
    assert_eq!(desk.got.borrow().bytes, 4);
    assert!(desk.cable.connections() >= 1);
    desk.cable.mend();
    desk.used().await;
}

#[tokio::test]
async fn latency_delays_each_way_and_keeps_the_rate() {
    let desk = Desk::new().await;
    let mut client = desk.used().await;
    let by = Duration::from_millis(60);
    for way in WAYS {
        desk.cable.apply(Fault::Latency { way, by });
    }
    let begun = Instant::now();
    // Many requests that are on their way at once are late once.
    for _ in 0..10 {
        client.write_all(b"ping").await.expect("a write");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut answers = [0; 40];
    client.read_exact(&mut answers).await.expect("answers");
    let took = begun.elapsed();
    assert!(took >= by * 2, "{took:?}");
    assert!(took < by * 10, "{took:?}");
    assert!(desk.cable.touched() > 0);
    desk.cable.mend();
    assert_eq!(&ask(&mut client).await.expect("whole"), b"ping");
}

#[tokio::test]
async fn what_was_held_arrives_when_its_client_is_long_gone() {
    let mut desk = Desk::new().await;
    let mut client = desk.used().await;
    let (way, reach) = (Way::ToServer, Reach::Open);
    desk.cable.apply(Fault::Hold { way, reach });
    client.write_all(b"late").await.expect("a write");
    drop(client);
    // Whoever connects anew is not held.
    desk.used().await;
    tokio::time::sleep(MOMENT).await;
    assert_eq!(desk.got.borrow().bytes, 8);
    desk.cable.mend();
    desk.wait_for(|got| got.bytes == 12 && got.ended == 2).await;
    desk.wait_until_open(0).await;
}

#[tokio::test]
async fn a_blackhole_to_the_server_swallows_requests_and_the_end() {
    let mut desk = Desk::new().await;
    let mut client = desk.used().await;
    let (way, reach) = (Way::ToServer, Reach::All);
    desk.cable.apply(Fault::Blackhole { way, reach });
    client.write_all(b"ping").await.expect("a write");
    assert!(is_silent(&mut client).await);
    desk.cable.mend();
    // There is a gap, so that nothing may follow.
    client.write_all(b"ping").await.expect("a write");
    assert!(is_silent(&mut client).await);
    drop(client);
    tokio::time::sleep(MOMENT).await;
    let lost = Got { bytes: 4, ended: 0 };
    assert_eq!(*desk.got.borrow(), lost, "the server does not hear of it");
    desk.used().await;
    desk.wait_for(|got| got.bytes == 8 && got.ended == 1).await;
    // The lost one is open at the server.
    desk.wait_until_open(1).await;
    desk.cable.cut().await;
    desk.wait_for(|got| got.ended == 2).await;
}

#[tokio::test]
async fn a_blackhole_to_the_client_swallows_replies() {
    let mut desk = Desk::new().await;
    let mut client = desk.used().await;
    let (way, reach) = (Way::ToClient, Reach::Open);
    desk.cable.apply(Fault::Blackhole { way, reach });
    client.write_all(b"ping").await.expect("a write");
    desk.wait_for(|got| got.bytes == 8).await;
    assert!(is_silent(&mut client).await);
    desk.used().await;
    drop(client);
    desk.wait_for(|got| got.ended == 2).await;
    desk.wait_until_open(0).await;
}

#[tokio::test]
async fn a_drip_lets_a_few_bytes_pass_at_a_time() {
    let desk = Desk::new().await;
    let mut client = desk.used().await;
    let every = Duration::from_millis(20);
    for way in WAYS {
        let bytes = 1;
        desk.cable.apply(Fault::Drip { way, bytes, every });
    }
    let begun = Instant::now();
    assert_eq!(&ask(&mut client).await.expect("whole"), b"ping");
    // Three pauses on the way there, and none is left on the way back but that of the last byte.
    assert!(begun.elapsed() >= every * 3, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_connection_breaks_behind_its_last_byte() {
    for (way, arrives) in [(Way::ToServer, 2), (Way::ToClient, 4)] {
        let mut desk = Desk::new().await;
        let mut client = desk.used().await;
        let spared = desk.used().await;
        desk.cable.apply(Fault::Break {
            way,
            after: 2,
            connections: 1,
            reach: Reach::Open,
            how: Ending::Close,
        });
        client.write_all(b"ping").await.expect("a write");
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.expect("its end");
        // The server's answer to half of a request may come too late.
        assert!(b"pi".starts_with(&rest), "{rest:?}");
        assert!(way == Way::ToServer || rest == b"pi", "{rest:?}");
        desk.wait_for(|got| got.ended == 1).await;
        assert_eq!(desk.got.borrow().bytes, 8 + arrives);
        let mut spared = spared;
        assert_eq!(&ask(&mut spared).await.expect("whole"), b"ping");
    }
}

#[tokio::test]
async fn a_lost_reply_belongs_to_a_request_that_arrived() {
    let mut desk = Desk::new().await;
    let mut client = desk.used().await;
    desk.cable.apply(Fault::LOST_REPLY);
    ask(&mut client).await.expect_err("no reply");
    desk.wait_for(|got| *got == Got { bytes: 8, ended: 1 })
        .await;
    desk.used().await;
    desk.cable.mend();
    // A second one counts anew.
    desk.cable.apply(Fault::LOST_REPLY);
    ask(&mut desk.client().await).await.expect_err("no reply");
}

#[tokio::test]
async fn a_reset_is_no_orderly_end() {
    let mut desk = Desk::new().await;
    let mut old = desk.used().await;
    desk.cable.apply(Fault::Reset);
    let reset = old.read_u8().await.expect_err("reset");
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    desk.wait_for(|got| got.ended == 1).await;
    desk.used().await;
}

#[tokio::test]
async fn handshakes_are_reset_so_many_times() {
    let desk = Desk::new().await;
    let mut old = desk.used().await;
    desk.cable.apply(Fault::Break {
        way: Way::ToClient,
        after: 3,
        connections: 2,
        reach: Reach::New,
        how: Ending::Reset,
    });
    for _ in 0..2 {
        let mut new = desk.client().await;
        let reset = ask(&mut new).await.expect_err("reset");
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    }
    desk.used().await;
    assert_eq!(&ask(&mut old).await.expect("whole"), b"ping");
}

#[tokio::test]
async fn a_cable_that_is_dropped_leaves_nothing_open() {
    let mut desk = Desk::new().await;
    let mut client = desk.used().await;
    desk.used().await;
    desk.wait_for(|got| got.ended == 1).await;
    let (way, reach) = (Way::ToServer, Reach::All);
    desk.cable.apply(Fault::Hold { way, reach });
    client.write_all(b"held").await.expect("a write");
    let (mut got, cable) = (desk.got, desk.cable);
    let address = cable.address();
    drop(cable);
    let ended = timeout(PATIENCE, got.wait_for(|got| got.ended == 2)).await;
    assert_eq!(ended.expect("an end").expect("a server").bytes, 8);
    let gone = timeout(PATIENCE, async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    gone.await.expect("nobody listens");
}
