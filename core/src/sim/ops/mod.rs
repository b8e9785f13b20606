//! Random operations on one node, checked at every step: what fuzzing and property tests share.
//!
//! [`run`] reads operations from any bytes; [`play`] carries them out against a node whose store
//! may answer late, refuse, or not say what happened, and whose clients may stop reading. Whatever
//! they are, each session must see each log in order without hole or repeat and as the store has
//! it, every acknowledged message must be in the store, and every request must be answered once.
//! When everything works again, every session must have everything, and once all have left, the
//! engine must hold nothing.

mod check;

use std::time::Duration;

use crate::engine::{Config, Input};
use crate::id::{ConnectionId, ConversationRef, GroupId, Seq, UserId};
use crate::log::{JoinPolicy, Role};
use crate::name::{Key, Name};
use crate::protocol::Request;
use crate::protocol::request::{
    Anchor, FriendAction, GroupOtherAction, GroupSelfAction, Start, UserRef,
};
use crate::secret::Secret;
use crate::sim::Loopback;
use crate::store::{Limits, StoreError};

use check::Clients;

/// The users of the world.
const USERS: u64 = 4;

/// Connections that may be open at one time.
const CONNECTIONS: usize = 8;

/// One step of a run. Numbers choose among what there is, so that every value means something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A user opens a connection and logs in.
    Login {
        /// Which user.
        user: u8,
        /// Whether missed entries are replayed.
        replay: bool,
    },
    /// A connection asks for something.
    Ask {
        /// Which connection.
        connection: u8,
        /// What.
        what: Ask,
    },
    /// A connection breaks.
    Break(u8),
    /// A connection accepts nothing from now on.
    Stall(u8),
    /// A connection accepts everything again.
    Unstall(u8),
    /// The store keeps requests to itself from now on.
    HoldStore,
    /// The store answers what it kept.
    ReleaseStore,
    /// The store fails what it kept: without a change, or after it.
    FailStore {
        /// Whether it had carried the requests out, and does not say so.
        carried_out: bool,
    },
    /// The store carries out what it kept, and answers the last first.
    AnswerReversed,
    /// The relay hands back something that was published: late, repeated, in any order.
    Relay(u8),
    /// Time passes.
    Wait(u16),
}

/// A request of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To another user: ask, accept, reject, remove, block, unblock.
    Friend(u8, u8),
    /// Writes, with one of a few keys.
    Send(u8, u8),
    /// Edits an entry.
    Edit(u8, u8),
    /// Recalls an entry.
    Recall(u8, u8),
    /// Acknowledges up to a number.
    Ack(u8, u8),
    /// Makes a group.
    Create(u8),
    /// Joins, leaves or disbands a group.
    Group(u8, u8),
    /// Invites, approves, rejects or removes someone.
    Member(u8, u8, u8),
    /// Gives a role.
    Role(u8, u8, u8),
    /// Is writing.
    Typing(u8),
    /// Reads a page of the log.
    History(u8),
    /// Ends the session.
    Logout,
}

/// Reads operations from bytes and plays them.
pub fn run(bytes: &[u8]) {
    play(&Op::read_all(bytes));
}

/// Plays operations; panics where a promise is broken.
pub fn play(ops: &[Op]) {
    let clustered = ops.iter().any(|op| matches!(op, Op::Relay(_)));
    let mut clients = Clients::new(
        Config {
            clustered,
            ..config()
        },
        Limits {
            sessions: 3,
            ..Limits::default()
        },
    );
    for number in 1..=USERS {
        clients.register(&user_name(number));
    }
    for op in ops {
        step(&mut clients, op);
        clients.check();
    }
    clients.finish();
}

fn config() -> Config {
    Config {
        rates: None,
        outgoing: 4096,
        fetch_entries: 3,
        fetches: 2,
        batch: 2,
        pipeline: 16,
        ..Config::new(Secret::new("a secret of at least thirty-two bytes"))
    }
}

