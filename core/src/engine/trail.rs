//! What became of entries lately, for operators who ask where a message is.

use std::collections::{BTreeMap, VecDeque};

use crate::engine::Engine;
use crate::id::{ConnectionId, ConversationId, Seq, SessionId, UserId};
use crate::time::Timestamp;

/// One step of an entry's way, as a node saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When, by the node's clock.
    pub at: Timestamp,
    /// What happened.
    pub what: StepKind,
}

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// The store said that it is committed.
    Stored,
    /// It was handed to the relay, for other nodes.
    Published,
    /// It was not, since the relay was away: other nodes find it in the store.
    Withheld,
    /// It came over the relay.
    Relayed,
    /// It was handed to a connection.
    Pushed {
        /// Which.
        connection: ConnectionId,
        /// The session that the connection had then, and whose it was.
        session: Option<(UserId, SessionId)>,
    },
}

/// A ring of what happened last: memory of a fixed size, whatever happens.
#[derive(Debug, Default)]
pub(super) struct Trail {
    marks: VecDeque<(Timestamp, Mark)>,
}

/// What is remembered: numbers alone.
#[derive(Clone, Copy, Debug)]
enum Mark {
    Entry(ConversationId, Seq, EntryMark),
    /// A connection's session ended. It comes after all that was pushed to it, so it is remembered
    /// for longer.
    Left(ConnectionId, UserId, SessionId),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum EntryMark {
    Stored,
    Published,
    Withheld,
    Relayed,
    Pushed(ConnectionId),
}

impl Trail {
    fn add(&mut self, limit: usize, at: Timestamp, mark: Mark) {
        if limit == 0 {
            return;
        }
        if self.marks.len() >= limit {
            self.marks.pop_front();
        } else if self.marks.capacity() == 0 {
            // Once and for all: growing would move it each time.
            self.marks.reserve_exact(limit);
        }
        self.marks.push_back((at, mark));
    }
}

impl Engine {
    /// Remembers a step of an entry.
    pub(super) fn mark_entry(&mut self, conversation: ConversationId, seq: Seq, mark: EntryMark) {
        let mark = Mark::Entry(conversation, seq, mark);
        self.trail.add(self.config.trail, self.now, mark);
    }

    /// Remembers whose session a connection had until now.
    pub(super) fn mark_left(&mut self, connection: ConnectionId, user: UserId, id: SessionId) {
        let mark = Mark::Left(connection, user, id);
        self.trail.add(self.config.trail, self.now, mark);
    }

    /// Returns what is remembered of an entry, in order.
    pub(super) fn way_of(&self, conversation: ConversationId, seq: Seq) -> Vec<Step> {
        // Backwards: the first session that ended after a push is the one that got it.
        let mut ended: BTreeMap<ConnectionId, (UserId, SessionId)> = BTreeMap::new();
        let mut steps = Vec::new();
        for (at, mark) in self.trail.marks.iter().rev() {
            let mark = match *mark {
                Mark::Left(connection, user, session) => {
                    ended.insert(connection, (user, session));
                    continue;
                }
                Mark::Entry(of, number, mark) if of == conversation && number == seq => mark,
                Mark::Entry(..) => continue,
            };
            let what = match mark {
                EntryMark::Stored => StepKind::Stored,
                EntryMark::Published => StepKind::Published,
                EntryMark::Withheld => StepKind::Withheld,
                EntryMark::Relayed => StepKind::Relayed,
                EntryMark::Pushed(connection) => {
                    let gone = ended.get(&connection).copied();
                    let session = gone.or_else(|| {
                        let slot = self.connections.get(connection)?;
                        let session = slot.session.as_ref()?;
                        Some((session.user, session.id))
                    });
                    StepKind::Pushed {
                        connection,
                        session,
                    }
                }
            };
            steps.push(Step { at: *at, what });
        }
        steps.reverse();
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::{EntryMark, Mark, Trail};
    use crate::id::{ConversationId, Seq};
    use crate::time::Timestamp;

    #[test]
    fn the_oldest_marks_go_first_and_memory_stays() {
        let mut trail = Trail::default();
        let mark = |seq| Mark::Entry(ConversationId(1), Seq(seq), EntryMark::Stored);
        trail.add(3, Timestamp(0), mark(0));
        let capacity = trail.marks.capacity();
        for seq in 1..100 {
            trail.add(3, Timestamp(seq), mark(seq));
        }
        let kept: Vec<u64> = trail.marks.iter().map(|(at, _)| at.0).collect();
        assert_eq!(kept, [97, 98, 99]);
        assert_eq!(trail.marks.capacity(), capacity);
        assert!(size_of::<(Timestamp, Mark)>() <= 48);
    }

    #[test]
    fn no_room_is_no_memory() {
        let mut trail = Trail::default();
        let mark = Mark::Entry(ConversationId(1), Seq(1), EntryMark::Stored);
        trail.add(0, Timestamp(1), mark);
        assert_eq!((trail.marks.len(), trail.marks.capacity()), (0, 0));
    }
}
