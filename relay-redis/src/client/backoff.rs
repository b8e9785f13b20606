//! Waits between attempts to connect.

use std::time::Duration;

use crate::client::options::Options;

/// Waits that double, each cut at random so that nodes do not come all at once.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    least: Duration,
    most: Duration,
}

impl Backoff {
    /// Begins with the first wait.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            next: options.backoff,
            least: options.backoff,
            most: options.longest_backoff,
        }
    }

    /// Begins anew after a success.
    pub(crate) fn reset(&mut self) {
        self.next = self.least;
    }

    /// Returns the next wait: between half of what it may be and all of it.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next.min(self.most);
        self.next = wait.saturating_mul(2);
        // Without randomness from the system all nodes wait as long.
        let random = getrandom::u32().unwrap_or(u32::MAX);
        wait / 2 + (wait / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;
    use crate::client::options::Options;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(&Options {
            backoff: Duration::from_millis(100),
            longest_backoff: Duration::from_millis(350),
            ..Options::default()
        });
        for most in [100, 200, 350, 350] {
            let wait = backoff.next();
            let most = Duration::from_millis(most);
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(100));
    }
}
