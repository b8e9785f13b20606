//! The one source of chance of a run.

use std::time::Duration;

/// What a run draws from.
#[derive(Clone, Debug)]
pub(super) struct Random(crate::random::Random);

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self(crate::random::Random::new(seed))
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// Returns a number below `bound`; zero for a bound of zero.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// Returns a number from `low` to `high`, both included.
    pub(super) const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// Tells whether something of this probability, in thousandths, happens.
    pub(super) const fn chance(&mut self, thousandths: u64) -> bool {
        self.below(1000) < thousandths
    }

    pub(super) const fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// Chooses one; `None` of none.
    pub(super) fn pick<T: Copy>(&mut self, among: &[T]) -> Option<T> {
        let index = usize::try_from(self.below(among.len() as u64)).ok()?;
        among.get(index).copied()
    }

    /// Chooses an index below `len`.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn draws_repeat_and_stay_in_range() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [(); 8].map(|()| random.between(3, 5))
        };
        assert_eq!(draw(7), draw(7));
        assert!(draw(7).iter().all(|number| (3..=5).contains(number)));
        assert_eq!(Random::new(1).below(0), 0);
        assert_eq!(Random::new(1).pick::<u8>(&[]), None);
    }
}
