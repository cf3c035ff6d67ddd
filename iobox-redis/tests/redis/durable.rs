//! Durability: what the server's word is worth, asked of real servers.

use iobox_core::{
    ErrorKind, Relay, memory::MemoryStore, partition::Partitions, publisher::Durability,
    publisher::Publisher as _,
};
use iobox_testkit::servers::Redis;

use crate::support::{Log, Place, message, publish, server};

/// A server with these lines refuses with this sentence, at start.
async fn refused(settings: &[&str], says: &str) {
    let builder = settings
        .iter()
        .fold(Redis::builder(), |builder, line| builder.setting(*line));
    let server = server(builder).await;
    refused_by(&server, says).await;
}

async fn refused_by(server: &Redis, says: &str) {
    let place = Place::on(server).await;
    let error = place.publisher().probe().await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    let store = MemoryStore::new(Partitions::DEFAULT);
    let relay = Relay::builder(store, place.publisher())
        .build()
        .expect("a relay");
    let ended = relay.run(std::future::pending()).await;
    assert!(ended.expect_err("refused").to_string().contains(says));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_nothing_on_disk_is_refused_at_start() {
    refused(
        &["appendonly no"],
        "invalid: Redis keeps no append-only file and forgets confirmed messages when its process \
         ends: set appendonly yes, or accept the loss with allow_volatile",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_no_substitute_for_an_append_only_file() {
    refused(&["appendonly no", "save 60 1"], "set appendonly yes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_evicts_streams_is_refused_at_start() {
    refused(
        &["maxmemory 100mb", "maxmemory-policy allkeys-lru"],
        "invalid: Redis evicts any key when its memory is full, and so whole streams: set \
         maxmemory-policy noeviction, or accept the loss with allow_volatile",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_is_refused_at_start() {
    refused(
        &["cluster-enabled yes"],
        "invalid: Redis is a node of a cluster, and the publisher does not follow its redirections",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_refused_at_start_also_one_that_takes_writes() {
    let primary = server(Redis::builder()).await;
    let (_, port) = primary.url().rsplit_once(':').expect("a port");
    for read_only in ["yes", "no"] {
        let replica = Redis::builder()
            .setting(format!("replicaof 127.0.0.1 {port}"))
            .setting(format!("replica-read-only {read_only}"));
        let replica = server(replica).await;
        let says = "invalid: Redis is a replica: point the URL at the primary";
        refused_by(&replica, says).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sync_of_the_server_is_told() {
    for (line, kept) in [
        ("appendfsync always", Durability::Synced),
        ("appendfsync everysec", Durability::PageCache),
        ("appendfsync no", Durability::PageCache),
    ] {
        let server = server(Redis::builder().setting(line)).await;
        let place = Place::on(&server).await;
        let told = place.publisher().probe().await.expect("a probe");
        assert_eq!(told, kept, "{line}");
    }
}

#[tokio::test]
async fn a_server_that_forgets_is_accepted_by_option_with_a_loud_warning() {
    let log = Log::default();
    let _guard = log.listen();
    let server = server(Redis::builder().setting("appendonly no")).await;
    let place = Place::on(&server).await;
    let publisher = super::support::made(place.config().allow_volatile(true));
    let told = publisher.probe().await.expect("accepted");
    assert_eq!(told, Durability::Volatile);
    assert_eq!(publish(&publisher, &[message("t", "a")]).await, [""]);
    let text = log.text();
    let warning = text
        .lines()
        .find(|line| line.contains("WARN"))
        .expect("a warning");
    assert!(warning.contains("keeps no append-only file"), "{warning}");
    assert!(warning.contains("CAN BE LOST"), "{warning}");
}
