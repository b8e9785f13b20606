//! What every work has in common.

use super::hub::{Hub, Player};
use super::latency::Latency;
use super::ledger::Faults;
use super::message::now;
use super::order::Outcome;

/// A work, as its worker drives it.
pub(super) trait Play: Player {
    /// Begins to work.
    fn go(&mut self, hub: &mut Hub);

    /// From now on it counts.
    fn begin(&mut self, _hub: &mut Hub) {
        self.tally_mut().begin();
    }

    /// Now and then, and when the time for something may have come.
    fn step(&mut self, _hub: &mut Hub) {}

    /// From now on it does not count, and nothing more is begun.
    fn end(&mut self) {
        self.tally_mut().end();
    }

    /// Tells whether there is nothing left to do, though it was not told to end.
    fn is_finished(&self) -> bool {
        false
    }

    /// Tells whether everything that was begun is answered.
    fn is_stopped(&self) -> bool {
        true
    }

    /// Returns the highest number in a log that others share.
    fn last(&self) -> u64 {
        0
    }

    /// Tells whether everything has arrived up to this number in a shared log.
    fn is_drained(&self, _last: u64) -> bool {
        true
    }

    /// Adds to the faults what has not arrived though it should, and says what was sent.
    fn settle(&mut self, last: u64);

    /// Returns the tally.
    fn tally(&self) -> &Tally;

    /// Returns the tally.
    fn tally_mut(&mut self) -> &mut Tally;
}

/// What is counted.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) deliveries: u64,
    pub(super) resumes: u64,
    /// Requests that were refused for a while, and repeated.
    pub(super) refusals: u64,
    pub(super) latency: Latency,
    pub(super) lateness: Latency,
    pub(super) faults: Faults,
    began: Option<Moment>,
    ended: Option<Moment>,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    at: u64,
    deliveries: u64,
    resumes: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            sent: 0,
            acknowledged: 0,
            deliveries: 0,
            resumes: 0,
            refusals: 0,
            latency: Latency::new(),
            lateness: Latency::new(),
            faults: Faults::default(),
            began: None,
            ended: None,
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            at: now(),
            deliveries: self.deliveries,
            resumes: self.resumes,
        }
    }

    pub(super) fn begin(&mut self) {
        self.began = Some(self.moment());
    }

    /// Tells whether it has begun to count.
    pub(super) const fn has_begun(&self) -> bool {
        self.began.is_some()
    }

    pub(super) fn end(&mut self) {
        self.ended.get_or_insert(self.moment());
    }

    /// Notes that a message arrived at a moment, which was due at another.
    pub(super) fn arrived(&mut self, due: u64, at: u64) {
        self.deliveries += 1;
        self.took(due, at);
    }

    /// Notes how long something took, if it was due while it counts, however late it was done.
    pub(super) fn took(&mut self, due: u64, at: u64) {
        if self.counts(due) {
            self.latency.record(at.saturating_sub(due));
        }
    }

    /// Notes how late something is sent.
    pub(super) fn is_late(&mut self, due: u64, at: u64) {
        if self.counts(due) {
            self.lateness.record(at.saturating_sub(due));
        }
    }

    fn counts(&self, moment: u64) -> bool {
        self.began.is_some_and(|began| began.at <= moment)
            && self.ended.is_none_or(|ended| moment < ended.at)
    }

    /// Returns what is told of it.
    pub(super) fn outcome(&self) -> Outcome {
        let between = |count: fn(&Moment) -> u64| {
            let (began, ended) = (self.began.as_ref()?, self.ended.as_ref()?);
            Some(count(ended) - count(began))
        };
        Outcome {
            sent: self.sent,
            acknowledged: self.acknowledged,
            deliveries: self.deliveries,
            measured: between(|moment| moment.deliveries).unwrap_or(0),
            resumes: between(|moment| moment.resumes).unwrap_or(0),
            refusals: self.refusals,
            latency: self.latency.recorded(),
            lateness: self.lateness.recorded(),
            faults: self.faults.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Tally, now};

    #[test]
    fn what_counts_lies_between_begin_and_end() {
        let mut tally = Tally::new();
        let early = now();
        tally.arrived(early, early + 10);
        while now() == early {}
        tally.begin();
        let within = now();
        tally.arrived(early, within);
        tally.arrived(within, within + 5);
        while now() == within {}
        tally.end();
        tally.arrived(within, within + 7);
        tally.arrived(now(), now());
        tally.end();
        let outcome = tally.outcome();
        assert_eq!((outcome.deliveries, outcome.measured), (5, 2));
        let summary = tally.latency.summary().unwrap();
        assert_eq!((summary.count, summary.p50, summary.max), (2, 5, 7));
    }
}
