//! The plans: every statement that touches messages reads them by the index that it names.
//!
//! A statement that is added or changed gets one line in [`cases`]. The plans are those of prepared
//! statements whose parameters the planner does not know, after the tables were filled and analysed.

use serde_json::Value;
use sqlx::{Connection, PgConnection, Row};

use super::{Names, Sql, Statement};
use crate::{Config, PostgresStore};

/// A name, the statement, and the indexes that must be in its plan.
type Case<'a> = (&'a str, &'a Statement, &'a [&'a str]);

const KEY: &str = "message_pkey";
const PENDING: &str = "message_pending";
const DUE: &str = "message_due";
const BLOCKER: &str = "message_blocker";
const DEAD: &str = "message_dead";
const SETTLED: &str = "message_settled";
const REPLAY: &str = "message_replay";
const ID: &str = "message_id";
const XID: &str = "message_xid";

/// The tables of which no statement may read everything.
const TABLES: [&str; 3] = ["message", "id", "settled"];

fn cases(sql: &Sql) -> Vec<Case<'_>> {
    let (admin, lease) = (&sql.admin, &sql.lease);
    vec![
        ("enqueue.claim", &sql.enqueue.claim, &[]),
        ("enqueue.insert", &sql.enqueue.insert, &[]),
        ("lease.register", &lease.register, &[]),
        ("lease.renew", &lease.renew, &[]),
        ("lease.acquire", &lease.acquire, &[]),
        ("lease.release", &lease.release, &[]),
        (
            "admin.counts",
            &admin.counts,
            &[PENDING, DUE, BLOCKER, DEAD, KEY, XID],
        ),
        ("admin.partitions", &admin.partitions, &[]),
        ("admin.instances", &admin.instances, &[]),
        ("admin.list", &admin.list, &[KEY]),
        ("admin.get", &admin.get, &[ID]),
        ("admin.one.replay", &admin.one.replay, &[ID, KEY]),
        ("admin.one.discard", &admin.one.discard, &[ID, KEY]),
        ("admin.matching.replay", &admin.matching.replay, &[KEY]),
        ("admin.matching.discard", &admin.matching.discard, &[KEY]),
        (
            "admin.since.replay",
            &admin.settled_since.replay,
            &[SETTLED, KEY, "settled_at"],
        ),
        (
            "admin.since.discard",
            &admin.settled_since.discard,
            &[SETTLED, KEY, "settled_at"],
        ),
        ("admin.progress", &admin.progress, &[REPLAY]),
        ("admin.purge", &admin.purge, &[SETTLED]),
        (
            "admin.purge_ids",
            &admin.purge_ids,
            &[ID, "id_enqueued", "id_pkey"],
        ),
        ("ingest.backlog", &sql.ingest.backlog, &[PENDING, DUE]),
        ("mark.mark", &sql.mark.mark, &[KEY]),
        ("settle.look", &sql.settle.look, &[KEY]),
        ("advance.advance", &sql.advance.advance, &[KEY, XID]),
        ("cursor.done", &sql.cursor.done, &[KEY, XID]),
        ("crowd.park", &sql.crowd.park, &[KEY, XID, BLOCKER]),
        ("crowd.unpark", &sql.crowd.unpark, &[KEY, BLOCKER]),
        (
            "cursor.purge",
            &sql.cursor.purge,
            &[KEY, "settled_at", "settled_pkey"],
        ),
        ("settle.any", &sql.settle.any, &[KEY]),
        (
            "fetch.fetch",
            &sql.fetch.fetch,
            &[PENDING, DUE, BLOCKER, KEY, XID],
        ),
        (
            "waiting.set_aside",
            &sql.waiting.set_aside,
            &[PENDING, DUE, BLOCKER, KEY, XID],
        ),
        ("waiting.release", &sql.waiting.release, &[BLOCKER, KEY]),
        ("waiting.sweep", &sql.waiting.sweep, &[BLOCKER]),
    ]
}

/// Sixty thousand messages, most of them done, and as many ids.
const LOAD: &str = "
insert into {message}
  (partition, id, topic, key, headers, payload, size, state, halts, enqueued_at, due_at, settled_at,
   replay)
select
  n % 16, 'id-' || n, 'orders', 'key-' || n % 997, '{}', 'x', 100, state,
  state = 3, {clock}() - interval '1 day',
  case when state = 1 then {clock}() + n * interval '1 millisecond' end,
  case when state in (4, 5) then {clock}() - n * interval '1 second' end,
  case when n % 500 = 0 then n / 5000 end
