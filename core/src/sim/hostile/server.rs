//! What the hostile server says, made from a few numbers.

use crate::id::{ConversationRef, GroupId, MAX_INTEGER, Seq, SessionId, UserId};
use crate::log::{Body, FriendState, JoinPolicy, Role, Text};
use crate::name::{Key, Name};
use crate::protocol::client::ReplyKind;
use crate::protocol::reply::{
    ConversationItem, FriendItem, GroupItem, GroupReply, InviteItem, JoinState, Listing,
    MemberItem, OnlineFriend, SessionReply, UserItem,
};
use crate::protocol::{ErrorCode, Event, GroupState, Message, NoticeCode, Reply, RequestError};
use crate::secret::Secret;
use crate::sim::hostile::Pushed;
use crate::time::Timestamp;

/// Numbers to make something from; zeros follow.
pub(super) struct Numbers<'a>(pub(super) std::slice::Iter<'a, u8>);

impl Numbers<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or_default()
    }

    /// Returns a number: small ones are the likeliest, the largest ones are among them.
    fn number(&mut self) -> u64 {
        number(self.byte())
    }

    fn conversation(&mut self) -> ConversationRef {
        conversation(self.byte())
    }

    /// Makes up to `most` of something.
    fn list<T>(&mut self, most: u8, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        let count = self.byte() % (most + 1);
        (0..count).map(|_| make(self)).collect()
    }

    fn listing<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Listing<T> {
        let items = self.list(4, make);
        let more = self.byte().is_multiple_of(2);
        Listing { items, more }
    }

    fn message(&mut self) -> Message {
        message(self.conversation(), Seq(self.number()), self.byte())
    }
}

/// Makes what fits a kind of request.
pub(super) fn reply(kind: ReplyKind, numbers: &mut Numbers<'_>) -> Reply {
    let n = numbers;
    match kind {
        ReplyKind::Done => Reply::Done,
        ReplyKind::Registered => Reply::Registered {
            user: UserId(n.number()),
        },
        ReplyKind::Session => Reply::Session(Box::new(session(n))),
        ReplyKind::Token => Reply::Token { token: token(n) },
        ReplyKind::Pong => Reply::Pong {
            at: Timestamp(n.number()),
        },
        ReplyKind::User => Reply::User {
            user: UserId(n.number()),
            name: name(),
            state: FriendState::None,
            online: Some(true),
        },
        ReplyKind::FriendRequested => Reply::FriendRequested {
            user: UserId(n.number()),
            state: FriendState::Requested,
        },
        ReplyKind::FriendState => Reply::FriendState {
            state: FriendState::Friends,
        },
        ReplyKind::GroupCreated => Reply::GroupCreated {
            group: GroupId(n.number()),
        },
        ReplyKind::GroupJoined => Reply::GroupJoined {
            state: JoinState::Member,
        },
        ReplyKind::Group => Reply::Group(Box::new(GroupReply {
            group: GroupId(n.number()),
            name: name(),
            description: "".into(),
            join: JoinPolicy::Open,
            role: None,
            members: n.number(),
            last: None,
        })),
        ReplyKind::Appended => Reply::Appended {
            seq: Seq(n.number()),
            at: Timestamp(n.number()),
        },
        ReplyKind::History(keep) => Reply::History {
            messages: n.list(6, Numbers::message),
            more: n.byte().is_multiple_of(2),
            keep,
        },
        _ => list(kind, n),
    }
}

fn list(kind: ReplyKind, n: &mut Numbers<'_>) -> Reply {
    let name = name();
    let role = Role::Member;
    match kind {
        ReplyKind::Friends => Reply::Friends(n.listing(|n| FriendItem {
            user: UserId(n.number()),
            name: name.clone(),
            state: FriendState::Requested,
            online: None,
        })),
        ReplyKind::Members => Reply::Members(n.listing(|n| MemberItem {
            user: UserId(n.number()),
            name: name.clone(),
            role,
            online: None,
        })),
        ReplyKind::Requests => Reply::Requests(n.listing(|n| UserItem {
            user: UserId(n.number()),
            name: name.clone(),
        })),
        ReplyKind::Groups => Reply::Groups(n.listing(|n| GroupItem {
            group: GroupId(n.number()),
            name: name.clone(),
            role,
        })),
        _ => Reply::Conversations(n.listing(item)),
    }
}

