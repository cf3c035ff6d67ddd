//! The table of cases: what `store_suite!` runs, noun by noun.

/// Hands the table to the arm `$mode` of [`__store_tests`](crate::__store_tests).
#[doc(hidden)]
#[macro_export]
macro_rules! __store_table {
    ($($mode:tt)*) => {
        $crate::__store_tests! {
            $($mode)*;
            lease {
                a_registered_instance_gets_every_partition
                an_unknown_instance_is_gone
                an_expired_instance_renews_while_its_row_is_there
                an_expired_instance_acquires_nothing
                a_deleted_instance_is_gone
                every_acquisition_raises_the_epoch
            }
            fetch {
                rows_come_in_the_order_of_their_enqueues
                the_row_limit_holds
            }
            settle {
                done_is_done
                an_older_epoch_settles_nothing
            }
        }
    };
}

/// Makes tests, or a list of names, of the table.
#[doc(hidden)]
#[macro_export]
macro_rules! __store_tests {
    (tests $harness:ty; $($noun:ident { $($case:ident)* })*) => {
        $(
            mod $noun {
                #[allow(unused_imports)]
                use super::*;

                $(
                    #[test]
                    fn $case() {
                        $crate::suite::run($crate::suite::$noun::$case::<$harness>());
                    }
                )*
            }
        )*
    };
    (names; $($noun:ident { $($case:ident)* })*) => {
        [$(vec![$((stringify!($noun), stringify!($case))),*]),*]
    };
}

/// Certifies a store: one test for each [case](crate::suite::cases), run against the
/// [harness](crate::suite::Harness) that is named.
///
/// ```ignore
/// //! tests/conformance.rs of an adapter
/// struct Mine { … }
/// #[async_trait::async_trait]
/// impl iobox_testkit::suite::Harness for Mine { … }
///
/// iobox_testkit::store_suite!(Mine);
/// ```
#[macro_export]
macro_rules! store_suite {
    ($harness:ty) => {
        $crate::__store_table! { tests $harness }
    };
}
