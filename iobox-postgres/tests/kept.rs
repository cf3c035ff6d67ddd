//! What was kept since nobody wanted it: whoever subscribes gets it, however much it is.

#![allow(
    clippy::disallowed_methods,
    reason = "tests run on the clock and the ids of the machine"
)]

mod support;

use iobox_core::store::Receive;
use iobox_testkit::suite::inbox::support::subscribe;

use crate::support::{Schema, connection, number, run};

/// How many messages are kept, of four topics in turn.
const KEPT: i64 = 25_000;
/// How many messages are given to handlers at once, at most.
const AT_ONCE: i64 = 10_000;

/// Three of the four topics are subscribed to, one of them by two handlers.
#[tokio::test(flavor = "multi_thread")]
async fn much_that_was_kept_is_given_in_parts_and_in_order() {
    let schema = Schema::new();
    let store = schema.migrated(4).await;
    let name = &schema.0;
    // Each insert of rows for handlers notes of how many messages they are.
    let prepare = format!(
        "insert into \"{name}\".received
           (seq, received_at, origin, size, unrouted, source, id, topic, key, headers, payload)
         select nextval('\"{name}\".received_seq'), now(), gen_random_uuid(), 1, true, 's', n::text,
           't.' || n % 4, case when n % 3 = 0 then 'k' || n % 50 end, '[]', ''
         from generate_series(1, {KEPT}) as g (n);
         create table \"{name}\".given (count bigint);
         create function \"{name}\".note() returns trigger language plpgsql as $$ begin
           insert into \"{name}\".given select count(distinct message) from added;
           return null;
         end $$;
         create trigger note after insert on \"{name}\".inbox referencing new table as added
           for each statement execute function \"{name}\".note();"
    );
    run(&mut connection().await, prepare).await;
    subscribe(
        &*store,
        &[("t.1", "a"), ("t.2", "a"), ("t.2", "b"), ("t.3", "b")],
    )
    .await;
    let mut person = connection().await;
    let mut found =
        async |what: &str| number(&mut person, what.replace("{s}", &format!("\"{name}\""))).await;
    assert_eq!(store.unrouted().await.expect("a count"), 6_250, "of t.0");
    let rows = "select count(*) from {s}.inbox";
    assert_eq!(found(rows).await, 4 * 6_250);
    let messages = "select count(*) from {s}.inbox as i join {s}.received as r on r.seq = i.message
        where not r.unrouted and r.id = i.id and r.topic = i.topic and r.topic <> 't.0'";
    assert_eq!(found(messages).await, 4 * 6_250);
    let overtaken = "select count(*) from (
            select message, lag(message) over (order by seq) as before from {s}.inbox
        ) as i where message < before";
    assert_eq!(found(overtaken).await, 0, "in the order of their reception");
    let most = "select max(count) from {s}.given";
    assert!(found(most).await <= AT_ONCE, "a part is too large");
    // On the same connection once more.
    subscribe(&*store, &[("t.*", "c")]).await;
    assert_eq!(store.unrouted().await.expect("a count"), 0);
    assert_eq!(found(rows).await, 5 * 6_250);
}
