//! What the store answered, and what follows from it.

use crate::engine::Engine;
use crate::engine::contract::{Effect, Misuse};
use crate::engine::pending::{Awaited, Pending, Proof};
use crate::engine::requests::{Answer, Origin};
use crate::engine::sessions::REPLACED;
use crate::engine::token::Token;
use crate::engine::trail::EntryMark;
use crate::id::{ConnectionId, Place, SessionId, StoreToken, UserId};
use crate::log::{Entry, FriendState};
use crate::protocol::event::GroupState;
use crate::protocol::reply::Keep;
use crate::protocol::request::Start;
use crate::protocol::{ErrorCode, Event, NoticeCode, Reply, RequestError};
use crate::relay::{Channel, RelayMessage};
use crate::store::command::Requested;
use crate::store::{
    Applied, Command, Done, ReadDone, Standing, StoreError, StoreFailure, StoreRequest,
    StoreResponse, StoreResult,
};
use crate::time::Timestamp;

impl Engine {
    pub(super) fn stored(&mut self, token: StoreToken, result: StoreResult) -> Result<(), Misuse> {
        let pending = self.pending.get(token).ok_or(Misuse::NoToken(token))?;
        if !pending.fits(&result) {
            return Err(Misuse::WrongCompletion(token));
        }
        let pending = self.pending.remove(token).ok_or(Misuse::NoToken(token))?;
        if matches!(&result, Err(StoreFailure::Failed(StoreError::Unknown))) {
            self.doubt();
        }
        if let Some(rates) = &self.config.rates {
            self.guard.settle(&rates.guard, token, &result, self.now);
        }
        match pending {
            Pending::Request {
                connection,
                serial,
                kind,
            } => {
                let begins = matches!(kind, Awaited::Session { .. });
                let is_over = is_over(&result);
                let origin = Origin { connection, serial };
                let answer = self.completed(origin, kind, result);
                let is_over = is_over && answer.is_some();
                if let Some(answer) = answer {
                    self.answer(connection, serial, answer);
                }
                self.advance(connection);
                if begins {
                    self.marks
                        .login_answered(token, StoreToken(self.last_token));
                    // Not before the reply.
                    self.catch_up(connection);
                    if is_over {
                        self.close_replaced(connection);
                    }
                }
            }
            Pending::Order { ticket, reason } => self.order_completed(ticket, reason, result),
            Pending::Orphan => self.orphan_closed(result),
            Pending::Rosters(users) => self.rosters_read(users, result),
            Pending::Heads {
                conversations,
                users,
            } => self.heads_read(conversations, users, result),
            Pending::Verify(issued) => self.verified(&issued, result),
            Pending::Fetch(conversation) => self.fetched(conversation, result),
            Pending::Marks => self.marked(&result),
            Pending::Changes(changes) => self.changes_read(changes, result),
        }
        Ok(())
    }

    /// Carries out what a completed request means for everyone, whether or not its connection is
    /// still there, and returns what its client is answered.
    fn completed(&mut self, origin: Origin, kind: Awaited, result: StoreResult) -> Answer {
        let connection = origin.connection;
        let response = match result {
            Ok(response) => response,
            Err(failure) => return Some(Err(self.failed_completion(&kind, failure))),
        };
        let reply = match (response, kind) {
            (StoreResponse::Session(standing), Awaited::Session { start, by, asked }) => {
                return self.session_stands(origin, &standing, (start, by, asked));
            }
            (StoreResponse::Applied(applied), kind) => {
                self.count_commit(origin, &applied);
                self.applied(&applied);
                self.reply_to_change(connection, kind, applied.done)
            }
            (StoreResponse::Read(ReadDone::Members(list)), Awaited::Read { .. }) => {
                return self.members_read(origin, list);
            }
            (StoreResponse::Read(done), Awaited::Read { keep }) => {
                self.reply_to_read(connection, done, keep)
            }
            _ => None,
        };
        // What does not fit was refused before it came here.
        Some(reply.ok_or_else(|| ErrorCode::Unavailable.into()))
    }

