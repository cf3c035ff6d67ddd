//! The table: every script, for every server.

use std::time::Duration;

use iobox_testkit::servers::{
    Ending::{Close, Reset},
    Fault,
    Reach::{All, New, Open},
    Way::{self, ToClient, ToServer},
};

use crate::script::{
    Event::{Commit, Read, Write},
    Script,
    Step::{self, At, Break, Cut, Mend, Wait},
};

/// Longer than a publish or a settle may take, shorter than a lease.
const LATE: Step = wait(700);
/// Longer than a lease.
const LEASE: Step = wait(2_200);
/// Long enough for many calls.
const WHILE: Step = wait(500);

const fn wait(millis: u64) -> Step {
    Wait(Duration::from_millis(millis))
}

/// The replies to what is under way are lost, on every connection that the server answers on first.
const LOST: Fault = Fault::Break {
    way: ToClient,
    after: 0,
    connections: 3,
    reach: Open,
    how: Close,
};

/// Two connections end behind so many bytes.
const fn part(way: Way, after: u64) -> Fault {
    Fault::Break {
        way,
        after,
        connections: 2,
        reach: All,
        how: Close,
    }
}

const fn latency(way: Way, millis: u64) -> Fault {
    Fault::Latency {
        way,
        by: Duration::from_millis(millis),
    }
}

const fn drip(way: Way, bytes: usize) -> Fault {
    Fault::Drip {
        way,
        bytes,
        every: Duration::from_millis(2),
    }
}

const HELD_REQUESTS: Fault = Fault::Hold {
    way: ToServer,
    reach: Open,
};
const HELD_REPLIES: Fault = Fault::Hold {
    way: ToClient,
    reach: All,
};
const LOST_REQUESTS: Fault = Fault::Blackhole {
    way: ToServer,
    reach: All,
};
const LOST_REPLIES: Fault = Fault::Blackhole {
    way: ToClient,
    reach: All,
};

const fn script(name: &'static str, steps: &'static [Step]) -> Script {
    Script {
        name,
        steps,
        silences: false,
    }
}

/// A script that must leave the outcome of some publishes unknown.
const fn silencing(name: &'static str, steps: &'static [Step]) -> Script {
    Script {
        silences: true,
        ..script(name, steps)
    }
}

/// Every script.
pub const SCRIPTS: &[Script] = &[
    script("commit_reply_lost", &[At(Commit, 3, &[LOST]), WHILE]),
    silencing("write_reply_lost", &[At(Write, 3, &[LOST]), WHILE]),
    script(
        "cut_in_a_read_reply",
        &[At(Read, 3, &[part(ToClient, 300)]), WHILE],
    ),
    silencing(
        "cut_in_a_write",
        &[At(Write, 3, &[part(ToServer, 40)]), WHILE],
    ),
    silencing(
        "cut_in_a_write_reply",
        &[At(Write, 3, &[part(ToClient, 7)]), WHILE],
    ),
    script(
        "cut_in_a_commit",
        &[At(Commit, 3, &[part(ToServer, 9)]), WHILE],
    ),
    silencing(
        "delayed_write_after_reconnect",
        &[At(Write, 3, &[HELD_REQUESTS]), LATE, LATE, Mend, WHILE],
    ),
    script(
        "delayed_commit_after_reconnect",
        &[At(Commit, 3, &[HELD_REQUESTS]), LATE, LATE, Mend, WHILE],
    ),
    silencing(
        "delayed_write_after_the_lease",
        &[At(Write, 3, &[HELD_REQUESTS]), LEASE, Mend, WHILE],
    ),
    silencing(
        "requests_blackholed_longer_than_a_lease",
        &[Break(&[LOST_REQUESTS]), LEASE, Mend],
    ),
    silencing(
        "replies_blackholed_longer_than_a_lease",
        &[Break(&[LOST_REPLIES]), LEASE, Mend],
    ),
    silencing(
        "blackholed_both_ways_longer_than_a_lease",
        &[Break(&[LOST_REQUESTS, LOST_REPLIES]), LEASE, Mend],
    ),
    silencing(
        "requests_of_open_connections_blackholed",
        &[
            At(
                Write,
                3,
                &[Fault::Blackhole {
                    way: ToServer,
                    reach: Open,
                }],
            ),
            LATE,
            LATE,
        ],
    ),
    silencing(
        "replies_of_open_connections_blackholed",
        &[
            At(
                Write,
                3,
                &[Fault::Blackhole {
                    way: ToClient,
                    reach: Open,
                }],
            ),
            LATE,
            LATE,
        ],
    ),
    script(
        "resets_in_a_row",
        &[
            At(Write, 2, &[Fault::Reset]),
            wait(150),
            At(Read, 1, &[Fault::Reset]),
            wait(150),
            Break(&[Fault::Reset]),
            wait(150),
            Break(&[Fault::Reset]),
            WHILE,
        ],
    ),
    script(
        "reset_in_the_handshake",
        &[
            Break(&[
                Fault::Reset,
                Fault::Break {
                    way: ToClient,
                    after: 5,
                    connections: 6,
                    reach: New,
                    how: Reset,
                },
            ]),
            LATE,
            Mend,
        ],
    ),
    script(
        "silence_in_the_handshake",
        &[
            Break(&[
                Fault::Reset,
                Fault::Blackhole {
                    way: ToClient,
                    reach: New,
                },
            ]),
            LATE,
            Mend,
        ],
    ),
    script(
        "latency_below_every_timeout",
        &[
            Break(&[latency(ToServer, 15), latency(ToClient, 15)]),
            LATE,
            Mend,
        ],
    ),
    silencing(
        "latency_above_the_publish_timeout",
        &[Break(&[latency(ToClient, 600)]), LEASE, Mend],
    ),
    script(
        "slow_drip_of_replies",
        &[Break(&[drip(ToClient, 40)]), LATE, Mend],
    ),
    script(
        "slow_drip_of_requests",
        &[Break(&[drip(ToServer, 40)]), LATE, Mend],
    ),
    script(
        "held_acks_released_in_time",
        &[At(Write, 2, &[HELD_REPLIES]), wait(120), Mend, WHILE],
    ),
    silencing(
        "held_acks_released_too_late",
        &[At(Write, 2, &[HELD_REPLIES]), LATE, LATE, Mend, WHILE],
    ),
    script(
        "flapping",
        &[
            Cut,
            wait(100),
            Mend,
            wait(150),
            Cut,
            wait(100),
            Mend,
            wait(150),
            Cut,
            WHILE,
            Mend,
        ],
    ),
];
