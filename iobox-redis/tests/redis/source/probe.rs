//! The probe of a source: what keeps it from reading, and what to change.

use iobox_core::{ErrorKind, source::Source as _};
use iobox_redis::RedisSource;
use iobox_testkit::{servers::Redis, source::support::start};

use super::{TOPIC, builder, source};
use crate::support::{Log, Place, server};

async fn refused(source: &RedisSource, says: &str) {
    let error = source.probe().await.expect_err(says);
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(says), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_no_stream_is_refused_by_name_and_the_others_are_not_read_past_it() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    place
        .ask(&format!("SET {}other secret", place.prefix))
        .await;
    for unordered in [false, true] {
        let builder = builder(&place).topic(TOPIC).topic("other");
        let builder = if unordered {
            builder.unordered()
        } else {
            builder
        };
        let source = builder.build().expect("a source");
        let says = format!(
            "the key {}other holds something that is no stream",
            place.prefix
        );
        refused(&source, &says).await;
        let error = source.open(&start(None, 1)).await.expect_err("refused");
        assert!(error.to_string().contains(&says), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_right_is_named() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    super::add(&place, &["1-1"]).await;
    let common = ["xinfo|stream", "time", "xgroup|create", "info"];
    for (unordered, needed) in [
        (false, &["xread", "xgroup|setid"][..]),
        (
            true,
            &[
                "xreadgroup",
                "xautoclaim",
                "xack",
                "xpending",
                "xgroup|delconsumer",
            ],
        ),
    ] {
        for missing in std::iter::once(&"nothing").chain(needed) {
            let login = "ACL SETUSER few reset on >few";
            place.ask(&format!("{login} ~{}*", place.prefix)).await;
            let rights = common.iter().chain(needed).filter(|name| *name != missing);
            for right in rights {
                place.ask(&format!("ACL SETUSER few +{right}")).await;
            }
            let url = place.url.replace("redis://", "redis://few:few@");
            let config = iobox_redis::Config::builder(url).prefix(&place.prefix);
            let name = iobox_core::inbox::SourceName::new("tests").expect("a name");
            let builder = RedisSource::builder(config.build().expect("a configuration"), name);
            let builder = builder.topic(TOPIC);
            let builder = if unordered {
                builder.unordered()
            } else {
                builder
            };
            let source = builder.build().expect("a source");
            if *missing == "nothing" {
                source.probe().await.expect("enough rights");
            } else {
                refused(&source, &format!("Redis refuses {missing} of the stream")).await;
            }
        }
    }
    // Other keys are no business of this user.
    place.ask("ACL SETUSER few resetkeys ~other:*").await;
    let url = place.url.replace("redis://", "redis://few:few@");
    let config = iobox_redis::Config::builder(url).prefix(&place.prefix);
    let name = iobox_core::inbox::SourceName::new("tests").expect("a name");
    let builder = RedisSource::builder(config.build().expect("a configuration"), name);
    let source = builder.topic(TOPIC).build().expect("a source");
    refused(&source, "or not on this key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_and_nodes_of_clusters_are_refused() {
    let primary = server(Redis::builder()).await;
    let (_, port) = primary.url().rsplit_once(':').expect("a port");
    for (line, says) in [
        (format!("replicaof 127.0.0.1 {port}"), "is a replica"),
        (
            "cluster-enabled yes".to_owned(),
            "the source does not follow",
        ),
    ] {
        let server = server(Redis::builder().setting(line)).await;
        let place = Place::on(&server).await;
        refused(&source(&place), says).await;
        let opened = source(&place).open(&start(None, 1)).await;
        let error = opened.expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_keeps_nothing_on_disk_is_warned_about_and_read() {
    let log = Log::default();
    let _guard = log.listen();
    let server = server(Redis::builder().setting("appendonly no")).await;
    let place = Place::on(&server).await;
    source(&place).probe().await.expect("it can be read");
    let text = log.text();
    let mut warnings = text.lines().filter(|line| line.contains("WARN"));
    let warning = warnings.next().expect("a warning");
    assert!(warning.contains("set appendonly yes"), "{warning}");
    assert!(warning.contains("IS LOST"), "{warning}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_changes_nothing() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    super::add(&place, &["1-1"]).await;
    let stream = format!("XINFO STREAM {}{TOPIC} FULL", place.prefix);
    let before = place.ask(&stream).await;
    for builder in [builder(&place), builder(&place).unordered()] {
        let source = builder.topic(TOPIC).topic("absent").build();
        source.expect("a source").probe().await.expect("a probe");
    }
    assert_eq!(place.ask(&stream).await, before);
    assert_eq!(place.ask("DBSIZE").await, redis::Value::Int(1));
}
