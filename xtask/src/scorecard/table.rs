//! The table of the guarantees. `cargo xtask tidy` looks whether the tests that it names are there.

use super::{
    fencing::FENCING,
    guarantee::{Guarantee, bounded, count},
};

pub(crate) const GUARANTEES: [Guarantee; 16] = [
    Guarantee {
        id: "G1",
        name: "atomic enqueue",
        sentence: "A message exists if and only if the transaction that enqueued it committed.",
        needs: "The message is enqueued in the transaction of the business rows.",
        tests: &[
            (
                "iobox-testkit/src/suite/late.rs",
                "a_message_exists_from_its_commit_on",
            ),
            (
                "iobox-testkit/src/suite/late.rs",
                "rolled_back_messages_never_appear",
            ),
            ("tests/e2e/tests/pgbench.rs", "the_log_and_the_tables_agree"),
            ("tests/e2e/tests/crash.rs", "every_violation_is_seen"),
        ],
        kills: &[
            count(
                "confirmed_to_writers",
                "messages whose COMMIT was confirmed",
            ),
            count("transactions_rolled_back", "transactions rolled back"),
            count(
                "transactions_unknown",
                "transactions whose end the writer never learned",
            ),
            count(
                "transactions_unknown_found",
                "of those that were there, complete",
            ),
            count("never_committed", "messages seen that were never committed"),
        ],
        limit: "A writer whose COMMIT got no answer does not know; he brings ids of his own to repeat it safely.",
    },
    Guarantee {
        id: "G2",
        name: "no loss",
        sentence: "Every committed message is confirmed by the broker at least once, or is a dead letter with its \
                   reason and payload, whatever crashes.",
        needs: "The database keeps what it committed, and the broker what it confirmed.",
        tests: &[
            (
                "tests/e2e/tests/hundred_thousand.rs",
                "postgres_loses_and_reorders_nothing",
            ),
            (
                "tests/e2e/tests/hundred_thousand.rs",
                "postgres_with_settle_before_ack_is_caught",
            ),
            ("tests/e2e/tests/kills.rs", "postgres_survives_them"),
            ("tests/e2e/tests/kills.rs", "sqlite_survives_them"),
            (
                "tests/e2e/tests/flow.rs",
                "postgres_to_jetstream_to_postgres_has_every_effect_once",
            ),
        ],
        kills: &[
            count("committed", "messages committed"),
            count("lost", "lost on the way"),
        ],
        limit: "A broker that forgets what it confirmed (see the known limits) is repaired by a replay from the \
                outbox, by a person.",
    },
    Guarantee {
        id: "G3",
        name: "order per key",
        sentence: "Messages of a key first appear in the broker, and for each handler, in the order of their commits.",
        needs: "Writers of one key take turns: the key's row is locked before the enqueue, or `enqueue_ordered` is used. \
                One stream holds all of the key's messages.",
        tests: &[
            (
                "iobox-testkit/src/suite/order.rs",
                "racing_writers_keep_their_own_order",
            ),
            (
                "iobox-core/tests/machine/room.rs",
                "one_message_of_a_key_is_in_flight_at_a_time_in_queue_order",
            ),
            (
                "iobox-core/tests/machine/blocked.rs",
                "a_blocked_row_never_runs_and_is_moved_to_waiting",
            ),
            (
                "tests/e2e/tests/brokers.rs",
                "postgres_to_jetstream_loses_and_reorders_nothing",
            ),
            (
                "tests/e2e/tests/brokers.rs",
                "sqlite_to_redis_loses_and_reorders_nothing",
            ),
        ],
        kills: &[count("reordered", "first appearances out of order")],
        limit: "On Redis each topic is a stream, and keys are in order within one.",
    },
    Guarantee {
        id: "G4",
        name: "raw order with a broker that knows copies",
        sentence: "In a broker that drops copies by id, the raw log of a key is in order too: no copy stands behind a \
                   later message.",
        needs: "The duplicate window is at least twice the time-to-live, the publish timeout and the 30 s after which \
                a dead connection is dropped: 88 s with the defaults. JetStream; Redis keeps every copy.",
        tests: &[
            (
                "iobox-testkit/src/broker/duplicate.rs",
                "repetitions_do_not_change_the_order",
            ),
            ("tests/e2e/tests/outage.rs", "of_jetstream"),
            (
                "tests/e2e/tests/brokers.rs",
                "postgres_to_jetstream_loses_and_reorders_nothing",
            ),
        ],
        kills: &[count(
            "absorbed_by_broker",
            "copies that JetStream absorbed",
        )],
        limit: "A copy that comes later than the duplicate window stands in the log; the inbox knows it.",
    },
    FENCING,
    Guarantee {
        id: "G6",
        name: "independence of clocks",
        sentence: "Leases and delays are measured by the database's clock alone; clocks of workers may be wrong and \
                   may jump.",
        needs: "Nothing for safety. A jump of the database's clock makes leases end early or late.",
        tests: &[
            (
                "iobox-core/tests/machine/lease.rs",
                "it_executes_only_while_the_last_renewal_covers_execution_and_settle",
            ),
            (
                "iobox-testkit/src/suite/lease.rs",
                "an_expired_instance_renews_while_its_row_is_there",
            ),
            ("tests/sim/src/check/lease.rs", "granted"),
        ],
        kills: &[],
        limit: "SQLite has the clock of its host.",
    },
    Guarantee {
        id: "G7",
        name: "bounded copies",
        sentence: "A message has at most one copy for each ambiguous event that it met (a crash, a timeout, a lost \
                   reply, a lost lease), and none without one.",
        needs: "Nothing.",
        tests: &[
            ("tests/sim/src/check/known.rs", "finish"),
            ("tests/e2e/tests/kills.rs", "postgres_survives_them"),
            ("tests/e2e/tests/outage.rs", "of_redis"),
            (
                "tests/e2e/tests/crash.rs",
                "copies_are_allowed_for_kills_alone",
            ),
        ],
        kills: &[
            bounded(
                "stream_copies",
                "copies in the streams",
                "stream_copies_max",
            ),
            bounded(
                "noted_again",
                "runs again of the plain handler",
                "noted_again_max",
            ),
        ],
        limit: "The bound of a kill is what its process had in flight, not one.",
    },
    Guarantee {
        id: "G8",
        name: "effective once in the inbox",
        sentence: "Within the horizon a message takes effect at most once for each handler, however often and wherever \
                   it arrives.",
        needs: "`redelivery_horizon` is longer than anybody may send or read a message again.",
        tests: &[
            (
                "iobox-testkit/src/suite/inbox/receive.rs",
                "a_message_is_stored_once_for_each_handler",
            ),
            (
                "iobox-testkit/src/suite/inbox/receive.rs",
                "racing_receptions_store_every_message_once",
            ),
            (
                "iobox-testkit/src/suite/inbox/receive.rs",
                "a_message_is_known_for_its_horizon",
            ),
            (
                "tests/e2e/tests/flow.rs",
                "sqlite_to_redis_to_sqlite_has_every_effect_once",
            ),
        ],
        kills: &[
            count("effects", "effects"),
            count("effects_twice", "effects that happened twice"),
        ],
        limit: "A message that arrives later than the horizon is handled again, and counted.",
    },
    Guarantee {
        id: "G9",
        name: "exactly once for transactional handlers",
        sentence: "The effects of a transactional handler and the mark that it handled the message commit together; \
                   the broker is told after the commit.",
        needs: "The effects are in the database of the inbox, written through the transaction that the handler is given.",
        tests: &[
            (
                "iobox-testkit/src/suite/inbox/transact.rs",
                "effects_and_mark_commit_together",
            ),
            (
                "iobox-testkit/src/suite/inbox/transact.rs",
                "a_takeover_before_the_mark_commits_one_set_of_effects",
            ),
            (
                "iobox-testkit/src/suite/inbox/ingest.rs",
                "a_batch_and_its_position_commit_together",
            ),
            (
                "tests/e2e/tests/flow.rs",
                "postgres_to_jetstream_to_postgres_has_every_effect_once",
            ),
        ],
        kills: &[
            count("effects", "effects"),
            count("effects_twice", "effects that happened twice"),
        ],
        limit: "A plain handler runs at least once.",
    },
    Guarantee {
        id: "G10",
        name: "no key holds up another",
        sentence: "A slow, stuck or failing key delays other keys by no more than its share of the slots.",
        needs: "More slots than keys that are stuck at once.",
        tests: &[
            ("tests/e2e/tests/neighbours.rs", "they_go_on_on_postgres"),
            (
                "iobox-core/tests/machine/room.rs",
                "a_slow_key_does_not_hide_its_partition",
            ),
            (
                "iobox-core/tests/machine/room.rs",
                "a_hot_key_does_not_hide_its_partition_and_keeps_its_own_pace",
            ),
        ],
        kills: &[],
        limit: super::limit::COMPANY,
    },
    Guarantee {
        id: "G11",
        name: "poison stays apart",
        sentence: "A permanent error is a dead letter at once, a transient one after its attempts; an unknown outcome \
                   never dies by itself.",
        needs: "Nothing.",
        tests: &[
            (
                "iobox-core/tests/machine/outcome.rs",
                "permanent_is_dead_at_once",
            ),
            (
                "iobox-core/tests/machine/outcome.rs",
                "transient_is_dead_after_max_attempts_and_not_before",
            ),
            (
                "iobox-core/tests/machine/outcome.rs",
                "unknown_never_dies_by_attempts_alone",
            ),
            ("tests/e2e/tests/killer.rs", "postgres_buries_it"),
            ("tests/e2e/tests/poison.rs", "jetstream_is_spared"),
        ],
        kills: &[count("dead", "dead letters, of messages that are all fine")],
        limit: super::limit::POISON,
    },
    Guarantee {
        id: "G12",
        name: "a drain in time",
        sentence: "After the signal nothing new begins within 100 ms, what is in flight ends or is given back within the \
                   grace time, and no attempt is burnt.",
        needs: "Handlers that come to an `await`.",
        tests: &[
            (
                "iobox-core/tests/machine/drain.rs",
                "what_is_in_flight_may_end_within_the_grace_time",
            ),
            ("iobox-core/tests/machine/drain.rs", "a_drain_at_any_moment"),
            ("tests/e2e/tests/drain.rs", "postgres_is_left_in_order"),
            (
                "tests/e2e/tests/drain.rs",
                "postgres_does_not_wait_beyond_the_grace",
            ),
        ],
        kills: &[],
        limit: "A handler that blocks its thread keeps its slot until the process ends.",
    },
    Guarantee {
        id: "G13",
        name: "bounded memory",
        sentence: "Rows and bytes in memory are bounded, and a broker or handler that is slow stops the fetching.",
        needs: "Nothing.",
        tests: &[
            (
                "iobox-core/tests/machine/room.rs",
                "memory_stays_within_its_bounds",
            ),
            (
                "iobox-core/tests/machine/memory.rs",
                "memory_holds_no_more_rows_than_there_is_room_for",
            ),
            ("tests/e2e/tests/outage.rs", "of_the_broker_on_postgres"),
        ],
        kills: &[],
        limit: "One message more than `max_buffered_bytes` may be there.",
    },
    Guarantee {
        id: "G14",
        name: "liveness",
        sentence: "After the last fault everything is worked off, without an operator.",
        needs: "The database and the broker come back.",
        tests: &[
            (
                "iobox-core/tests/machine/liveness.rs",
                "every_message_comes_to_its_end",
            ),
            ("tests/sim/src/check/lane.rs", "row"),
            ("tests/e2e/tests/outage.rs", "of_the_database"),
        ],
        kills: &[bounded(
            "drained_ms",
            "ms from the end of the load until the flows were empty, added up",
            "drained_ms_max",
        )],
        limit: "A halted key waits for a person, as it must.",
    },
    Guarantee {
        id: "G15",
        name: "honest telemetry",
        sentence: "What is counted and shown is what is stored; each copy, dead letter and unknown outcome is counted.",
        needs: "Nothing.",
        tests: &[
            (
                "iobox-testkit/src/suite/stats.rs",
                "counts_reconcile_with_the_listing",
            ),
            (
                "iobox-core/tests/observer.rs",
                "an_observer_hears_what_is_stored_and_not_before",
            ),
        ],
        kills: &[],
        limit: "Counters of a process end with it.",
    },
    Guarantee {
        id: "G16",
        name: "rolling upgrade",
        sentence: "Programs with different handlers run together; tables of another version are refused by a program \
                   that cannot read them.",
        needs: "The tables are migrated first.",
        tests: &[
            ("tests/e2e/tests/deploy.rs", "each_handler_has_its_messages"),
            (
                "iobox-testkit/src/suite/open.rs",
                "tables_newer_than_the_program_are_refused",
            ),
            (
                "iobox-postgres/tests/migrations.rs",
                "older_tables_are_refused_until_they_are_migrated",
            ),
        ],
        kills: &[],
        limit: "There is one released version so far: two versions of iobox itself never ran together.",
    },
];
