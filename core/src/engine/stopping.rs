//! The end of a node: what is under way is finished, clients are told, cursors are written.

use crate::engine::Engine;
use crate::engine::contract::Effect;
use crate::engine::timers::Alarm;
use crate::id::ConnectionId;
use crate::protocol::NoticeCode;

/// The longest time that a client is told to wait before it connects again, in milliseconds.
const RETRY_MS: u64 = 2000;

/// How far a drain has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stopping {
    /// There is none.
    #[default]
    No,
    /// Requests under way are finished.
    Draining,
    /// The time for that is over.
    Overdue,
    /// It is over.
    Drained,
}

impl Stopping {
    pub(super) fn draining(self) -> bool {
        self != Self::No
    }
}

impl Engine {
    pub(super) fn drain(&mut self) {
        if self.stopping.draining() {
            return;
        }
        self.stopping = Stopping::Draining;
        self.timers.set(self.now + self.config.drain, Alarm::Drain);
        for connection in self.connections.keys() {
            // Closes those that wait for nothing.
            self.advance(connection);
        }
        self.flush_marks();
    }

    /// Closes a connection of a node that stops.
    pub(super) fn close_draining(&mut self, id: ConnectionId) {
        let wait = self.jitter(RETRY_MS);
        self.close(
            id,
            NoticeCode::Draining,
            "the server is stopping; connect again",
            Some(wait),
        );
    }

    pub(super) fn drain_overdue(&mut self) {
        if self.stopping != Stopping::Draining {
            return;
        }
        self.stopping = Stopping::Overdue;
        for connection in self.connections.keys() {
            self.close_draining(connection);
        }
    }

    /// Reports the end of a drain, once: when the connections are gone, what was asked of the store
    /// is answered (or is waited for no longer), and the cursors are written.
    pub(super) fn check_drained(&mut self) {
        let overdue = match self.stopping {
            Stopping::Draining => false,
            Stopping::Overdue => true,
            Stopping::No | Stopping::Drained => return,
        };
        let settled = self.pending.is_empty() && self.marks.len() == 0;
        if self.connections.is_empty() && (settled || overdue) {
            self.stopping = Stopping::Drained;
            self.leave_nodes();
            self.effects.push_back(Effect::Drained);
        }
    }
}
