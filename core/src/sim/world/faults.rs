//! What may go wrong, how likely it is in a run, and how often it did.

use std::collections::BTreeMap;

use super::random::Random;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The relay loses a message for one node.
    RelayDrop,
    /// The relay delivers a message twice.
    RelayRepeat,
    /// The relay delivers a message late, and all behind it.
    RelayDelay,
    /// The relay delivers a message late, after those behind it.
    RelayReorder,
    /// A subscription is made, or confirmed, late.
    ConfirmLate,
    /// The relay does not say who is online.
    PresenceLost,
    /// The relay says late who is online.
    PresenceLate,
    /// The relay counts a node's subscriptions for a while after its connection is gone.
    PresenceStale,
    /// One node loses the relay.
    RelayLost,
    /// Every node loses the relay.
    RelayLostByAll,
    /// The relay loses everything for a while and nobody is told.
    RelayHang,
    /// The store carries a request out late.
    StoreLate,
    /// The store answers late what it carried out in time.
    AnswerLate,
    /// The store reads the roster of a session a while after it opened or found it.
    RosterLate,
    /// The store cannot be reached.
    StoreRefuses,
    /// The store has too much to do.
    StoreBusy,
    /// The store does not say that it did nothing.
    UnknownBefore,
    /// The store does not say that it committed.
    UnknownAfter,
    /// The store does not say that it will yet commit.
    UnknownLater,
    /// A change counts as made earlier than others that were committed before it.
    CommitOutOfOrder,
    /// The store does nothing for a while.
    StoreStall,
    /// A connection breaks.
    Break,
    /// A connection breaks and one side, or neither, notices.
    HalfOpen,
    /// A connection breaks within a frame.
    TornFrame,
    /// A node loses all that it had in memory.
    Crash,
    /// A node stops in good order.
    Drain,
    /// A node's clock jumps forward.
    ClockJump,
    /// A client reads nothing for a while.
    ClientStops,
    /// A user logs in on several devices at once.
    LoginsAtOnce,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 29] = [
        Self::RelayDrop,
        Self::RelayRepeat,
        Self::RelayDelay,
        Self::RelayReorder,
        Self::ConfirmLate,
        Self::PresenceLost,
        Self::PresenceLate,
        Self::PresenceStale,
        Self::RelayLost,
        Self::RelayLostByAll,
        Self::RelayHang,
        Self::StoreLate,
        Self::AnswerLate,
        Self::RosterLate,
        Self::StoreRefuses,
        Self::StoreBusy,
        Self::UnknownBefore,
        Self::UnknownAfter,
        Self::UnknownLater,
        Self::CommitOutOfOrder,
        Self::StoreStall,
        Self::Break,
        Self::HalfOpen,
        Self::TornFrame,
        Self::Crash,
        Self::Drain,
        Self::ClockJump,
        Self::ClientStops,
        Self::LoginsAtOnce,
    ];

    /// The faults that strike once in a while, whatever is under way; the others happen to single
    /// messages and requests.
    pub(super) const STRIKES: [Self; 11] = [
        Self::RelayLost,
        Self::RelayLostByAll,
        Self::RelayHang,
        Self::StoreStall,
        Self::Break,
        Self::HalfOpen,
        Self::Crash,
        Self::Drain,
        Self::ClockJump,
        Self::ClientStops,
        Self::LoginsAtOnce,
    ];

    /// Returns the probability of a fault of single messages, in thousandths, where it is on.
    const fn rate(self, random: &mut Random) -> u64 {
        match self {
            Self::RelayDrop => random.between(5, 300),
            Self::RelayRepeat | Self::RelayDelay | Self::RelayReorder | Self::ConfirmLate => {
                random.between(5, 200)
            }
            Self::PresenceLost | Self::PresenceLate => random.between(50, 500),
            Self::PresenceStale | Self::TornFrame => random.between(200, 1000),
            Self::StoreLate | Self::AnswerLate | Self::CommitOutOfOrder => random.between(5, 150),
            Self::RosterLate => random.between(50, 500),
            _ => random.between(2, 40),
        }
    }
}

/// The faults of one run.
#[derive(Debug)]
pub(super) struct Faults {
    /// Probabilities in thousandths; those that are off are missing.
    rates: BTreeMap<Fault, u64>,
    pub(super) counts: BTreeMap<Fault, u64>,
    /// Whether everything works again.
    pub(super) stopped: bool,
}

impl Faults {
    /// Chooses which faults a run has, half of them on the average, and how often.
    pub(super) fn choose(random: &mut Random) -> Self {
        let share = random.between(0, 1000);
        let mut rates = BTreeMap::new();
        for fault in Fault::ALL {
            if random.chance(share) {
                rates.insert(fault, fault.rate(random));
            }
        }
        Self {
            rates,
            counts: BTreeMap::new(),
            stopped: false,
        }
    }

    /// Tells whether a fault happens to one message or request, and counts it.
    pub(super) fn hits(&mut self, fault: Fault, random: &mut Random) -> bool {
        let hit = self.rolls(fault, random);
        if hit {
            self.count(fault);
        }
        hit
    }

    /// Tells whether a fault is to happen; who asks counts it when it does.
    pub(super) fn rolls(&self, fault: Fault, random: &mut Random) -> bool {
        let rate = self.rates.get(&fault).copied().unwrap_or(0);
        !self.stopped && rate > 0 && random.chance(rate)
    }

    pub(super) fn count(&mut self, fault: Fault) {
        *self.counts.entry(fault).or_default() += 1;
    }

    /// The faults that may strike.
    pub(super) fn strikes(&self) -> Vec<Fault> {
        let on = |fault: &Fault| self.rates.contains_key(fault);
        Fault::STRIKES.into_iter().filter(on).collect()
    }

    pub(super) fn enabled(&self) -> Vec<Fault> {
        self.rates.keys().copied().collect()
    }
}
