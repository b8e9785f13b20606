//! Users that are logged in and do nothing.

use super::hub::{Hub, Player};
use super::order::Order;
use super::play::{Play, Tally};
use super::scan::{Line, scan};

/// The users of a worker.
#[derive(Debug)]
pub(super) struct Idle<'a> {
    order: &'a Order,
    tally: Tally,
}

impl<'a> Idle<'a> {
    pub(super) fn new(order: &'a Order) -> Self {
        Self {
            order,
            tally: Tally::new(),
        }
    }
}

impl Player for Idle<'_> {
    fn line(&mut self, _hub: &mut Hub, user: usize, line: &[u8], _at: u64) {
        // Pings are answered, and friends still come.
        if !matches!(scan(line), Line::Done { .. } | Line::Other) {
            let number = self.order.index(user);
            self.tally.faults.add(|| {
                let line = String::from_utf8_lossy(line).into_owned();
                format!("user {number} got what nobody caused: {line:?}")
            });
        }
    }

    fn closed(&mut self, _hub: &mut Hub, user: usize, why: &str) {
        let number = self.order.index(user);
        self.tally.faults.add(|| format!("user {number}: {why}"));
    }
}

impl Play for Idle<'_> {
    fn go(&mut self, _hub: &mut Hub) {}

    fn settle(&mut self, _last: u64) {}

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
