//! How often something that got lost was found again.

use std::ops::AddAssign;

/// Counts of what was repaired, since the engine began: for operators, and for simulations to see
/// that every path was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Entries that came with entries missing before them: these were fetched.
    pub gaps: u64,
    /// Newest numbers read again after a subscription was confirmed, or the relay came back, that
    /// were higher than known.
    pub heads: u64,
    /// Newest numbers among the changes read from the store that were higher than known.
    pub reconciled: u64,
    /// Newest numbers read to verify held conversations that were higher than known.
    pub verified: u64,
    /// Rosters read again that were newer than known.
    pub rosters: u64,
    /// Rounds of repeating reads that had failed.
    pub retries: u64,
    /// Sessions for which entries were left to be fetched later, for want of credit.
    pub starved: u64,
}

impl AddAssign for Repairs {
    fn add_assign(&mut self, other: Self) {
        let Self {
            gaps,
            heads,
            reconciled,
            verified,
            rosters,
            retries,
            starved,
        } = other;
        self.gaps += gaps;
        self.heads += heads;
        self.reconciled += reconciled;
        self.verified += verified;
        self.rosters += rosters;
        self.retries += retries;
        self.starved += starved;
    }
}

#[cfg(test)]
mod tests {
    use super::Repairs;

    #[test]
    fn counts_are_added_each_to_its_own() {
        let mut sum = Repairs {
            gaps: 3,
            heads: 4,
            reconciled: 5,
            verified: 6,
            rosters: 7,
            retries: 8,
            starved: 9,
        };
        sum += Repairs {
            gaps: 10,
            heads: 20,
            reconciled: 30,
            verified: 40,
            rosters: 50,
            retries: 60,
            starved: 70,
        };
        let expected = Repairs {
            gaps: 13,
            heads: 24,
            reconciled: 35,
            verified: 46,
            rosters: 57,
            retries: 68,
            starved: 79,
        };
        assert_eq!(sum, expected);
    }
}