    /// A session stands in the store: it begins on its connection, if that is there still.
    fn session_stands(
        &mut self,
        origin: Origin,
        standing: &Standing,
        (start, by, asked): (Start, Proof, Timestamp),
    ) -> Answer {
        let Origin { connection, serial } = origin;
        let (user, session) = (standing.roster.user, standing.session);
        self.changed(&standing.changed);
        if self
            .connections
            .get(connection)
            .is_none_or(|connection| connection.closing)
        {
            if by != Proof::Token {
                self.close_orphan(user, session);
            }
            return None;
        }
        if self.knows_newer(&standing.roster) {
            // A session that began with it would miss what the user's other sessions were
            // told already.
            let request = StoreRequest::Resume {
                user,
                session,
                expires: standing.expires,
            };
            let kind = Awaited::Session { start, by, asked };
            let pending = Pending::Request {
                connection,
                serial,
                kind,
            };
            self.ask_store(request, pending);
            return None;
        }
        if self.resumed_since(user, session, asked) {
            // The client gave this connection up before it asked on the other.
            self.close(connection, NoticeCode::Replaced, REPLACED, None);
            return None;
        }
        let reply = self.attach(connection, standing, asked, &start);
        Some(Ok(reply))
    }

    /// Says what went wrong with a request. A session that others replaced before its login was
    /// answered is no token's fault: the client may log in again. Whoever logs in by a token gets
    /// another one first.
    fn failed_completion(&mut self, kind: &Awaited, failure: StoreFailure) -> RequestError {
        let password = matches!(
            kind,
            Awaited::Session {
                by: Proof::Password,
                ..
            }
        );
        match failure {
            StoreFailure::Refused(error) if password && error.code == ErrorCode::TokenExpired => {
                self.busy()
            }
            failure => self.failure(failure),
        }
    }

    pub(super) fn failure(&mut self, failure: StoreFailure) -> RequestError {
        match failure {
            StoreFailure::Refused(error) => error,
            StoreFailure::Failed(StoreError::Busy) => self.busy(),
            StoreFailure::Failed(StoreError::Unavailable | StoreError::Unknown) => {
                ErrorCode::Unavailable.into()
            }
        }
    }

    /// Tells everyone concerned, here and on other nodes, what was committed.
    pub(super) fn applied(&mut self, applied: &Applied) {
        self.tally.entries += applied.entries.len() as u64;
        for entry in &applied.entries {
            self.mark_committed(entry);
            self.deliver(entry);
            let message = || RelayMessage::Entry(entry.clone());
            match entry.place {
                Place::Group(group) => self.publish(Channel::Group(group), message()),
                Place::Direct(pair) => {
                    self.publish(Channel::User(pair.low()), message());
                    self.publish(Channel::User(pair.high()), message());
                }
            }
        }
        self.changed(&applied.changed);
        if let Some(requested) = &applied.requested {
            self.join_requested(requested);
            let Requested { group, name, user } = requested.clone();
            let origin = self.origin;
            let message = RelayMessage::Requested {
                group,
                name,
                user,
                origin,
            };
            self.publish(Channel::Group(group), message);
        }
    }

    /// Counts how long it took to commit what a request added to logs, while its client is here.
    fn count_commit(&mut self, origin: Origin, applied: &Applied) {
        let slot = self.connections.get(origin.connection);
        let asked = slot.and_then(|slot| slot.pipeline.asked(origin.serial));
        if let (Some(asked), false) = (asked, applied.entries.is_empty()) {
            self.tally.commits.add(self.now.since(asked));
        }
    }

    /// Remembers that an entry is committed, and whether other nodes are told.
    fn mark_committed(&mut self, entry: &Entry) {
        let (conversation, seq) = (entry.conversation, entry.seq);
        self.mark_entry(conversation, seq, EntryMark::Stored);
        if self.config.clustered {
            let mark = match self.relay_is_up() {
                true => EntryMark::Published,
                false => EntryMark::Withheld,
            };
            self.mark_entry(conversation, seq, mark);
        }
    }

    /// Notes that versions of users rose, here and on other nodes.
    fn changed(&mut self, changed: &[(UserId, u64)]) {
        for (user, version) in changed {
            self.note_version(*user, *version);
            let message = RelayMessage::Changed {
                user: *user,
                version: *version,
            };
            self.publish(Channel::User(*user), message);
        }
    }

    /// Tells a group's owner and admins who are here that someone asks to join.
    pub(super) fn join_requested(&mut self, requested: &Requested) {
        let Some(group) = self.groups.get(requested.group) else {
            return;
        };
        let managers: Vec<ConnectionId> = group
            .members
            .iter()
            .filter_map(|member| self.users.get(*member))
            .filter(|user| {
                user.role(requested.group)
                    .is_some_and(crate::log::Role::manages)
            })
            .flat_map(|user| user.connections.iter().copied())
            .collect();
        let event = Event::Group {
            group: requested.group,
            name: requested.name.clone(),
            state: GroupState::Requested {
                user: requested.user,
            },
        };
        for connection in managers {
            self.push_one(connection, event.clone());
        }
    }