fn step(clients: &mut Clients, op: &Op) {
    match op {
        Op::Login { user, replay } => {
            if clients.open().len() < CONNECTIONS {
                let name = user_name(u64::from(*user) % USERS + 1);
                let start = Start {
                    replay: *replay,
                    have: Vec::new(),
                };
                clients.login(&name, start);
            }
        }
        Op::Ask { connection, what } => {
            if let Some(connection) = pick(&clients.open(), *connection)
                && let Some(user) = clients.user_of(connection)
            {
                clients.ask(connection, request(user, what));
            }
        }
        Op::Break(connection) => {
            if let Some(connection) = pick(&clients.open(), *connection) {
                clients.disconnect(connection);
            }
        }
        Op::Stall(connection) => {
            if let Some(connection) = pick(&clients.open(), *connection) {
                clients.node.stall(connection);
            }
        }
        Op::Unstall(connection) => {
            if let Some(connection) = pick(&clients.open(), *connection) {
                clients.must(|node| node.unstall(connection));
            }
        }
        Op::HoldStore => clients.node.hold_store(),
        Op::ReleaseStore => clients.must(Loopback::release_store),
        Op::FailStore { carried_out } => {
            for (token, request) in clients.node.take_held() {
                let now = clients.node.now();
                let error = if *carried_out {
                    // The answer is what gets lost.
                    let _ = clients.node.store.execute(request, now);
                    StoreError::Unknown
                } else {
                    StoreError::Unavailable
                };
                let result = Err(error.into());
                clients.must(|node| node.input(Input::Stored { token, result }));
            }
        }
        Op::AnswerReversed => answer_reversed(clients),
        Op::Relay(number) => relay(clients, *number),
        Op::Wait(millis) => {
            clients.must(|node| node.advance(Duration::from_millis(u64::from(*millis))));
        }
    }
}

fn answer_reversed(clients: &mut Clients) {
    let now = clients.node.now();
    let mut answers: Vec<Input> = Vec::new();
    for (token, request) in clients.node.take_held() {
        let result = clients.node.store.execute(request, now);
        answers.push(Input::Stored { token, result });
    }
    for answer in answers.into_iter().rev() {
        clients.must(|node| node.input(answer));
    }
}

fn relay(clients: &mut Clients, number: u8) {
    let published = &clients.node.published;
    let index = usize::from(number).checked_rem(published.len());
    // The newest are the likeliest to come back.
    let mut recent = published.iter().rev();
    if let Some((_, message)) = index.and_then(|index| recent.nth(index)) {
        let message = message.clone();
        clients.must(|node| node.input(Input::Relayed { message }));
    }
}

fn request(user: UserId, what: &Ask) -> Request {
    let text = |number: u8| format!("text {number}").as_str().into();
    match *what {
        Ask::Friend(other, 0) => Request::FriendRequest {
            who: UserRef::Id(other_user(user, other)),
        },
        Ask::Friend(other, action) => {
            let action = match action % 5 {
                0 | 1 => FriendAction::Accept,
                2 => FriendAction::Reject,
                3 => FriendAction::Remove,
                _ if other.is_multiple_of(2) => FriendAction::Block,
                _ => FriendAction::Unblock,
            };
            Request::Friend {
                action,
                user: other_user(user, other),
            }
        }
        Ask::Send(to, key) => Request::Send {
            to: conversation(user, to),
            key: message_key(key),
            text: text(key),
            reply_to: None,
            meta: None,
        },
        Ask::Edit(at, seq) => Request::Edit {
            conversation: conversation(user, at),
            seq: seq_of(seq),
            text: text(seq),
        },
        Ask::Recall(at, seq) => Request::Recall {
            conversation: conversation(user, at),
            seq: seq_of(seq),
        },
        Ask::Ack(at, seq) => {
            let delivered = Some(seq_of(seq));
            Request::Ack {
                conversation: conversation(user, at),
                delivered,
                read: None,
            }
        }
        Ask::Typing(to) => Request::Typing {
            to: conversation(user, to),
        },
        Ask::History(at) => {
            let conversation = conversation(user, at);
            Request::History {
                conversation,
                anchor: Anchor::Newest,
                limit: 5,
            }
        }
        Ask::Logout => Request::Logout,
        _ => group_request(user, what),
    }
}

