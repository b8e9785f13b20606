//! How far users have got: acknowledged, told to whom it concerns, and written in batches.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::pending::Pending;
use crate::engine::timers::Alarm;
use crate::id::{ConnectionId, ConversationId, ConversationRef, Pair, Seq, UserId};
use crate::protocol::{ErrorCode, Event, Reply, RequestError};
use crate::relay::{Channel, RelayMessage};
use crate::store::{ConversationState, Mark, StoreRequest, StoreResult};

/// Raised cursors on their way to the store.
#[derive(Debug, Default)]
pub(super) struct Marks {
    waiting: Positions,
    /// Those that are being written.
    writing: Option<Positions>,
    /// Those that were written last: a roster that was read before that may arrive after it.
    written: Positions,
    alarm: bool,
}

type Positions = BTreeMap<(ConversationId, UserId), (Seq, Seq)>;

impl Marks {
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.writing.as_ref().map_or(0, BTreeMap::len)
    }

    fn raise(positions: &mut Positions, key: (ConversationId, UserId), to: (Seq, Seq)) {
        let position = positions.entry(key).or_default();
        *position = (position.0.max(to.0), position.1.max(to.1));
    }

    fn get(&self, key: (ConversationId, UserId)) -> Option<(Seq, Seq)> {
        [
            Some(&self.waiting),
            self.writing.as_ref(),
            Some(&self.written),
        ]
        .into_iter()
        .flatten()
        .filter_map(|positions| positions.get(&key).copied())
        .reduce(|one, other| (one.0.max(other.0), one.1.max(other.1)))
    }
}

impl Engine {
    /// Raises a session's user's position in a conversation.
    pub(super) fn acknowledge(
        &mut self,
        connection: ConnectionId,
        with: ConversationRef,
        delivered: Option<Seq>,
        read: Option<Seq>,
    ) -> Result<Reply, RequestError> {
        let session = self
            .connections
            .get(connection)
            .and_then(|slot| slot.session.as_ref());
        let session = session.ok_or(ErrorCode::NotLoggedIn)?;
        let user = session.user;
        let Some(cursor) = session.cursors.get(with) else {
            return Err(match with {
                ConversationRef::User(_) => ErrorCode::NotFriends.into(),
                ConversationRef::Group(_) => ErrorCode::NotMember.into(),
            });
        };
        let clamp = |seq: Option<Seq>| seq.unwrap_or_default().min(cursor.head);
        let (before, id) = ((cursor.delivered, cursor.read), cursor.id);
        let read = clamp(read).max(cursor.read);
        let delivered = clamp(delivered).max(cursor.delivered).max(read);
        if (delivered, read) == before {
            return Ok(Reply::Done);
        }
        let known = self.marks.waiting.contains_key(&(id, user));
        if !known && self.marks.len() >= self.config.marks.saturating_mul(2) {
            // The store takes none: clients keep theirs and repeat.
            return Err(self.busy());
        }
        Marks::raise(&mut self.marks.waiting, (id, user), (delivered, read));
        let pair = match with {
            ConversationRef::User(other) => Pair::new(user, other),
            ConversationRef::Group(_) => None,
        };
        self.tell_receipt(user, with, delivered, read, Some(connection));
        let message = || RelayMessage::Receipt {
            conversation: id,
            pair,
            user,
            delivered,
            read,
        };
        self.publish(Channel::User(user), message());
        if let Some(other) = pair.and_then(|pair| pair.other(user)) {
            self.publish(Channel::User(other), message());
        }
        self.flush_soon();
        Ok(Reply::Done)
    }

    /// Tells a user's own other sessions, and the other side of a direct conversation, how far the
    /// user has got.
    pub(super) fn tell_receipt(
        &mut self,
        user: UserId,
        with: ConversationRef,
        delivered: Seq,
        read: Seq,
        except: Option<ConnectionId>,
    ) {
        let mut own = self.connections_of(user);
        for connection in &own {
            let slot = self.connections.get_mut(*connection);
            let session = slot.and_then(|slot| slot.session.as_mut());
            if let Some(cursor) = session.and_then(|session| session.cursors.get_mut(with)) {
                cursor.delivered = cursor.delivered.max(delivered);
                cursor.read = cursor.read.max(read);
            }
        }
        own.retain(|connection| Some(*connection) != except);
        self.push_hint(
            &own,
            Event::Receipt {
                conversation: with,
                user,
                delivered,
                read,
            },
        );
        if let ConversationRef::User(other) = with {
            let conversation = ConversationRef::User(user);
            let others = self.connections_of(other);
            self.push_hint(
                &others,
                Event::Receipt {
                    conversation,
                    user,
                    delivered,
                    read,
                },
            );
        }
    }

    /// Shows a conversation with the positions that are not in the store yet.
    pub(super) fn with_marks(&self, user: UserId, state: ConversationState) -> ConversationState {
        let raised = |user, (delivered, read): (Seq, Seq)| {
            let (above, above_read) = self.marks.get((state.id, user)).unwrap_or_default();
            (
                delivered.max(above.min(state.last)),
                read.max(above_read.min(state.last)),
            )
        };
        let (delivered, read) = raised(user, (state.delivered, state.read));
        let peer = match (state.conversation, state.peer) {
            (ConversationRef::User(other), Some(peer)) => Some(raised(other, peer)),
            (_, peer) => peer,
        };
        ConversationState {
            delivered,
            read,
            peer,
            ..state
        }
    }

    /// Writes what waits, unless something is being written.
    pub(super) fn flush_marks(&mut self) {
        self.marks.alarm = false;
        if self.marks.writing.is_some() || self.marks.waiting.is_empty() {
            return;
        }
        let positions = std::mem::take(&mut self.marks.waiting);
        let marks = positions
            .iter()
            .map(|((conversation, user), (delivered, read))| Mark {
                conversation: *conversation,
                user: *user,
                delivered: *delivered,
                read: *read,
            })
            .collect();
        self.marks.writing = Some(positions);
        self.ask_store(StoreRequest::Mark(marks), Pending::Marks);
    }

    pub(super) fn marked(&mut self, result: &StoreResult) {
        let Some(positions) = self.marks.writing.take() else {
            return;
        };
        if result.is_ok() {
            self.marks.written = positions;
            if self.stopping.draining() || self.marks.waiting.len() >= self.config.marks {
                self.flush_marks();
            }
        } else {
            for (key, position) in positions {
                Marks::raise(&mut self.marks.waiting, key, position);
            }
        }
        if !self.marks.waiting.is_empty() {
            self.flush_soon();
        }
    }

    fn flush_soon(&mut self) {
        if self.marks.waiting.len() >= self.config.marks {
            self.flush_marks();
        }
        if !self.marks.alarm && !self.marks.waiting.is_empty() {
            self.marks.alarm = true;
            self.timers
                .set(self.now + self.config.mark_interval, Alarm::Marks);
        }
    }
}
