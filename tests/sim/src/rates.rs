//! The rates: how likely each fault is, all drawn from the seed.

macro_rules! rates {
    ($($(#[$doc:meta])* $name:ident: $most:expr,)*) => {
        /// How likely each fault is, from 0 to 1.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct Rates {
            $($(#[$doc])* pub(crate) $name: f64,)*
        }

        impl Rates {
            /// The names of all of them.
            pub(crate) const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// Each is zero in a third of the runs.
            pub(crate) fn draw(random: &mut fastrand::Rng) -> Self {
                Self { $($name: rate(random, $most),)* }
            }

            /// Sets the one of this name to zero.
            pub(crate) fn switch_off(&mut self, name: &str) {
                match name {
                    $(stringify!($name) => self.$name = 0.0,)*
                    _ => {}
                }
            }
        }
    };
}

rates! {
    /// A call of a store fails and has no effect.
    fail_before: 0.1,
    /// A call of a store takes effect and fails.
    fail_after: 0.1,
    /// A call of a store is told to run the transaction again.
    conflict: 0.04,
    /// A call of a store takes a while.
    delay: 0.3,
    /// A call of a store takes longer than its caller waits.
    hang: 0.02,
    /// A call of a store takes effect when its caller may have given up.
    late_call: 0.05,
    /// A process dies at any of the crash points.
    points: 0.001,
    /// The ack of a publish is lost.
    ack_lost: 0.1,
    /// A publish is lost, and nobody knows.
    not_taken: 0.1,
    /// A copy arrives later than its sender waits.
    late_copy: 0.1,
    /// The broker refuses a message for the moment.
    transient: 0.2,
    /// A publish takes a while.
    slow_publish: 0.2,
    /// A process is killed.
    crash: 0.5,
    /// A process stands still for three leases.
    pause: 0.4,
    /// A process is told to drain.
    drain: 0.4,
    /// The broker is down for a while.
    broker_down: 0.3,
    /// The store is down for a while.
    store_down: 0.2,
    /// The store's clock jumps.
    clock_jumps: 0.05,
    /// The broker forgets which ids it has seen.
    broker_forgets: 0.2,
    /// A process starts under the ids of another one.
    twin: 0.1,
    /// The operator does something.
    operator: 0.5,
    /// A source takes a while.
    source_slow: 0.03,
    /// A call of a source fails.
    source_fails: 0.1,
    /// A source brings one message where it has more.
    source_cut: 0.5,
    /// An ack, or the answer to it, is lost or late.
    source_ack_lost: 0.1,
    /// A handler fails.
    handler_fails: 0.2,
    /// A handler outlasts the lease.
    handler_slow: 0.03,
    /// A handler rejects a message.
    handler_poison: 0.1,
    /// A handler fails on a message until the heal.
    handler_flaky: 0.1,
    /// A handler panics on a message.
    handler_panics: 0.05,
    /// A handler never returns from a message.
    handler_hangs: 0.02,
    /// A handler kills its process on a message.
    handler_killer: 0.01,
}

/// A rate that is zero in a third of the runs.
pub(crate) fn rate(random: &mut fastrand::Rng, most: f64) -> f64 {
    if random.f64() < 0.35 {
        0.0
    } else {
        random.f64() * most
    }
}
