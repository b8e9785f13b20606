//! What the model knows, and whom it tells what.

use std::collections::{BTreeMap, BTreeSet};

use parlor_core::id::{ConnectionId, ConversationRef, GroupId, Seq, UserId};
use parlor_core::log::{Body, FriendState, JoinPolicy, Role, Text};
use parlor_core::name::Name;
use parlor_core::protocol::{ErrorCode, Event, GroupState, Message, Reply};
use parlor_core::sim::Sent;
use parlor_core::time::Timestamp;

use crate::operation::{Where, key, text};

/// What a request comes to. Times are left out: they are all zero.
pub(crate) type Answer = Result<Reply, ErrorCode>;

/// A server in the plainest code: no rows, no versions, no cursors.
#[derive(Default)]
pub(crate) struct Model {
    /// What the second is to the first, where it is anything.
    pub(crate) relation: BTreeMap<(u64, u64), FriendState>,
    /// Groups that were made, by number.
    pub(crate) groups: BTreeMap<u64, Group>,
    /// Their numbers, in the order in which they were made.
    pub(crate) made: Vec<u64>,
    pub(crate) logs: BTreeMap<Log, Vec<Item>>,
    /// How far each user has got: delivered, read.
    pub(crate) marks: BTreeMap<(Log, u64), (u64, u64)>,
    /// Where each sender's keys went, and as an answer to what.
    pub(crate) keys: BTreeMap<(u64, u8), (Log, Option<u64>, u64)>,
    /// Every session that ever began, in that order.
    pub(crate) sessions: Vec<Session>,
    /// Who counts as online.
    pub(crate) online: BTreeSet<u64>,
    /// What each connection should have been sent since the last look.
    pub(crate) sent: BTreeMap<ConnectionId, Vec<Sent>>,
}

/// A conversation: of two users, the lower first, or of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Log {
    Direct(u64, u64),
    Group(u64),
}

/// An entry.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) from: u64,
    pub(crate) what: What,
}

/// What an entry says.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A message: its key, its text (none once it was recalled), what it answers, and the entry
    /// that edited or recalled it last.
    Text {
        key: u8,
        text: Option<u8>,
        edited: bool,
        reply_to: Option<u64>,
        changed: Option<u64>,
    },
    /// An edit of an entry.
    Edit(u64),
    /// Anything that never changes.
    Other(Body),
}

pub(crate) struct Group {
    pub(crate) name: Name,
    pub(crate) join: JoinPolicy,
    pub(crate) owner: u64,
    pub(crate) disbanded: bool,
    pub(crate) members: BTreeMap<u64, Member>,
    /// Who is invited, and by whom.
    pub(crate) invited: BTreeMap<u64, u64>,
    /// Who asks to join.
    pub(crate) asking: BTreeSet<u64>,
}

#[derive(Clone, Copy)]
pub(crate) struct Member {
    pub(crate) role: Role,
    pub(crate) joined: u64,
}

pub(crate) struct Session {
    pub(crate) user: u64,
    /// Whether it has not ended.
    pub(crate) stands: bool,
    pub(crate) connection: Option<ConnectionId>,
}

impl Model {
    pub(crate) fn is(&self, a: u64, b: u64) -> FriendState {
        self.relation.get(&(a, b)).copied().unwrap_or_default()
    }

    pub(crate) fn blocked(&self, a: u64, b: u64) -> bool {
        self.is(a, b) == FriendState::Blocked || self.is(b, a) == FriendState::Blocked
    }

    /// Sets what `b` is to `a`, and tells `a`.
    pub(crate) fn set(&mut self, a: u64, b: u64, state: FriendState) {
        if self.is(a, b) == state {
            return;
        }
        self.relation.insert((a, b), state);
        self.tell(
            a,
            &Event::Friend {
                user: UserId(b),
                name: user_name(b),
                state,
            },
        );
        if state == FriendState::Friends && self.online.contains(&b) {
            let (user, online) = (UserId(b), true);
            self.tell(a, &Event::Presence { user, online });
        }
    }

    /// Sends an event to every session of a user.
    pub(crate) fn tell(&mut self, user: u64, event: &Event) {
        for connection in self.connections(user) {
            self.send(connection, event.clone());
        }
    }

