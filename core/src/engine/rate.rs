//! Token buckets.

use std::time::Duration;

use crate::engine::config::Rate;
use crate::time::Timestamp;

/// An hour in microseconds.
const HOUR: u64 = 3_600_000_000;

/// A token bucket, kept as the moment at which it is full again: the generic cell rate algorithm
/// (ITU-T I.371, annex A), in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    full_at: u64,
}

impl Bucket {
    /// Takes one token.
    ///
    /// # Errors
    /// Says how long to wait for the next one.
    pub(super) fn take(&mut self, rate: Rate, now: Timestamp) -> Result<(), Duration> {
        let now = now.0.saturating_mul(1000);
        let interval = HOUR / u64::from(rate.per_hour.max(1));
        let full_at = self.full_at.max(now).saturating_add(interval);
        let depth = interval.saturating_mul(u64::from(rate.burst.max(1)));
        match full_at.saturating_sub(now).checked_sub(depth) {
            None | Some(0) => {
                self.full_at = full_at;
                Ok(())
            }
            Some(wait) => Err(Duration::from_millis(wait.div_ceil(1000))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Bucket;
    use crate::engine::config::Rate;
    use crate::time::Timestamp;

    #[test]
    fn a_burst_then_a_steady_rate() {
        let rate = Rate::per_second(3, 10);
        let mut bucket = Bucket::default();
        let start = Timestamp(1_000_000);
        for _ in 0..3 {
            assert_eq!(bucket.take(rate, start), Ok(()));
        }
        assert_eq!(bucket.take(rate, start), Err(Duration::from_millis(100)));
        assert_eq!(
            bucket.take(rate, Timestamp(start.0 + 99)),
            Err(Duration::from_millis(1))
        );
        assert_eq!(bucket.take(rate, Timestamp(start.0 + 100)), Ok(()));
        assert!(bucket.take(rate, Timestamp(start.0 + 100)).is_err());
    }
}
