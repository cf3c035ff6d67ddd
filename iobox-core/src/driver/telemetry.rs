//! Telemetry: metrics and log lines from the machine's events.
//!
//! Metrics, all with the label `queue`; none is labelled with a key, a topic or an id:
//!
//! | name | kind | what |
//! |---|---|---|
//! | `iobox_executed_total` | counter | messages published or handled |
//! | `iobox_duplicate_acks_total` | counter | of these, how many the broker knew already |
//! | `iobox_commit_to_publish_seconds` | histogram | from enqueue to confirmation |
//! | `iobox_attempts` | histogram | attempts of a message that succeeded |
//! | `iobox_retries_total` | counter | failed attempts that are repeated |
//! | `iobox_unknown_outcomes_total` | counter | executions of which nobody knows the outcome |
//! | `iobox_unavailable_total` | counter | executions refused by a broker as a whole |
//! | `iobox_dead_total` | counter | dead letters that are stored; label `halts`: whether a key waits |
//! | `iobox_set_aside_total` | counter | messages set aside behind an earlier one of their key |
//! | `iobox_lease_changes_total` | counter | with the label `change`: `acquired`, `taken_over`, `released`, `lost` |
//! | `iobox_superseded_total` | counter | settlements that met an operator's change |
//! | `iobox_store_errors_total` | counter | failed calls of the store, with the label `call` |
//! | `iobox_stuck_executions_total` | counter | executions that did not end at a hand-over or drain |
//! | `iobox_breaker_open` | gauge | 1 while nothing but probes is sent |
//! | `iobox_partitions_owned` | gauge | partitions of this instance |
//! | `iobox_in_flight` | gauge | executions under way |
//! | `iobox_buffered_messages`, `iobox_buffered_bytes` | gauge | messages in memory |
//! | `iobox_oldest_pending_age_seconds` | gauge | age of the oldest message in memory, 0 when there is none |

use std::time::Duration;

use metrics::{Counter, Histogram, counter, gauge, histogram};

use super::Turn;
use crate::{
    dispatch::{BreakerState, Event, Failure, Time},
    queue::Queue,
};

/// How often gauges are set.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// Writes metrics and log lines.
#[derive(Debug)]
pub(super) struct Telemetry {
    queue: String,
    next_gauges: Time,
    executed: Option<Executed>,
}

/// Metrics of every message, looked up once a turn: a look-up costs more than what it is for, and a
/// program may install its recorder at any time.
#[derive(Debug)]
struct Executed {
    count: u64,
    total: Counter,
    latency: Histogram,
    attempts: Histogram,
}

impl Executed {
    fn of(queue: &str) -> Self {
        let queue = || queue.to_owned();
        Self {
            count: 0,
            total: counter!("iobox_executed_total", "queue" => queue()),
            latency: histogram!("iobox_commit_to_publish_seconds", "queue" => queue()),
            attempts: histogram!("iobox_attempts", "queue" => queue()),
        }
    }
}

impl Telemetry {
    pub(super) fn new(queue: &Queue) -> Self {
        Self {
            queue: queue.name().to_owned(),
            next_gauges: Time::default(),
            executed: None,
        }
    }

    fn count(&self, name: &'static str, by: usize) {
        counter!(name, "queue" => self.queue.clone())
            .increment(u64::try_from(by).unwrap_or(u64::MAX));
    }

    pub(super) fn executing(&self, messages: usize) {
        tracing::trace!(queue = %self.queue, messages, "executing a batch");
    }

    /// Notes the events of one turn.
    pub(super) fn note_all(&mut self, events: impl Iterator<Item = Event>) {
        for event in events {
            self.note(&event);
        }
        if let Some(executed) = self.executed.take() {
            executed.total.increment(executed.count);
        }
    }

