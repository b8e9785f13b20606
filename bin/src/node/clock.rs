//! The node's clock: wall time that never goes back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parlor_core::time::{Timestamp, millis};

/// Tells the time since 1970: the wall clock at the start, carried on by the monotonic clock.
///
/// A wall clock that is set back would hold every timer of the engine up, and one that is set
/// forward would fire them all; so neither is followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall: Duration,
    start: Instant,
}

impl Clock {
    /// Reads both clocks.
    pub(crate) fn start() -> Self {
        Self {
            wall: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            start: Instant::now(),
        }
    }

    /// Returns the present moment; never before an earlier answer.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(millis(self.wall + self.start.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use parlor_core::time::Timestamp;

    #[test]
    fn time_is_wall_time_and_never_goes_back() {
        let clock = Clock::start();
        let mut last = clock.now();
        // 2020-01-01: a clock that counts from the start of the process would be far below.
        assert!(last > Timestamp(1_577_836_800_000));
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