    pub(crate) fn send(&mut self, connection: ConnectionId, event: Event) {
        let sent = self.sent.entry(connection).or_default();
        sent.push(Sent::Event(event));
    }

    pub(crate) fn connections(&self, user: u64) -> Vec<ConnectionId> {
        let of = self.sessions.iter().filter(|session| session.user == user);
        of.filter_map(|session| session.connection).collect()
    }

    /// Returns whose session a connection has.
    pub(crate) fn user_of(&self, connection: ConnectionId) -> Option<u64> {
        let mut sessions = self.sessions.iter();
        sessions
            .find(|session| session.connection == Some(connection))
            .map(|session| session.user)
    }

    /// Adds an entry to a log and sends it to its readers.
    pub(crate) fn append(&mut self, log: Log, from: u64, what: What) -> u64 {
        let items = self.logs.entry(log).or_default();
        items.push(Item { from, what });
        let seq = items.len() as u64;
        for reader in self.readers(log) {
            let message = self.message(log, seq, reader);
            self.tell(reader, &Event::Message(message));
        }
        seq
    }

    /// Tells a user what a group is to them now. Those outside know it by the name that it had
    /// when they last heard of it, which the model does not.
    pub(crate) fn tell_group(&mut self, user: u64, group: u64, state: GroupState) {
        let name = match state {
            GroupState::Invited | GroupState::None => user_name(0),
            _ => self.groups[&group].name.clone(),
        };
        let group = GroupId(group);
        self.tell(user, &Event::Group { group, name, state });
    }

    pub(crate) fn readers(&self, log: Log) -> Vec<u64> {
        match log {
            Log::Direct(low, high) => vec![low, high],
            Log::Group(group) => self.groups[&group].members.keys().copied().collect(),
        }
    }

    /// Returns the first entry that a user may see, if the user may see any.
    pub(crate) fn first(&self, log: Log, user: u64) -> Option<u64> {
        match log {
            Log::Direct(low, high) => {
                let there = self.logs.contains_key(&log) && (low == user || high == user);
                there.then_some(1)
            }
            Log::Group(group) => {
                let member = self.groups.get(&group)?.members.get(&user)?;
                Some(member.joined)
            }
        }
    }

    pub(crate) fn last(&self, log: Log) -> u64 {
        self.logs.get(&log).map_or(0, |items| items.len() as u64)
    }

    /// Shows an entry to a reader, with its present text.
    pub(crate) fn message(&self, log: Log, seq: u64, reader: u64) -> Message {
        let items = &self.logs[&log];
        let at = |seq: u64| &items[usize::try_from(seq).unwrap() - 1];
        let item = at(seq);
        let present = |text: &Option<u8>| text.map(|text| self::text(text).as_str().into());
        let body = match &item.what {
            What::Text {
                key: number,
                text,
                edited,
                reply_to,
                ..
            } => Body::Text(Text {
                key: key(*number),
                text: present(text).unwrap_or_else(|| "".into()),
                reply_to: reply_to.map(Seq),
                meta: None,
                edited: *edited,
                recalled: text.is_none(),
            }),
            What::Edit(target) => Body::Edit {
                target: Seq(*target),
                text: match &at(*target).what {
                    What::Text { text, .. } => present(text),
                    _ => None,
                },
            },
            What::Other(body) => body.clone(),
        };
        Message {
            conversation: seen_by(log, reader),
            seq: Seq(seq),
            from: UserId(item.from),
            at: Timestamp(0),
            body,
        }
    }

    /// Returns the log that a user means.
    pub(crate) fn log_of(&self, user: u64, place: Where) -> Log {
        match place {
            Where::User(other) => Log::Direct(user.min(other), user.max(other)),
            Where::Group(index) => Log::Group(self.made.get(index).copied().unwrap_or(0)),
        }
    }
}

/// Names a conversation from a reader's side.
pub(crate) fn seen_by(log: Log, reader: u64) -> ConversationRef {
    match log {
        Log::Direct(low, high) if low == reader => ConversationRef::User(UserId(high)),
        Log::Direct(low, _) => ConversationRef::User(UserId(low)),
        Log::Group(group) => ConversationRef::Group(GroupId(group)),
    }
}

pub(crate) fn user_name(user: u64) -> Name {
    crate::operation::name(&format!("user {user}"))
}
