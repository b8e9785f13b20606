//! A session on this node and its cursors.

use crate::id::{ConversationId, ConversationRef, Seq, SessionId, UserId};
use crate::time::Timestamp;

/// The session of a connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) user: UserId,
    pub(super) id: SessionId,
    /// When the connection's client asked to begin or resume it.
    pub(super) asked: Timestamp,
    /// A moment after that by the database's clock, which other nodes share.
    pub(super) as_of: Timestamp,
    pub(super) cursors: Cursors,
}

/// How far a session has got in one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Which conversation, from the user's side.
    pub(super) with: ConversationRef,
    /// Which conversation, in the store.
    pub(super) id: ConversationId,
    /// The last entry that was pushed.
    pub(super) at: Seq,
    /// The newest entry that is known of.
    pub(super) head: Seq,
    /// What the user has acknowledged as arrived.
    pub(super) delivered: Seq,
    /// What the user has acknowledged as read.
    pub(super) read: Seq,
    /// How far the membership stands.
    pub(super) phase: Phase,
}

/// How far a membership stands, as seen by one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The user became a member while the session lasted: it is told after the entry that says so.
    Joining,
    /// Nothing is to be told.
    Settled,
    /// The roster says that the user is no member any more: the entry that says so is to come.
    Leaving,
}

impl Cursor {
    /// Tells whether entries are known of that were not pushed.
    pub(super) fn behind(&self) -> bool {
        self.at < self.head
    }
}

/// A session's cursors: a sorted vector, since most sessions have few and all of them are kept in
/// memory.
#[derive(Debug, Default)]
pub(super) struct Cursors {
    sorted: Vec<Cursor>,
}

impl Cursors {
    pub(super) fn new(mut cursors: Vec<Cursor>) -> Self {
        cursors.sort_unstable_by_key(|cursor| cursor.with);
        cursors.shrink_to_fit();
        Self { sorted: cursors }
    }

    pub(super) fn get(&self, with: ConversationRef) -> Option<&Cursor> {
        self.sorted.get(self.find(with).ok()?)
    }

    pub(super) fn get_mut(&mut self, with: ConversationRef) -> Option<&mut Cursor> {
        let index = self.find(with).ok()?;
        self.sorted.get_mut(index)
    }

    pub(super) fn insert(&mut self, cursor: Cursor) {
        if let Err(index) = self.find(cursor.with) {
            // By a quarter rather than twofold: it is kept for as long as the session lasts.
            if self.sorted.len() == self.sorted.capacity() {
                self.sorted.reserve_exact(1 + self.sorted.len() / 4);
            }
            self.sorted.insert(index, cursor);
        }
    }

    pub(super) fn remove(&mut self, with: ConversationRef) {
        if let Ok(index) = self.find(with) {
            self.sorted.remove(index);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Cursor> {
        self.sorted.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Cursor> {
        self.sorted.iter_mut()
    }

    fn find(&self, with: ConversationRef) -> Result<usize, usize> {
        self.sorted
            .binary_search_by_key(&with, |cursor| cursor.with)
    }
}