fn session(n: &mut Numbers<'_>) -> SessionReply {
    // Mostly the first of two users.
    let user = UserId(if n.byte() % 8 == 7 { 2 } else { 1 });
    let token = token(n);
    let name = name();
    SessionReply {
        user,
        name: name.clone(),
        session: SessionId(n.number()),
        token,
        idle_ms: n.number(),
        conversations: n.list(7, item),
        friends: n.list(2, |n| OnlineFriend {
            user: UserId(n.number()),
            name: name.clone(),
            online: true,
        }),
        requests: n.list(1, |n| UserItem {
            user: UserId(n.number()),
            name: name.clone(),
        }),
        groups: n.list(2, |n| GroupItem {
            group: GroupId(n.number()),
            name: name.clone(),
            role: Role::Owner,
        }),
        invites: n.list(1, |n| InviteItem {
            group: GroupId(n.number()),
            name: name.clone(),
            by: user,
        }),
    }
}

fn item(n: &mut Numbers<'_>) -> ConversationItem {
    let conversation = n.conversation();
    ConversationItem {
        conversation,
        last: Seq(n.number()),
        delivered: Seq(n.number()),
        read: Seq(0),
        peer: matches!(conversation, ConversationRef::User(_)).then_some((Seq(0), Seq(0))),
    }
}

/// Makes a token; one in eight is longer than any server's.
fn token(n: &mut Numbers<'_>) -> Secret {
    let byte = n.byte();
    Secret::new(if byte % 8 == 7 {
        "t".repeat(70_000)
    } else {
        format!("token {byte}")
    })
}

/// Makes an error.
pub(super) fn error(code: u8, retry: Option<u8>) -> RequestError {
    let code = choose(ErrorCode::ALL, code).unwrap_or(ErrorCode::Busy);
    RequestError {
        retry_ms: retry.map(number),
        ..code.into()
    }
}

/// Makes an event.
pub(super) fn event(pushed: &Pushed) -> Event {
    match *pushed {
        Pushed::Message(at, seq, kind) => {
            Event::Message(message(conversation(at), Seq(number(seq)), kind))
        }
        Pushed::Group(group, state) => Event::Group {
            group: group_id(group),
            name: name(),
            state: match state % 6 {
                0 => GroupState::Invited,
                1 => GroupState::Member,
                2 => GroupState::Removed,
                3 => GroupState::Disbanded,
                4 => GroupState::None,
                _ => GroupState::Requested { user: UserId(3) },
            },
        },
        Pushed::Notice(code, retry) => Event::Notice {
            code: choose(NoticeCode::ALL, code).unwrap_or(NoticeCode::Draining),
            message: "so it is".into(),
            retry_ms: retry.map(number),
        },
        Pushed::Other(kind, value) => match kind % 4 {
            0 => Event::Receipt {
                conversation: conversation(value),
                user: UserId(2),
                delivered: Seq(number(value)),
                read: Seq(0),
            },
            1 => Event::Typing {
                conversation: conversation(value),
                user: UserId(2),
            },
            2 => Event::Presence {
                user: UserId(number(value)),
                online: true,
            },
            _ => Event::Friend {
                user: UserId(number(value)),
                name: name(),
                state: FriendState::Friends,
            },
        },
    }
}

fn message(conversation: ConversationRef, seq: Seq, kind: u8) -> Message {
    let user = UserId(2);
    let body = match kind % 8 {
        0 => Body::Joined { user },
        1 => Body::Removed { user },
        2 => Body::Edit {
            target: Seq(1),
            text: None,
        },
        3 => Body::Recall { target: Seq(1) },
        4 => Body::Disbanded,
        _ => Body::Text(Text {
            key: key(u64::from(kind)),
            text: "hello".into(),
            reply_to: None,
            meta: None,
            edited: false,
            recalled: false,
        }),
    };
    Message {
        conversation,
        seq,
        from: user,
        at: Timestamp(seq.0),
        body,
    }
}

/// Names a conversation: one of four users or four groups.
pub(super) fn conversation(number: u8) -> ConversationRef {
    if number.is_multiple_of(2) {
        ConversationRef::User(UserId(u64::from(number / 2 % 4) + 1))
    } else {
        ConversationRef::Group(group_id(number / 2))
    }
}

fn group_id(number: u8) -> GroupId {
    GroupId(u64::from(number % 4) + 1)
}

pub(super) fn name() -> Name {
    #[expect(clippy::expect_used, reason = "the name keeps the rules")]
    Name::new("user").expect("a name")
}

pub(super) fn key(number: u64) -> Key {
    #[expect(clippy::expect_used, reason = "the key keeps the rules")]
    Key::new(&format!("key {number}")).expect("a key")
}

fn number(byte: u8) -> u64 {
    match byte {
        0..=219 => u64::from(byte % 16),
        220..=239 => u64::from(byte) * 1000,
        240..=250 => MAX_INTEGER - u64::from(250 - byte),
        251.. => 0,
    }
}

fn choose<T: Copy>(among: &[T], number: u8) -> Option<T> {
    among
        .get(usize::from(number).checked_rem(among.len())?)
        .copied()
}
