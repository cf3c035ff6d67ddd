//! The SQL function: the same checks, the same hash, the same rows as the Rust library.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use std::{collections::BTreeMap, sync::Arc};

use iobox_core::{
    message::{Limits, Origin, RandomIds},
    partition::Partitions,
    queue::Queue,
    store::{Admin, Body, Enqueued},
};
use iobox_postgres::PostgresStore;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use crate::support::{
    Owner, Schema, connection, enqueue,
    given::{Given, corpus, own_id},
    id, number, run,
};

#[tokio::test(flavor = "multi_thread")]
async fn it_accepts_exactly_what_the_library_accepts() {
    let schema = Schema::new();
    schema.migrated(16).await;
    let mut application = connection().await;
    run(&mut application, "set search_path = ''").await;
    let origin = Origin::new(Uuid::nil());
    for given in corpus() {
        let rust = given.draft().seal(origin, Limits::default(), &RandomIds);
        let sql = given.call(&schema, &mut application).await;
        match (&rust, &sql) {
            (Ok(_), Ok(_)) => {}
            (Err(_), Err(error)) => {
                let code = error
                    .as_database_error()
                    .and_then(|e| e.code().map(String::from));
                assert_eq!(code.as_deref(), Some("22023"), "{given:?}: {error}");
            }
            _ => panic!("they disagree on {given:?}: {rust:?}, {sql:?}"),
        }
    }
}

