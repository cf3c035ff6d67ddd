//! Logins and rights: refused ones, and as few as possible.

use std::time::Instant;

use iobox_core::{
    ErrorKind,
    publisher::{Durability, Publisher as _},
};
use iobox_redis::{Config, RedisPublisher};
use iobox_testkit::servers::Redis;

use crate::support::{Place, Reader, made, message, publish, server};

const SECRET: &str = "s3cr3t-CANARY";

/// The publisher of a user, and what it must be refused with.
async fn refused(publisher: &RedisPublisher, says: &str) {
    let error = publisher.probe().await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert!(!format!("{error:?} {publisher:?}").contains(SECRET));
    for outcome in publish(publisher, &[message("t", "a"), message("t", "b")]).await {
        assert!(outcome.starts_with("unavailable: "), "{outcome}");
        assert!(outcome.matches("invalid: ").count() <= 1, "{outcome}");
        assert!(outcome.contains(says), "{outcome}");
        assert!(!outcome.contains(SECRET), "{outcome}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_wrong_password_is_refused_without_being_shown() {
    let server = server(Redis::builder().password("right")).await;
    let host = server.url().trim_start_matches("redis://");
    for (login, says) in [
        (
            "",
            "the server asks for a login: put user and password into the URL",
        ),
        (
            &format!(":{SECRET}@"),
            "the server refuses user or password",
        ),
        (
            &format!("{SECRET}:right@"),
            "the server refuses user or password",
        ),
    ] {
        let publisher = made(Config::builder(format!("redis://{login}{host}")));
        refused(&publisher, says).await;
    }
    let publisher = made(Config::builder(format!("redis://:right@{host}")));
    publisher.probe().await.expect("the right password");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_exist_is_refused() {
    let server = server(Redis::builder()).await;
    let publisher = made(Config::builder(format!("{}/99", server.url())));
    refused(&publisher, "the server has no database of this number").await;
}

/// A server with a user that has these rights, and the URL of that user.
async fn with_rights(rights: &str) -> (Redis, Place) {
    let server = server(Redis::builder()).await;
    let mut place = Place::on(&server).await;
    place.prefix = "iobox:".to_owned();
    place
        .ask(&format!("ACL SETUSER app on >{SECRET} {rights}"))
        .await;
    place.url = place
        .url
        .replace("redis://", &format!("redis://app:{SECRET}@"));
    (server, place)
}

#[tokio::test(flavor = "multi_thread")]
async fn few_rights_are_enough() {
    for rights in [
        "~iobox:* +xadd +info +role +config|get",
        "~iobox:* +xadd +info",
        "~iobox:* +xadd +config|get",
    ] {
        let (_server, place) = with_rights(rights).await;
        let publisher = place.publisher();
        let told = publisher.probe().await.expect(rights);
        assert_eq!(told, Durability::PageCache, "{rights}");
        assert_eq!(publish(&publisher, &[message("t", "a")]).await, [""]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_tell_nothing_is_not_trusted() {
    let (_server, place) = with_rights("~iobox:* +xadd").await;
    let error = place.publisher().probe().await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error
            .to_string()
            .contains("allow its user `info` or `config|get`"),
        "{error}"
    );
    let accepting = made(place.config().allow_volatile(true));
    assert_eq!(
        accepting.probe().await.expect("accepted"),
        Durability::Volatile
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_may_not_write_is_refused() {
    let (_server, place) = with_rights("~iobox:* +info +config|get").await;
    refused(
        &place.publisher(),
        "NOPERM: the user may not run this command",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_the_user_may_not_write_leaves_the_others_alone() {
    let (_server, place) = with_rights("~iobox:orders.* +xadd +info").await;
    let batch = [
        message("orders.a", "1"),
        message("stock", "2"),
        message("orders.b", "3"),
    ];
    let outcomes = publish(&place.publisher(), &batch).await;
    assert_eq!(
        outcomes,
        [
            "",
            "transient: NOPERM: the user may not write to the stream of this topic",
            ""
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_revoked_at_run_time_are_tried_at_most_once_a_second() {
    let (_server, mut place) = with_rights("~iobox:* +xadd +info").await;
    let publisher = place.publisher();
    assert_eq!(publish(&publisher, &[message("t", "a")]).await, [""]);
    place.reader = Reader::open(&place.url.replace(&format!("app:{SECRET}@"), ""))
        .await
        .expect("a reader");
    place.ask("ACL SETUSER app off").await;
    place.ask("CLIENT KILL USER app").await;
    let before = connections(&place).await;
    let start = Instant::now();
    let mut refused = 0;
    while start.elapsed().as_millis() < 2_500 {
        let outcome = publish(&publisher, &[message("t", "b")]).await.remove(0);
        refused += usize::from(outcome.contains("the server refuses user or password"));
        tokio::task::yield_now().await;
    }
    // Read before the clock: what comes in between is allowed then, too.
    let tried = connections(&place).await - before;
    let seconds = start.elapsed().as_secs() + 2;
    assert!(refused > 100, "{refused} were told why");
    assert!(tried <= seconds, "{tried} tries in {seconds} s");
    place.ask("ACL SETUSER app on").await;
    crate::support::until("it logs in again", async || publisher.probe().await.is_ok()).await;
    assert_eq!(publish(&publisher, &[message("t", "c")]).await, [""]);
}

/// How many connections the server has ever taken.
async fn connections(place: &Place) -> u64 {
    let info = place.ask("INFO stats").await;
    let info: String = redis::from_redis_value(info).expect("text");
    let mut lines = info.lines();
    let count = lines.find_map(|line| line.strip_prefix("total_connections_received:"));
    count.expect("a count").trim().parse().expect("a number")
}