    pub(super) fn publish(&mut self, channel: Channel, message: RelayMessage) {
        if self.config.clustered {
            self.effects.push_back(Effect::Publish { channel, message });
        }
    }

    fn reply_to_change(
        &mut self,
        connection: ConnectionId,
        kind: Awaited,
        done: Done,
    ) -> Option<Reply> {
        Some(match (kind, done) {
            (Awaited::Logout, Done::Nothing) => {
                self.leave_session(connection);
                Reply::Done
            }
            (Awaited::Password, Done::Session { session, expires }) => {
                self.password_changed(connection, session, expires)
            }
            (Awaited::DeleteAccount, Done::Nothing) => {
                let user = self.session_user(connection);
                self.leave_session(connection);
                if let Some(user) = user {
                    self.end_sessions(user, NoticeCode::Ended, "the account was deleted");
                }
                Reply::Done
            }
            (Awaited::FriendRequest, Done::Friend { user, state }) => {
                Reply::FriendRequested { user, state }
            }
            (Awaited::Change, Done::Nothing) => Reply::Done,
            (Awaited::Change, Done::Registered(user)) => Reply::Registered { user },
            (Awaited::Change, Done::Friend { state, .. }) => Reply::FriendState { state },
            (Awaited::Change, Done::GroupCreated(group)) => Reply::GroupCreated { group },
            (Awaited::Change, Done::Joined(state)) => Reply::GroupJoined { state },
            (Awaited::Change, Done::Appended { seq, at }) => Reply::Appended { seq, at },
            _ => return None,
        })
    }

    /// The other sessions end at once, without waiting for the roster that says so.
    fn password_changed(
        &mut self,
        connection: ConnectionId,
        session: SessionId,
        expires: Timestamp,
    ) -> Reply {
        let user = self.session_user(connection);
        if let Some(user) = user {
            let others: Vec<ConnectionId> = self
                .users
                .get(user)
                .map(|local| {
                    local
                        .connections
                        .iter()
                        .copied()
                        .filter(|id| *id != connection)
                })
                .map(Iterator::collect)
                .unwrap_or_default();
            for other in others {
                self.close(other, NoticeCode::Ended, "the password was changed", None);
            }
        }
        let user = user.unwrap_or(UserId(0));
        Reply::Token {
            token: Token {
                session,
                user,
                expires,
            }
            .sign(&self.config.secret),
        }
    }

    fn reply_to_read(&self, connection: ConnectionId, done: ReadDone, keep: Keep) -> Option<Reply> {
        let reader = self.session_user(connection);
        Some(match done {
            ReadDone::User { user, name, state } => {
                let shown = reader.is_some_and(|reader| {
                    reader == user
                        || (state == FriendState::Friends && self.is_friend(reader, user))
                });
                Reply::User {
                    user,
                    name,
                    state,
                    online: shown.then(|| self.is_online(user)),
                }
            }
            ReadDone::Friends(mut list) => {
                for item in &mut list.items {
                    let shown = item.state == FriendState::Friends
                        && reader.is_some_and(|reader| self.is_friend(reader, item.user));
                    item.online = shown.then(|| self.is_online(item.user));
                }
                Reply::Friends(list)
            }
            ReadDone::Groups(list) => Reply::Groups(list),
            ReadDone::Conversations(list) => Reply::Conversations(list),
            ReadDone::Group(group) => Reply::Group(group),
            ReadDone::Requests(list) => Reply::Requests(list),
            ReadDone::History { entries, more } => {
                let messages = entries
                    .iter()
                    .filter_map(|entry| self.message_of(entry, reader?))
                    .collect();
                Reply::History {
                    messages,
                    more,
                    keep,
                }
            }
            _ => return None,
        })
    }

    /// Closes a session whose client left before it learnt of it, so that it does not count.
    pub(super) fn close_orphan(&mut self, user: UserId, session: SessionId) {
        let command = Command::CloseSession { user, session };
        self.ask_store(StoreRequest::Command(Box::new(command)), Pending::Orphan);
    }

    fn orphan_closed(&mut self, result: StoreResult) {
        if let Ok(StoreResponse::Applied(applied)) = result {
            self.applied(&applied);
        }
    }
}

/// Tells whether a session ended between its beginning and the reading of the roster: others began
/// meanwhile, and it was the oldest. Nothing more will be told of it.
fn is_over(result: &StoreResult) -> bool {
    match result {
        Ok(StoreResponse::Session(standing)) => {
            let present = &standing.roster.sessions;
            present.binary_search(&standing.session).is_err()
        }
        _ => false,
    }
}
