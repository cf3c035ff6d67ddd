//! Time as the tables keep it: milliseconds since the Unix epoch.

use std::time::{Duration, SystemTime};

/// The longest delay that is added to the clock: 100 years.
const DELAY_MAX_MS: i64 = 100 * 366 * 24 * 60 * 60 * 1_000;

/// A delay in milliseconds, rounded up, so that nothing is due too early.
pub(crate) fn delay_ms(delay: Duration) -> i64 {
    let ms = delay.as_nanos().div_ceil(1_000_000);
    i64::try_from(ms).map_or(DELAY_MAX_MS, |ms| ms.min(DELAY_MAX_MS))
}

/// A stored number of milliseconds as a duration; zero when it is negative.
pub(crate) fn duration(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

/// A stored time as a time of day.
pub(crate) fn time_of_day(ms: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH
        .checked_add(duration(ms))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A time of day as it is stored, rounded up: nothing before it is meant.
pub(crate) fn stored(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
        })
}

/// A time of day as it is stored, rounded down: nothing after it is meant.
pub(crate) fn reached(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(-1, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_round_up_and_stay_addable() {
        assert_eq!(delay_ms(Duration::ZERO), 0);
        assert_eq!(delay_ms(Duration::from_nanos(1)), 1);
        assert_eq!(delay_ms(Duration::from_millis(7)), 7);
        assert_eq!(delay_ms(Duration::MAX), DELAY_MAX_MS);
    }

    #[test]
    fn times_of_day_come_back() {
        assert_eq!(stored(time_of_day(1_700_000_000_123)), 1_700_000_000_123);
        assert_eq!(time_of_day(-5), SystemTime::UNIX_EPOCH);
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!((stored(before), reached(before)), (0, -1));
        let between = SystemTime::UNIX_EPOCH + Duration::from_micros(1_500);
        assert_eq!((stored(between), reached(between)), (2, 1));
    }
}
