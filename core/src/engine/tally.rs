//! What an engine has done so far, for operators.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::contract::Effect;
use crate::protocol::{ErrorCode, Event, NoticeCode, Reply, RequestError};

/// How often something took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How many took at most each of [`Self::BOUNDS`] and more than the one before; then those that
    /// took longer than all.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    /// How long all of them took.
    pub sum: Duration,
}

/// Counts since the engine began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections that came.
    pub connections: u64,
    /// Answered requests by `op` and error code. What could not be read has no `op`; what went well
    /// has no code.
    pub requests: BTreeMap<(Option<&'static str>, Option<ErrorCode>), u64>,
    /// How long requests took that could be read.
    pub waits: Waits,
    /// How long it took from a request's arrival to the commit of what it added to logs.
    pub commits: Waits,
    /// How long it took from an entry's moment in the store, by the database's clock, until it was
    /// pushed, by the node's: once for each push to a session that was connected at that moment.
    pub arrivals: Waits,
    /// Entries that were committed for clients of this node.
    pub entries: u64,
    /// Entries that were pushed, counted once for each connection.
    pub pushes: u64,
    /// Notices by code, such as how many connections were closed as slow.
    pub notices: BTreeMap<NoticeCode, u64>,
}

impl Waits {
    /// The upper bounds, in milliseconds.
    pub const BOUNDS: [u64; 12] = [0, 1, 2, 5, 10, 20, 50, 100, 250, 500, 1000, 5000];

    /// Counts one.
    pub fn add(&mut self, wait: Duration) {
        let millis = crate::time::millis(wait);
        let place = Self::BOUNDS.partition_point(|bound| *bound < millis);
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.sum += wait;
    }
}

impl Tally {
    /// Counts an answer that took so long.
    pub(super) fn answered(
        &mut self,
        op: Option<&'static str>,
        result: &Result<Reply, RequestError>,
        wait: Duration,
    ) {
        let code = result.as_ref().err().map(|error| error.code);
        *self.requests.entry((op, code)).or_default() += 1;
        if op.is_some() {
            self.waits.add(wait);
        }
    }

    /// Counts what leaves the engine.
    pub(super) fn leaves(&mut self, effect: &Effect) {
        let Effect::Push {
            connections, event, ..
        } = effect
        else {
            return;
        };
        match event {
            Event::Message(_) => self.pushes += connections.len() as u64,
            Event::Notice { code, .. } => *self.notices.entry(*code).or_default() += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Waits;

    #[test]
    fn waits_are_counted_under_the_next_bound() {
        let mut waits = Waits::default();
        for millis in [0, 1, 3, 5, 5000, 5001, 60_000] {
            waits.add(Duration::from_millis(millis));
        }
        assert_eq!(waits.counts, [1, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(waits.sum, Duration::from_millis(70_010));
    }
}
