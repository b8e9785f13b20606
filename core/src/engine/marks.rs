//! How far users have got: acknowledged, told to whom it concerns, and written in batches.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Engine;
use crate::engine::pending::Pending;
use crate::engine::session::Cursor;
use crate::engine::timers::Alarm;
use crate::id::{ConnectionId, ConversationId, ConversationRef, Pair, Seq, StoreToken, UserId};
use crate::protocol::{ErrorCode, Event, Reply, RequestError};
use crate::relay::{Channel, RelayMessage};
use crate::store::{ConversationState, Mark, StoreRequest, StoreResult};

/// Raised cursors on their way to the store.
#[derive(Debug, Default)]
pub(super) struct Marks {
    waiting: Positions,
    /// Those that are being written.
    writing: Option<Positions>,
    /// Whether what waits is to be written as soon as that is done.
    hurry: bool,
    /// Those that were written since `fence`, ...
    recent: Positions,
    /// ... and those before: a login's roster that was read before they were written may arrive
    /// after it.
    older: Positions,
    fence: StoreToken,
    /// The logins under way.
    logins: BTreeSet<StoreToken>,
    alarm: bool,
}

type Positions = BTreeMap<(ConversationId, UserId), (Seq, Seq)>;

impl Marks {
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.writing.as_ref().map_or(0, BTreeMap::len)
    }

    pub(super) fn written(&self) -> usize {
        self.recent.len() + self.older.len()
    }

    fn raise(positions: &mut Positions, key: (ConversationId, UserId), to: (Seq, Seq)) {
        let position = positions.entry(key).or_default();
        *position = (position.0.max(to.0), position.1.max(to.1));
    }

    pub(super) fn login_asked(&mut self, token: StoreToken) {
        self.logins.insert(token);
    }

    pub(super) fn login_answered(&mut self, token: StoreToken, last: StoreToken) {
        self.logins.remove(&token);
        self.forget_written(last);
    }

    /// Forgets what was written before every login under way, `last` being the newest token.
    fn forget_written(&mut self, last: StoreToken) {
        if self.logins.is_empty() {
            self.recent.clear();
            self.older.clear();
        } else if self.logins.first().is_some_and(|first| *first > self.fence) {
            self.older = std::mem::take(&mut self.recent);
            self.fence = last;
        }
    }

    fn get(&self, key: (ConversationId, UserId)) -> Option<(Seq, Seq)> {
        [
            Some(&self.waiting),
            self.writing.as_ref(),
            Some(&self.recent),
            Some(&self.older),
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
        if !self.has_room_to_mark((id, user)) {
            // The store takes none: clients keep theirs and repeat.
            return Err(self.busy());
        }
        Marks::raise(&mut self.marks.waiting, (id, user), (delivered, read));
        let pair = match with {
            ConversationRef::User(other) => Pair::new(user, other),
            ConversationRef::Group(_) => None,
        };
        let origin = self.origin;
        let message = |to| RelayMessage::Receipt {
            conversation: id,
            pair,
            to,
            user,
            delivered,
            read,
            origin,
        };
        self.raise_cursors(user, with, (delivered, read));
        self.tell_own_receipt(user, with, (delivered, read), Some(connection));
        self.publish(Channel::User(user), message(user));
        if let Some(other) = pair.and_then(|pair| pair.other(user))
            && self.is_friend(user, other)
        {
            self.tell_receipt(user, other, (delivered, read));
            self.publish(Channel::User(other), message(other));
        }
        self.flush_soon();
        Ok(Reply::Done)
    }

    /// Another node tells how far a user has got. This one writes it as well: the other may crash
    /// before it has, and the sessions here do not acknowledge again what is known already.
    pub(super) fn own_receipt_heard(
        &mut self,
        user: UserId,
        with: ConversationRef,
        id: ConversationId,
        (delivered, read): (Seq, Seq),
    ) {
        let news = self.connections_of(user).iter().any(|connection| {
            self.cursor(*connection, with)
                .is_some_and(|cursor| cursor.delivered < delivered || cursor.read < read)
        });
        if news && self.has_room_to_mark((id, user)) {
            Marks::raise(&mut self.marks.waiting, (id, user), (delivered, read));
            self.raise_cursors(user, with, (delivered, read));
            self.flush_soon();
        }
        self.tell_own_receipt(user, with, (delivered, read), None);
    }

    /// Raises what a user's own sessions count as acknowledged.
    fn raise_cursors(
        &mut self,
        user: UserId,
        with: ConversationRef,
        (delivered, read): (Seq, Seq),
    ) {
        for connection in self.connections_of(user) {
            let slot = self.connections.get_mut(connection);
            let session = slot.and_then(|slot| slot.session.as_mut());
            if let Some(cursor) = session.and_then(|session| session.cursors.get_mut(with)) {
                cursor.delivered = cursor.delivered.max(delivered);
                cursor.read = cursor.read.max(read);
            }
        }
    }

    /// Tells whether one more position may wait to be written.
    fn has_room_to_mark(&self, key: (ConversationId, UserId)) -> bool {
        self.marks.waiting.contains_key(&key)
            || self.marks.len() < self.config.marks.saturating_mul(2)
    }

    pub(super) fn cursor(
        &self,
        connection: ConnectionId,
        with: ConversationRef,
    ) -> Option<&Cursor> {
        let session = self.connections.get(connection)?.session.as_ref()?;
        session.cursors.get(with)
    }

    /// Tells a user's own sessions that read a conversation, but the one where it happened, how far
    /// the user has got.
    fn tell_own_receipt(
        &mut self,
        user: UserId,
        with: ConversationRef,
        (delivered, read): (Seq, Seq),
        except: Option<ConnectionId>,
    ) {
        let mut own = self.connections_of(user);
        own.retain(|connection| {
            Some(*connection) != except && self.cursor(*connection, with).is_some()
        });
        let event = Event::Receipt {
            conversation: with,
            user,
            delivered,
            read,
        };
        self.push_hint(&own, event);
    }

    /// Tells the other side of a direct conversation, while they are friends, how far a user has
    /// got.
    pub(super) fn tell_receipt(
        &mut self,
        user: UserId,
        other: UserId,
        (delivered, read): (Seq, Seq),
    ) {
        if !self.may_notice(other, user) {
            return;
        }
        let event = Event::Receipt {
            conversation: ConversationRef::User(user),
            user,
            delivered,
            read,
        };
        self.push_hint(&self.connections_of(other), event);
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

    /// Writes what waits, as soon as nothing is being written.
    pub(super) fn flush_marks(&mut self) {
        self.marks.alarm = false;
        if self.marks.waiting.is_empty() {
            return;
        }
        if self.marks.writing.is_some() {
            self.marks.hurry = true;
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
        let hurry = std::mem::take(&mut self.marks.hurry);
        if result.is_ok() {
            for (key, position) in positions {
                Marks::raise(&mut self.marks.recent, key, position);
            }
            self.marks.forget_written(StoreToken(self.last_token));
            if hurry || self.stopping.draining() {
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
