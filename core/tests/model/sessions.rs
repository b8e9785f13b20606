//! What the engine does by itself: sessions, presence, receipts, typing.

use parlor_core::id::{ConnectionId, GroupId, Seq, SessionId, UserId};
use parlor_core::log::{FriendState, Role};
use parlor_core::protocol::reply::{
    ConversationItem, GroupItem, InviteItem, OnlineFriend, SessionReply, UserItem,
};
use parlor_core::protocol::{ErrorCode, Event, NoticeCode, Reply};
use parlor_core::secret::Secret;
use parlor_core::sim::Sent;

use crate::operation::Where;
use crate::state::{Answer, Log, Model, Session, seen_by, user_name};

/// How many sessions a user may have.
pub(crate) const SESSIONS: usize = 3;

impl Model {
    /// A user logs in on a connection.
    pub(crate) fn login(&mut self, user: u64, connection: ConnectionId, replay: bool) -> Answer {
        let standing: Vec<usize> = (0..self.sessions.len())
            .filter(|index| self.sessions[*index].user == user && self.sessions[*index].stands)
            .collect();
        let surplus = (standing.len() + 1).saturating_sub(SESSIONS);
        for oldest in &standing[..surplus] {
            self.end(*oldest, Some(NoticeCode::Replaced));
        }
        self.sessions.push(Session {
            user,
            stands: true,
            connection: None,
        });
        Ok(self.begin(self.sessions.len() - 1, connection, replay))
    }

    /// A connection goes on with a session.
    pub(crate) fn resume(
        &mut self,
        session: usize,
        connection: ConnectionId,
        replay: bool,
    ) -> Answer {
        if !self.sessions[session].stands {
            return Err(ErrorCode::TokenExpired);
        }
        if let Some(before) = self.sessions[session].connection.take() {
            self.close(before, NoticeCode::Replaced);
        }
        Ok(self.begin(session, connection, replay))
    }

    /// A session is on a connection: answers, tells friends, and sends what was missed.
    fn begin(&mut self, session: usize, connection: ConnectionId, replay: bool) -> Reply {
        let user = self.sessions[session].user;
        if self.online.insert(user) {
            self.announce(user, true);
        }
        self.sessions[session].connection = Some(connection);
        let logs: Vec<Log> = self.logs.keys().copied().collect();
        for log in logs {
            let Some(first) = self.first(log, user) else {
                continue;
            };
            let last = self.last(log);
            let had = if replay {
                self.marks_of(log, user).0
            } else {
                last
            };
            for seq in first.max(had + 1)..=last {
                let message = self.message(log, seq, user);
                self.send(connection, Event::Message(message));
            }
        }
        Reply::Session(Box::new(self.session_reply(user, session)))
    }

    /// The connection of a session is gone; the session stays.
    pub(crate) fn leave(&mut self, connection: ConnectionId) {
        for session in &mut self.sessions {
            session.connection.take_if(|of| *of == connection);
        }
    }

    /// A session ends; another connection than that where it was asked for is told why.
    pub(crate) fn end(&mut self, session: usize, notice: Option<NoticeCode>) {
        self.sessions[session].stands = false;
        if let (Some(connection), Some(code)) = (self.sessions[session].connection.take(), notice) {
            self.close(connection, code);
        }
    }

    /// The password changes: every other session of the user ends.
    pub(crate) fn password(&mut self, connection: ConnectionId) -> Answer {
        let user = self.user_of(connection).unwrap();
        for index in 0..self.sessions.len() {
            let session = &self.sessions[index];
            if session.user == user && session.connection != Some(connection) {
                self.end(index, Some(NoticeCode::Ended));
            }
        }
        let token = Secret::new("");
        Ok(Reply::Token { token })
    }

    fn close(&mut self, connection: ConnectionId, code: NoticeCode) {
        let (message, retry_ms) = ("".into(), None);
        let notice = Event::Notice {
            code,
            message,
            retry_ms,
        };
        self.send(connection, notice);
        self.sent.entry(connection).or_default().push(Sent::Closed);
    }

    /// Time enough passed for everyone who left to be offline.
    pub(crate) fn settle(&mut self) {
        for user in self.online.clone() {
            if self.connections(user).is_empty() {
                self.online.remove(&user);
                self.announce(user, false);
            }
        }
    }

    fn announce(&mut self, user: u64, online: bool) {
        let friends: Vec<u64> = self.related(user, FriendState::Friends);
        for friend in friends {
            let user = UserId(user);
            self.tell(friend, &Event::Presence { user, online });
        }
    }

    /// Returns who is this to a user.
    fn related(&self, user: u64, state: FriendState) -> Vec<u64> {
        let all = self.relation.iter();
        all.filter(|((of, _), is)| *of == user && **is == state)
            .map(|((_, other), _)| *other)
            .collect()
    }