fn group_request(user: UserId, what: &Ask) -> Request {
    match *what {
        Ask::Create(join) => Request::GroupCreate {
            name: group_name(),
            description: "".into(),
            join: choose(JoinPolicy::ALL, join).unwrap_or_default(),
            key: None,
        },
        Ask::Group(group, action) => {
            use GroupSelfAction::{Disband, Join, Leave};
            let action = choose(&[Join, Join, Leave, Disband], action).unwrap_or(Join);
            Request::GroupSelf {
                action,
                group: group_id(group),
            }
        }
        Ask::Member(group, other, action) => {
            use GroupOtherAction::{Approve, Invite, Reject, Remove};
            let action = choose(&[Invite, Approve, Reject, Remove], action).unwrap_or(Invite);
            Request::GroupOther {
                action,
                group: group_id(group),
                user: other_user(user, other),
            }
        }
        Ask::Role(group, other, role) => {
            let role = choose(Role::ALL, role).unwrap_or(Role::Member);
            Request::GroupRole {
                group: group_id(group),
                user: other_user(user, other),
                role,
            }
        }
        _ => Request::Ping,
    }
}

impl Op {
    /// Reads as many operations as the bytes hold.
    #[must_use]
    pub fn read_all(bytes: &[u8]) -> Vec<Self> {
        let mut bytes = bytes.iter().copied();
        let mut ops = Vec::new();
        while let Some(op) = Self::read(&mut bytes) {
            ops.push(op);
        }
        ops
    }

    fn read(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let kind = match bytes.next()? {
            236..=243 => return Some(Self::AnswerReversed),
            244.. => return Some(Self::Relay(bytes.next()?)),
            kind => kind % 24,
        };
        Some(match kind {
            0 | 1 => Self::Login {
                user: bytes.next()?,
                replay: bytes.next()? % 4 != 0,
            },
            2 => Self::Break(bytes.next()?),
            3 => Self::Stall(bytes.next()?),
            4 => Self::Unstall(bytes.next()?),
            5 => Self::HoldStore,
            6 => Self::ReleaseStore,
            7 => Self::FailStore {
                carried_out: bytes.next()? % 2 == 0,
            },
            8 => Self::Wait(u16::from_le_bytes([bytes.next()?, bytes.next()?])),
            _ => Self::Ask {
                connection: bytes.next()?,
                what: Ask::read(bytes)?,
            },
        })
    }
}

impl Ask {
    fn read(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let kind = bytes.next()? % 20;
        let mut next = || bytes.next();
        Some(match kind {
            0..=2 => Self::Friend(next()?, next()? % 8),
            3..=8 => Self::Send(next()?, next()?),
            9 => Self::Edit(next()?, next()?),
            10 => Self::Recall(next()?, next()?),
            11 => Self::Ack(next()?, next()?),
            12 => Self::Create(next()?),
            13 | 14 => Self::Group(next()?, next()?),
            15 | 16 => Self::Member(next()?, next()?, next()?),
            17 => Self::Role(next()?, next()?, next()?),
            18 => Self::Typing(next()?),
            _ if next()? % 4 == 0 => Self::Logout,
            _ => Self::History(next()?),
        })
    }
}

fn pick(connections: &[ConnectionId], number: u8) -> Option<ConnectionId> {
    choose(connections, number)
}

fn choose<T: Copy>(among: &[T], number: u8) -> Option<T> {
    among
        .get(usize::from(number).checked_rem(among.len())?)
        .copied()
}

fn user_name(number: u64) -> String {
    format!("user {number}")
}

fn group_name() -> Name {
    #[expect(clippy::expect_used, reason = "the name keeps the rules")]
    Name::new("group").expect("a name")
}

fn message_key(number: u8) -> Key {
    #[expect(clippy::expect_used, reason = "the key keeps the rules")]
    Key::new(&format!("key {}", number % 32)).expect("a key")
}

fn other_user(user: UserId, number: u8) -> UserId {
    UserId((user.0 + u64::from(number) % (USERS - 1)) % USERS + 1)
}

/// Groups and direct conversations share their numbers, so that some are not there.
fn group_id(number: u8) -> GroupId {
    GroupId(u64::from(number) % 6 + 1)
}

fn conversation(user: UserId, number: u8) -> ConversationRef {
    if number.is_multiple_of(2) {
        ConversationRef::User(other_user(user, number / 2))
    } else {
        ConversationRef::Group(group_id(number / 2))
    }
}

fn seq_of(number: u8) -> Seq {
    Seq(u64::from(number) % 16 + 1)
}
