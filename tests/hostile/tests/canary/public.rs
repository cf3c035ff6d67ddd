//! The public types: each is either looked at by the hunt, or holds nothing that could be secret.

use std::{collections::BTreeSet, fs, path::Path};

/// Types whose `Debug` is captured somewhere in the hunt.
const SHOWN: &[&str] = &[
    "Aside",
    "Batch",
    "Body",
    "Command",
    "Config",
    "ConfigBuilder",
    "Delivery",
    "Draft",
    "Entry",
    "Error",
    "Failure",
    "FetchPartition",
    "FetchRequest",
    "Fetched",
    "Filter",
    "HandlerError",
    "Headers",
    "HealthReport",
    "Inbox",
    "InboxBuilder",
    "InboxHandle",
    "IngestRequest",
    "JetStreamPublisher",
    "JetStreamSource",
    "Machine",
    "MemoryBroker",
    "MemorySource",
    "MemoryStore",
    "MemoryTx",
    "Message",
    "OrderingKey",
    "Outbox",
    "Outcomes",
    "Pending",
    "PostgresStore",
    "PublishError",
    "Published",
    "RedisPublisher",
    "RedisSource",
    "RedisSourceBuilder",
    "Relay",
    "RelayBuilder",
    "RelayHandle",
    "RouteMut",
    "Router",
    "Sealed",
    "Selection",
    "Session",
    "SourceConfig",
    "SourceConfigBuilder",
    "SqliteStore",
    "SqliteTx",
    "Stats",
];

/// Types that hold no part of a message, no credential and no text of a driver: names that a program
/// gives, ids, topics, positions, numbers, and reasons, which are shown by design.
const HARMLESS: &[&str] = &[
    "AcquireRequest",
    "Acquired",
    "Admitted",
    "Attempted",
    "BreakerPolicy",
    "BreakerState",
    "Bug",
    "CallId",
    "Change",
    "DeadLetterPolicy",
    "Discarded",
    "Durability",
    "Duty",
    "Enqueued",
    "Epoch",
    "ErrorKind",
    "Event",
    "Grant",
    "HandlerName",
    "HandlerPolicy",
    "Health",
    "Hint",
    "Ingested",
    "InstanceId",
    "InstanceStats",
    "LeftRow",
    "Limits",
    "Listener",
    "Mark",
    "MemoryClock",
    "MessageId",
    "MoveIn",
    "MovedIn",
    "MovedTable",
    "Observed",
    "Order",
    "Origin",
    "Outcome",
    "Page",
    "Partition",
    "PartitionStats",
    "Partitions",
    "Position",
    "Prefix",
    "Queue",
    "RandomIds",
    "Receipt",
    "Received",
    "Refused",
    "Rehearsed",
    "ReleaseRequest",
    "RenewRequest",
    "Renewed",
    "ReplayId",
    "ReplayProgress",
    "Replayed",
    "RetryPolicy",
    "Revision",
    "Room",
    "RunId",
    "Seq",
    "Settings",
    "Settled",
    "Settlement",
    "Signal",
    "SourceName",
    "Start",
    "State",
    "StoreInfo",
    "StreamSettings",
    "Subscription",
    "Synchronous",
    "Time",
    "Topic",
    "TopicPattern",
    "Verdict",
];

const CRATES: [&str; 5] = [
    "iobox-core",
    "iobox-nats",
    "iobox-postgres",
    "iobox-redis",
    "iobox-sqlite",
];

/// The names of public structs and enums in the files below a folder.
fn public(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            public(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a file");
            for line in text.lines() {
                let kinds = ["pub struct ", "pub enum "];
                let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind));
                let name = rest.and_then(|rest| rest.split(|c: char| !c.is_alphanumeric()).next());
                names.extend(name.map(str::to_owned));
            }
        }
    }
}

#[test]
fn every_public_type_is_looked_at_or_harmless() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = BTreeSet::new();
    for name in CRATES {
        public(&root.join(name).join("src"), &mut found);
    }
    let listed: BTreeSet<String> = SHOWN
        .iter()
        .chain(HARMLESS)
        .map(|&name| name.to_owned())
        .collect();
    assert_eq!(
        listed.len(),
        SHOWN.len() + HARMLESS.len(),
        "each stands in one list"
    );
    let new: Vec<_> = found.difference(&listed).collect();
    assert!(
        new.is_empty(),
        "say in tests/hostile/tests/canary/public.rs whether {new:?} can hold a secret; if so, take \
         Debug of one in the hunt"
    );
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "{gone:?} are no public types any more");
}
