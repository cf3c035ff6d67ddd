//! Losses: what was removed before it was read is counted exactly, and once.

use iobox_testkit::{
    servers::Redis,
    source::support::{Read, open, room},
};

use super::{TOPIC, add, payloads, source};
use crate::support::{Place, server};

#[tokio::test(flavor = "multi_thread")]
async fn each_entry_that_was_removed_before_it_was_read_is_counted_once() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let stream = format!("{}{TOPIC}", place.prefix);
    let source = source(&place);
    let mut read = Read::default();
    add(&place, &["1-1", "1-2", "1-3", "1-4", "1-5"]).await;
    let mut reader = open(&source, None, 1).await;
    read.until(reader.as_mut(), 5).await;
    assert_eq!(read.lost, 0);

    // While a reader is open: the first two of three.
    add(&place, &["2-1", "2-2", "2-3"]).await;
    place.ask(&format!("XTRIM {stream} MAXLEN 1")).await;
    read.until(reader.as_mut(), 6).await;
    assert_eq!(read.lost, 2);

    // By name, in the middle of what was not read.
    add(&place, &["3-1", "3-2", "3-3", "3-4"]).await;
    place.ask(&format!("XDEL {stream} 3-2 3-3")).await;
    read.until(reader.as_mut(), 8).await;
    read.nothing_more(reader.as_mut()).await;
    assert_eq!(read.lost, 4);
    reader.close().await;

    // Between two readers: all of it, and what is read later does not count again.
    add(&place, &["4-1", "4-2", "4-3"]).await;
    place.ask(&format!("XTRIM {stream} MAXLEN 0")).await;
    let mut reader = open(&source, read.position.as_ref(), 2).await;
    read.nothing_more(reader.as_mut()).await;
    assert_eq!(read.lost, 7);
    reader.close().await;
    add(&place, &["5-1"]).await;
    let mut reader = open(&source, read.position.as_ref(), 3).await;
    read.until(reader.as_mut(), 9).await;
    read.nothing_more(reader.as_mut()).await;
    assert_eq!(read.lost, 7);
    assert_eq!(payloads(&read)[5..], ["2-3", "3-1", "3-4", "5-1"]);
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_before_the_first_start_or_after_it_was_read_is_not_lost() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    let stream = format!("{}{TOPIC}", place.prefix);
    let source = source(&place);
    add(&place, &["1-1", "1-2", "1-3"]).await;
    place.ask(&format!("XTRIM {stream} MAXLEN 1")).await;
    let mut reader = open(&source, None, 1).await;
    let mut read = Read::default();
    read.until(reader.as_mut(), 1).await;
    add(&place, &["1-4", "1-5", "1-6"]).await;
    read.until(reader.as_mut(), 4).await;
    place.ask(&format!("XDEL {stream} 1-5")).await;
    place.ask(&format!("XTRIM {stream} MAXLEN 0")).await;
    add(&place, &["1-7"]).await;
    read.until(reader.as_mut(), 5).await;
    read.nothing_more(reader.as_mut()).await;
    assert_eq!(read.lost, 0);
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_tells_how_much_is_behind_it() {
    let server = server(Redis::builder()).await;
    let place = Place::on(&server).await;
    add(&place, &["1-1", "1-2", "1-3", "1-4", "1-5"]).await;
    let mut reader = open(&source(&place), None, 1).await;
    for behind in [3, 1, 0] {
        let batch = reader.next(room(2)).await.expect("a batch");
        assert_eq!(batch.behind, Some(behind));
        reader.ack().await.expect("an ack");
    }
    reader.close().await;
}