from (
  select n, (case
    when n % 20 = 0 then 0 when n % 100 = 1 then 1 when n % 50 = 2 then 2 when n % 400 = 3 then 3
    when n % 100 = 4 then 5 when n % 10 = 5 then 4 else 6 end)::smallint as state
  from generate_series(1, 60000) as n
) as numbers;
insert into {settled} (at, first, last, partition, seqs)
select {clock}() - min(seq) * interval '1 second', min(seq), max(seq), partition, array_agg(seq)
from {message} where state = 6 and seq < 50000 group by partition, seq / 1000;
insert into {id} select 'id-' || n, {clock}() - n * interval '1 second'
from generate_series(1, 60000) as n;
analyze {message};
analyze {id};
analyze {settled};
";

#[tokio::test]
async fn every_statement_reads_messages_by_its_indexes() {
    let url = std::env::var("IOBOX_TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!("IOBOX_TEST_POSTGRES_URL is not set: name a PostgreSQL 15 or later")
    });
    let schema = iobox_testkit::servers::unique_schema("plan");
    let config = Config::builder().schema(&schema).build().unwrap();
    let names = Names::new(&config);
    let store = PostgresStore::connect_url(&url, config).await.unwrap();
    store.migrate().await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    // As the connections of a store are set.
    let forced = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off;
        set enable_bitmapscan = off";
    run(&mut connection, &Statement::new(&names, forced)).await;

    let mut wrong = Vec::new();
    // A young table first, of which the planner knows nothing: it must not matter there either which
    // rows of a log are read by which index.
    for loaded in [false, true] {
        if loaded {
            run(&mut connection, &Statement::new(&names, LOAD)).await;
        }
        for (name, statement, indexes) in cases(store.sql()) {
            let plan = plan(&mut connection, &names, statement).await;
            let mut steps = Vec::new();
            walk(&plan, &mut steps);
            if steps
                .iter()
                .any(|step| step.kind == "Seq Scan" && TABLES.contains(&step.table.as_str()))
            {
                wrong.push(format!("{name} reads a whole table: {plan:#}"));
            }
            if steps
                .iter()
                .any(|step| step.index == XID && !step.condition.contains("xid"))
            {
                wrong.push(format!("{name} reads a partition by {XID}: {plan:#}"));
            }
            for index in indexes.iter().filter(|index| loaded || **index == XID) {
                if !steps.iter().any(|step| step.index == *index) {
                    wrong.push(format!("{name} does not read by {index}: {plan:#}"));
                }
            }
        }
    }
    let drop = format!("drop schema \"{schema}\" cascade");
    run(&mut connection, &Statement::new(&names, &drop)).await;
    store.close().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn run(connection: &mut PgConnection, statement: &Statement) {
    let done = statement.raw().execute(connection).await;
    done.unwrap_or_else(|error| panic!("{}: {error}", statement.0));
}

/// The plan of a statement whose parameters are not known.
async fn plan(connection: &mut PgConnection, names: &Names, statement: &Statement) -> Value {
    let text = &statement.0;
    let parameters = (1..)
        .take_while(|n| text.contains(&format!("${n}")))
        .count();
    let nulls = match parameters {
        0 => String::new(),
        _ => format!("({})", vec!["null"; parameters].join(", ")),
    };
    let prepare = Statement::new(names, &format!("prepare planned as {text}"));
    run(connection, &prepare).await;
    let explain = format!("explain (format json) execute planned{nulls}");
    let explain = Statement::new(names, &explain);
    let row = explain.raw().fetch_one(&mut *connection).await;
    let row = row.unwrap_or_else(|error| panic!("{text}: {error}"));
    run(connection, &Statement::new(names, "deallocate planned")).await;
    let plan: Value = serde_json::from_str(row.get_unchecked(0)).unwrap();
    plan[0]["Plan"].clone()
}

/// A step of a plan.
struct Step {
    kind: String,
    table: String,
    index: String,
    condition: String,
}

fn walk(node: &Value, steps: &mut Vec<Step>) {
    let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
    steps.push(Step {
        kind: text("Node Type"),
        table: text("Relation Name"),
        index: text("Index Name"),
        condition: text("Index Cond"),
    });
    for inner in node["Plans"].as_array().into_iter().flatten() {
        walk(inner, steps);
    }
}