    fn marks_of(&self, log: Log, user: u64) -> (u64, u64) {
        self.marks.get(&(log, user)).copied().unwrap_or_default()
    }

    /// A session acknowledges, as arrived or as read.
    pub(crate) fn ack(
        &mut self,
        on: ConnectionId,
        place: Where,
        seq: u64,
        is_read: bool,
    ) -> Answer {
        let user = self.user_of(on).unwrap();
        let log = self.log_of(user, place);
        if self.first(log, user).is_none() {
            return Err(match place {
                Where::User(_) => ErrorCode::NotFriends,
                Where::Group(_) => ErrorCode::NotMember,
            });
        }
        let seq = seq.min(self.last(log));
        let before = self.marks_of(log, user);
        let read = if is_read { before.1.max(seq) } else { before.1 };
        let delivered = before.0.max(seq).max(read);
        if (delivered, read) == before {
            return Ok(Reply::Done);
        }
        self.marks.insert((log, user), (delivered, read));
        let receipt = |reader: u64| Event::Receipt {
            conversation: seen_by(log, reader),
            user: UserId(user),
            delivered: Seq(delivered),
            read: Seq(read),
        };
        for own in self.connections(user) {
            if own != on {
                self.send(own, receipt(user));
            }
        }
        if let Where::User(other) = place
            && self.is(other, user) == FriendState::Friends
        {
            self.tell(other, &receipt(other));
        }
        Ok(Reply::Done)
    }

    /// A user is writing.
    pub(crate) fn typing(&mut self, user: u64, place: Where) -> Answer {
        let log = self.log_of(user, place);
        match place {
            Where::User(other) => match self.is(user, other) {
                FriendState::Friends => {}
                FriendState::Blocked => return Err(ErrorCode::Blocked),
                _ => return Err(ErrorCode::NotFriends),
            },
            Where::Group(index) => {
                let group = self.live(index).map_err(|_| ErrorCode::NotMember)?;
                match self.role(group, user) {
                    None => return Err(ErrorCode::NotMember),
                    Some(Role::Muted) => return Err(ErrorCode::Muted),
                    Some(_) => {}
                }
            }
        }
        for reader in self.readers(log) {
            if reader != user {
                let (conversation, user) = (seen_by(log, reader), UserId(user));
                self.tell(reader, &Event::Typing { conversation, user });
            }
        }
        Ok(Reply::Done)
    }

    fn session_reply(&self, user: u64, session: usize) -> SessionReply {
        let named = |user: u64| UserItem {
            user: UserId(user),
            name: user_name(user),
        };
        let mine = self.groups.iter();
        SessionReply {
            user: UserId(user),
            name: user_name(user),
            session: SessionId(session as u64 + 1),
            token: Secret::new(""),
            idle_ms: 90_000,
            friends: self
                .related(user, FriendState::Friends)
                .into_iter()
                .map(|friend| OnlineFriend {
                    user: UserId(friend),
                    name: user_name(friend),
                    online: self.online.contains(&friend),
                })
                .collect(),
            requests: self
                .related(user, FriendState::RequestedBy)
                .into_iter()
                .map(named)
                .collect(),
            groups: mine
                .clone()
                .filter_map(|(group, it)| {
                    Some(GroupItem {
                        group: GroupId(*group),
                        name: it.name.clone(),
                        role: it.members.get(&user)?.role,
                    })
                })
                .collect(),
            invites: mine
                .filter_map(|(group, it)| {
                    Some(InviteItem {
                        group: GroupId(*group),
                        name: it.name.clone(),
                        by: UserId(*it.invited.get(&user)?),
                    })
                })
                .collect(),
            conversations: self.conversations(user),
        }
    }

    fn conversations(&self, user: u64) -> Vec<ConversationItem> {
        let conversations = self
            .logs
            .keys()
            .filter(|log| self.first(**log, user).is_some());
        let mut conversations: Vec<ConversationItem> = conversations
            .map(|log| {
                let (delivered, read) = self.marks_of(*log, user);
                let peer = match *log {
                    Log::Direct(low, high) => {
                        let other = if low == user { high } else { low };
                        let (delivered, read) = self.marks_of(*log, other);
                        Some((Seq(delivered), Seq(read)))
                    }
                    Log::Group(_) => None,
                };
                ConversationItem {
                    conversation: seen_by(*log, user),
                    last: Seq(self.last(*log)),
                    delivered: Seq(delivered),
                    read: Seq(read),
                    peer,
                }
            })
            .collect();
        conversations.sort_by_key(|item| item.conversation);
        conversations
    }
}