    fn note(&mut self, event: &Event) {
        let queue = &self.queue;
        match event {
            Event::Executed {
                duplicate,
                latency,
                attempt,
            } => {
                let executed = self.executed.get_or_insert_with(|| Executed::of(queue));
                executed.count += 1;
                executed.latency.record(latency.as_secs_f64());
                executed.attempts.record(f64::from(*attempt));
                if *duplicate {
                    self.count("iobox_duplicate_acks_total", 1);
                }
            }
            Event::Retrying {
                partition,
                seq,
                attempt,
                reason,
            } => {
                self.count("iobox_retries_total", 1);
                tracing::info!(queue, %partition, seq = seq.0, attempt, reason, "a message failed and is retried");
            }
            Event::Unknown {
                partition,
                seq,
                attempt,
                counted,
                alarm,
                reason,
            } => {
                self.count("iobox_unknown_outcomes_total", 1);
                if *alarm {
                    tracing::error!(queue, %partition, seq = seq.0, attempt, reason, "a message goes on without a known outcome beyond its attempts: look at the broker");
                } else {
                    tracing::warn!(queue, %partition, seq = seq.0, attempt, counted, reason, "nobody knows whether a message was taken; it is sent again");
                }
            }
            Event::Unavailable { reason } => {
                self.count("iobox_unavailable_total", 1);
                tracing::debug!(queue, reason, "the broker refused a message as a whole");
            }
            Event::PutBack(failure) => {
                let Failure { partition, seq, .. } = failure;
                tracing::debug!(queue, %partition, seq = seq.0, "a failed message is stored to run again");
            }
            Event::Dead(failure) => {
                let Failure {
                    partition,
                    seq,
                    attempt,
                    halts,
                    reason,
                    ..
                } = failure;
                let halts_label = if *halts { "true" } else { "false" };
                counter!("iobox_dead_total", "queue" => queue.clone(), "halts" => halts_label)
                    .increment(1);
                tracing::error!(queue, %partition, seq = seq.0, attempt, halts, reason, "a message is dead");
            }
            Event::SetAside { count } => self.count("iobox_set_aside_total", *count),
            Event::Superseded { partition, seq } => {
                self.count("iobox_superseded_total", 1);
                tracing::info!(queue, %partition, seq = seq.0, "an operator changed a message that was being settled");
            }
            Event::StoreFailed { call, reason } => {
                counter!("iobox_store_errors_total", "queue" => queue.clone(), "call" => *call)
                    .increment(1);
                tracing::warn!(
                    queue,
                    call,
                    reason,
                    "a call of the store failed and is repeated"
                );
            }
            Event::Stuck { partition, count } => {
                self.count("iobox_stuck_executions_total", *count);
                tracing::error!(queue, %partition, count, "executions did not end in time");
            }
            lease => self.note_lease(lease),
        }
    }

    fn note_lease(&self, event: &Event) {
        let queue = &self.queue;
        let change = |change: &'static str| {
            counter!("iobox_lease_changes_total", "queue" => queue.clone(), "change" => change)
                .increment(1);
        };
        match event {
            Event::Acquired {
                partition,
                abandoned,
            } => {
                change(if *abandoned { "taken_over" } else { "acquired" });
                tracing::info!(queue, %partition, abandoned, "acquired a partition");
            }
            Event::Released { partition } => {
                change("released");
                tracing::info!(queue, %partition, "gave a partition back");
            }
            Event::LeaseLost { partition } => {
                change("lost");
                tracing::warn!(queue, %partition, "lost a partition to another instance");
            }
            Event::InstanceGone => {
                tracing::warn!(queue, "this instance was taken for dead and registers anew");
            }
            Event::BreakerOpened => {
                gauge!("iobox_breaker_open", "queue" => queue.clone()).set(1.0);
                tracing::warn!(queue, "the breaker opened: nothing but probes is sent");
            }
            Event::BreakerClosed => {
                gauge!("iobox_breaker_open", "queue" => queue.clone()).set(0.0);
                tracing::info!(queue, "the breaker closed");
            }
            _ => {}
        }
    }

    /// Whether the gauges are due.
    pub(super) fn wants_gauges(&mut self, now: Time) -> bool {
        let due = self.next_gauges <= now;
        if due {
            self.next_gauges = now + GAUGES_EVERY;
        }
        due
    }

    pub(super) fn gauges(&self, turn: &Turn, oldest: Option<Duration>) {
        let set = |name: &'static str, value: f64| {
            gauge!(name, "queue" => self.queue.clone()).set(value);
        };
        let count = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        set(
            "iobox_breaker_open",
            f64::from(u8::from(turn.breaker == BreakerState::Open)),
        );
        set("iobox_partitions_owned", count(turn.partitions));
        set("iobox_in_flight", count(turn.in_flight));
        set("iobox_buffered_messages", count(turn.buffered_rows));
        set("iobox_buffered_bytes", count(turn.buffered_bytes));
        set(
            "iobox_oldest_pending_age_seconds",
            oldest.unwrap_or_default().as_secs_f64(),
        );
    }
}
