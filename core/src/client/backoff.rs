//! Waits that grow, with jitter.

use std::time::Duration;

use crate::random::Random;
use crate::time::{Timestamp, millis};

/// Waits that double from the first to the longest, each drawn from the upper half of its range,
/// so that clients that lost one server do not come back at one moment.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
    random: Random,
}

impl Backoff {
    /// Starts with the first wait.
    pub(super) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self {
            first,
            longest,
            attempts: 0,
            random: Random::new(seed),
        }
    }

    /// Returns when to try again.
    pub(super) fn next(&mut self, now: Timestamp) -> Timestamp {
        let factor = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        let range = millis(self.first.saturating_mul(factor).min(self.longest));
        self.attempts = self.attempts.saturating_add(1).min(31);
        let half = range / 2;
        now + Duration::from_millis(half + self.random.below(range - half + 1))
    }

    /// Starts again with the first wait.
    pub(super) const fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_within_their_upper_half() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(4), 7);
        for range in [500, 1000, 2000, 4000, 4000, 4000] {
            let wait = backoff.next(Timestamp(0)).0;
            assert!((range / 2..=range).contains(&wait), "{wait} of {range}");
        }
        backoff.reset();
        assert!((250..=500).contains(&backoff.next(Timestamp(0)).0));
    }

    #[test]
    fn a_wait_may_take_all_of_its_range() {
        let mut waits = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let mut backoff = Backoff::new(Duration::from_millis(4), Duration::from_secs(4), seed);
            waits.insert(backoff.next(Timestamp(0)).0);
        }
        assert!(waits.iter().eq(&[2, 3, 4]), "{waits:?}");
    }

    #[test]
    fn the_wait_stays_at_the_longest_for_ever() {
        let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_secs(1), 7);
        for _ in 0..100 {
            backoff.next(Timestamp(0));
        }
        assert!((500..=1000).contains(&backoff.next(Timestamp(0)).0));
    }

    #[test]
    fn seeds_differ_and_repeat() {
        let draws = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(9), Duration::from_secs(9), seed);
            [(); 4].map(|()| backoff.next(Timestamp(0)))
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }

    #[test]
    fn no_wait_at_all_is_allowed() {
        let mut backoff = Backoff::new(Duration::ZERO, Duration::ZERO, 1);
        assert_eq!(backoff.next(Timestamp(5)), Timestamp(5));
    }
}