async fn bodies(store: &Arc<PostgresStore>) -> BTreeMap<String, (u8, usize, String)> {
    let owner = Owner::new(store).await;
    let mut bodies = BTreeMap::new();
    for row in owner.fetch(1_000).await.pending {
        let Body::Message(message) = &row.body else {
            panic!("{:?}", row.body);
        };
        assert_eq!(row.size, message.size());
        let facts = format!(
            "{} {:?} {:?} {:?}",
            message.topic(),
            message.key().map(|key| key.as_str().to_owned()),
            message.headers().iter().collect::<Vec<_>>(),
            message.payload()
        );
        bodies.insert(
            message.id().to_string(),
            (row.partition.number(), row.size, facts),
        );
    }
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn it_writes_the_rows_that_the_library_writes() {
    let (one, two) = (Schema::new(), Schema::new());
    let (rust, sql) = (one.migrated(16).await, two.migrated(16).await);
    let mut application = connection().await;
    let mut number = 0;
    for mut given in corpus() {
        let origin = Origin::new(Uuid::nil());
        if given.payload.len() > 1_000
            || given
                .draft()
                .seal(origin, Limits::default(), &RandomIds)
                .is_err()
        {
            continue;
        }
        number += 1;
        given.id.get_or_insert_with(|| format!("id-{number}"));
        enqueue(&rust, &[given.draft()]).await;
        given.call(&two, &mut application).await.unwrap();
    }
    assert!(number > 50);
    assert_eq!(bodies(&rust).await, bodies(&sql).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_may_be_an_object() {
    let schema = Schema::new();
    let store = schema.migrated(1).await;
    let mut application = connection().await;
    let call =
        |headers: &str| format!("select \"{}\".enqueue('t', null, 'x', {headers})", schema.0);
    run(&mut application, call("'{\"a\": \"1\", \"b\": \"2\"}'")).await;
    run(&mut application, call("default").replace(", default", "")).await;
    run(&mut application, call("null")).await;
    let rows = bodies(&store).await;
    assert_eq!(rows.len(), 3);
    assert!(
        rows.values()
            .any(|(_, _, facts)| facts.contains("[(\"a\", \"1\"), (\"b\", \"2\")]"))
    );
    for broken in [
        "'{\"a\": 1}'",
        "'[1]'",
        "'[[\"a\"]]'",
        "'\"a\"'",
        "'[[\"a\", null]]'",
        "'3'",
    ] {
        let result = sqlx::raw_sql(AssertSqlSafe(call(broken)))
            .execute(&mut application)
            .await;
        let error = result.unwrap_err();
        let code = error
            .as_database_error()
            .and_then(|e| e.code().map(String::from));
        assert_eq!(code.as_deref(), Some("22023"), "{broken}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_are_refused() {
    let schema = Schema::new();
    schema.migrated(1).await;
    let mut application = connection().await;
    for arguments in ["null, null, 'x'", "'t', null, null"] {
        let sql = format!("select \"{}\".enqueue({arguments})", schema.0);
        let error = sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut application)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("is null"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_returns_its_id_and_writes_nothing() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut application = connection().await;
    let given = own_id("order-1");
    for _ in 0..2 {
        assert_eq!(
            given.call(&schema, &mut application).await.unwrap(),
            "order-1"
        );
    }
    // Both write paths know each other's ids.
    assert_eq!(
        enqueue(&store, &[given.draft()]).await,
        [Enqueued::Duplicate(id("order-1"))]
    );
    enqueue(&store, &[own_id("order-2").draft()]).await;
    own_id("order-2")
        .call(&schema, &mut application)
        .await
        .unwrap();
    assert_eq!(bodies(&store).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn drawn_ids_are_uuids_of_version_7() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let mut application = connection().await;
    let mut last = Uuid::nil();
    for _ in 0..50 {
        let drawn = Given::new().call(&schema, &mut application).await.unwrap();
        let uuid = Uuid::parse_str(&drawn).unwrap();
        assert_eq!(uuid.get_version_num(), 7, "{uuid}");
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        let milliseconds = |uuid: Uuid| uuid.as_u128() >> 80;
        assert!(milliseconds(uuid) >= milliseconds(last));
        last = uuid;
        assert!(
            store
                .get(&Queue::Outbox, &id(&drawn))
                .await
                .unwrap()
                .is_some()
        );
    }
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_millis();
    assert!(now.abs_diff(last.as_u128() >> 80) < 60_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_hash_ten_thousand_strings_alike() {
    // A small generator of its own: the same strings in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let texts: Vec<String> = (0..10_000)
        .map(|_| {
            let length = 1 + next() % 40;
            (0..length)
                .filter_map(|_| match next() % 4 {
                    0 => char::from_u32(u32::try_from(next() % 0x11_0000).ok()?),
                    1 => char::from_u32(u32::try_from(0xa0 + next() % 0x2000).ok()?),
                    _ => char::from_u32(u32::try_from(32 + next() % 95).ok()?),
                })
                .filter(|c| !c.is_control())
                .collect()
        })
        .collect();
    let mut application = connection().await;
    for count in [1_u16, 2, 16, 64, 256] {
        let partitions = Partitions::new(count).unwrap();
        let rows = sqlx::query(
            "select get_byte(sha256(convert_to(t, 'UTF8')), 0) % $2
             from unnest($1::text[]) with ordinality as u (t, n) order by n",
        )
        .bind(&texts)
        .bind(i32::from(count))
        .fetch_all(&mut application)
        .await
        .unwrap();
        assert_eq!(rows.len(), texts.len());
        for (text, row) in texts.iter().zip(rows) {
            let sql: i32 = row.get(0);
            assert_eq!(i32::from(partitions.of(text).number()), sql, "{text:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_itself_hashes_like_the_library() {
    let schema = Schema::new();
    schema.migrated(256).await;
    let mut application = connection().await;
    let sql = format!(
        "select count(\"{0}\".enqueue('t', 'key-' || n, 'x')) from generate_series(1, 500) as n",
        schema.0
    );
    assert_eq!(number(&mut application, sql).await, 500);
    let rows = sqlx::query(AssertSqlSafe(format!(
        "select key, partition from \"{}\".message",
        schema.0
    )))
    .fetch_all(&mut application)
    .await
    .unwrap();
    let partitions = Partitions::new(256).unwrap();
    for row in rows {
        let (key, partition): (String, i16) = (row.get(0), row.get(1));
        assert_eq!(i16::from(partitions.of(&key).number()), partition);
    }
}
