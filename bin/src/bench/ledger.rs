//! What is right and what went wrong: nothing may be lost, come twice or out of order.

use serde::{Deserialize, Serialize};

/// How many faults are told in words.
const TOLD: usize = 10;

/// What went wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Faults {
    /// How much.
    pub(super) count: u64,
    /// The first of it, in words.
    pub(super) told: Vec<String>,
}

impl Faults {
    /// Notes a fault.
    pub(super) fn add(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push(what());
        }
    }

    /// Adds another process's.
    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        let room = TOLD.saturating_sub(self.told.len());
        self.told.extend(other.told.into_iter().take(room));
    }
}

/// Something that counts up without a hole, as someone sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sequence {
    last: u64,
}

impl Sequence {
    /// Returns the last number that came, 0 before the first.
    pub(super) const fn last(self) -> u64 {
        self.last
    }

    /// Forgets that anything came.
    pub(super) const fn restart(&mut self) {
        self.last = 0;
    }

    /// Begins in the middle, with whatever comes next.
    pub(super) const fn begin_at(&mut self, number: u64) {
        self.last = number.saturating_sub(1);
    }

    /// Takes the next number; whether it is the one that was to come. If not, that is a fault, and
    /// the sequence goes on from there, unless it is behind.
    pub(super) fn take(
        &mut self,
        number: u64,
        faults: &mut Faults,
        whose: impl FnOnce() -> String,
    ) -> bool {
        let last = self.last;
        if number == last + 1 {
            self.last = number;
            return true;
        }
        faults.add(|| {
            let whose = whose();
            if number <= last {
                format!("{whose}: {number} came after {last}, twice or out of order")
            } else {
                format!(
                    "{whose}: {number} came after {last}, {} lost",
                    number - last - 1
                )
            }
        });
        self.last = last.max(number);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{Faults, Sequence};

    fn play(numbers: &[u64]) -> (u64, Faults) {
        let mut sequence = Sequence::default();
        let mut faults = Faults::default();
        let right = |number: &&u64| sequence.take(**number, &mut faults, || "ada".to_owned());
        let right = numbers.iter().filter(right).count();
        (right.try_into().unwrap(), faults)
    }

    #[test]
    fn counting_up_is_right() {
        assert_eq!(play(&[1, 2, 3, 4]), (4, Faults::default()));
    }

    #[test]
    fn a_hole_is_one_fault() {
        let (right, faults) = play(&[1, 2, 5, 6]);
        assert_eq!((right, faults.count), (3, 1));
        assert_eq!(faults.told, ["ada: 5 came after 2, 2 lost"]);
    }

    #[test]
    fn what_comes_twice_is_a_fault_each_time() {
        let (right, faults) = play(&[1, 2, 2, 1, 3]);
        assert_eq!((right, faults.count), (3, 2));
        assert_eq!(faults.told[0], "ada: 2 came after 2, twice or out of order");
    }

    #[test]
    fn what_comes_late_is_lost_first_and_out_of_order_then() {
        let (right, faults) = play(&[1, 3, 2, 4]);
        assert_eq!((right, faults.count), (2, 2));
    }

    #[test]
    fn a_sequence_may_begin_in_the_middle() {
        let mut sequence = Sequence::default();
        let mut faults = Faults::default();
        sequence.begin_at(7);
        assert!(sequence.take(7, &mut faults, String::new));
        assert_eq!(sequence.last(), 7);
        sequence.restart();
        assert!(sequence.take(1, &mut faults, String::new));
        assert_eq!(faults.count, 0);
    }

    #[test]
    fn many_faults_are_counted_and_few_are_told() {
        let mut all = Faults::default();
        for round in 0..3 {
            let mut faults = Faults::default();
            for fault in 0..7 {
                faults.add(|| format!("{round}.{fault}"));
            }
            all.merge(faults);
        }
        assert_eq!((all.count, all.told.len()), (21, 10));
        assert_eq!(all.told[9], "1.2");
    }
}
