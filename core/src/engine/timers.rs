//! When the engine has to look at something again.

use std::collections::BTreeSet;

use crate::id::{ConnectionId, StoreToken, UserId};
use crate::time::Timestamp;

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// Whether a connection has been silent, or has accepted nothing, for too long.
    Connection(ConnectionId),
    /// Whether a user is still without a session.
    Offline(UserId),
    /// Raised cursors are to be written.
    Marks,
    /// Reads that failed are to be repeated.
    Retry,
    /// Changes are to be read from the store.
    Reconcile,
    /// The newest numbers of held conversations are to be read.
    Verify,
    /// The drain has waited long enough.
    Drain,
    /// This node says that it lives, and looks whether the others did.
    Heartbeat,
    /// Everyone who is watched is asked about, since a node left or fell silent a while ago.
    AskAboutAll,
    /// The same, as every minute.
    Recheck,
    /// A user who is watched is asked about.
    Ask(UserId),
    /// A page of members has waited long enough for the relay.
    Members(StoreToken),
}

/// Alarms by time. One that has become pointless rings all the same: who hears it looks first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    alarms: BTreeSet<(Timestamp, Alarm)>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Timestamp, alarm: Alarm) {
        self.alarms.insert((at, alarm));
    }

    pub(super) fn clear(&mut self, at: Timestamp, alarm: Alarm) {
        self.alarms.remove(&(at, alarm));
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.alarms.len()
    }

    /// Takes the first alarm that is due.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Alarm> {
        let first = *self.alarms.first().filter(|(at, _)| *at <= now)?;
        self.alarms.remove(&first);
        Some(first.1)
    }
}
