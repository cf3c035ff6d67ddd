//! Every script against every server, a test each.

use iobox_network::{
    SCRIPTS,
    driver::{Brokered, JetStream, Postgres, Redis},
    run,
};

/// A module for each server, and in it a test for each script.
macro_rules! scripts {
    ($($script:ident,)*) => {
        scripts!(@server postgres, Postgres, $($script,)*);
        scripts!(@server jetstream, Brokered<JetStream>, $($script,)*);
        scripts!(@server redis, Brokered<Redis>, $($script,)*);

        #[test]
        fn no_script_is_forgotten() {
            let tested = [$(stringify!($script)),*];
            let named: Vec<_> = SCRIPTS.iter().map(|script| script.name).collect();
            assert_eq!(named, tested);
        }
    };
    (@server $server:ident, $net:ty, $($script:ident,)*) => {
        mod $server {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $script() {
                    run::<$net>(stringify!($script)).await;
                }
            )*
        }
    };
}

scripts! {
    commit_reply_lost,
    write_reply_lost,
    cut_in_a_read_reply,
    cut_in_a_write,
    cut_in_a_write_reply,
    cut_in_a_commit,
    delayed_write_after_reconnect,
    delayed_commit_after_reconnect,
    delayed_write_after_the_lease,
    requests_blackholed_longer_than_a_lease,
    replies_blackholed_longer_than_a_lease,
    blackholed_both_ways_longer_than_a_lease,
    requests_of_open_connections_blackholed,
    replies_of_open_connections_blackholed,
    resets_in_a_row,
    reset_in_the_handshake,
    silence_in_the_handshake,
    latency_below_every_timeout,
    latency_above_the_publish_timeout,
    slow_drip_of_replies,
    slow_drip_of_requests,
    held_acks_released_in_time,
    held_acks_released_too_late,
    flapping,
}
