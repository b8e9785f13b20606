//! What happens: operations, drawn at random, and the requests that they are.

use parlor_core::id::{ConversationRef, GroupId, Seq, UserId};
use parlor_core::log::{GroupChange, JoinPolicy, Role};
use parlor_core::name::{Key, Name};
use parlor_core::protocol::Request;
use parlor_core::protocol::request::{
    Anchor, FriendAction, GroupOtherAction, GroupSelfAction, UserRef,
};
use proptest::prelude::*;

/// How many users there are: 1 to this.
pub(crate) const USERS: u64 = 4;

/// The number of a group that there is not.
const NO_GROUP: u64 = 9999;

/// Something that happens. Sessions are named by their place among those that are there.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A user opens a connection and logs in.
    Login(u64, bool),
    /// A new connection goes on with one of all sessions that ever were.
    Resume(usize, bool),
    /// A connection breaks.
    Break(usize),
    /// A session ends.
    Logout(usize),
    /// A session changes the password.
    Password(usize),
    /// A session acknowledges.
    Ack(usize, Where, u64, bool),
    /// A session's user is writing.
    Typing(usize, Where),
    /// Time passes, long enough for who left to be offline, and not.
    Wait(bool),
    /// A session asks, and everything comes of it before the next operation.
    Ask(usize, Ask),
    /// Sessions ask without waiting; the store carries out and answers in the order that the
    /// choices give.
    Burst(Vec<(usize, Ask)>, Vec<u8>),
}

/// What a session asks the store for.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Asks for friendship.
    Request(u64),
    /// Does something about another user.
    Friend(FriendAction, u64),
    /// Makes a group.
    Create(JoinPolicy),
    /// Joins, leaves, disbands.
    Group(GroupSelfAction, usize),
    /// Invites, approves, rejects, removes.
    Member(GroupOtherAction, usize, u64),
    /// Gives a role.
    Role(usize, u64, Role),
    /// Renames a group, or changes how one joins.
    Update(usize, u8, Option<JoinPolicy>),
    /// Writes, with one of a few keys, perhaps in answer to an entry.
    Send(Where, u8, Option<u64>),
    /// Edits an entry.
    Edit(Where, u64, u8),
    /// Recalls an entry.
    Recall(Where, u64),
    /// Reads the newest entries.
    History(Where),
    /// Reads what others are to the user.
    Friends,
    /// Reads a group's members.
    Members(usize),
    /// Reads who asks to join a group.
    Requests(usize),
}

/// A conversation: with a user, or of one of the groups in the order in which they were made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Where {
    User(u64),
    Group(usize),
}

/// Draws an operation.
pub(crate) fn operation() -> impl Strategy<Value = Op> {
    let place = || {
        prop_oneof![
            (1..=USERS).prop_map(Where::User),
            (0..3_usize).prop_map(Where::Group)
        ]
    };
    let session = || 0..8_usize;
    let burst = proptest::collection::vec((session(), ask()), 2..10);
    let choices = proptest::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        4 => (1..=USERS, any::<bool>()).prop_map(|(user, replay)| Op::Login(user, replay)),
        1 => (0..12_usize, any::<bool>()).prop_map(|(session, replay)| Op::Resume(session, replay)),
        2 => session().prop_map(Op::Break),
        1 => session().prop_map(Op::Logout),
        1 => session().prop_map(Op::Password),
        3 => (session(), place(), 0..9_u64, any::<bool>())
            .prop_map(|(session, place, seq, read)| Op::Ack(session, place, seq, read)),
        1 => (session(), place()).prop_map(|(session, place)| Op::Typing(session, place)),
        1 => any::<bool>().prop_map(Op::Wait),
        24 => (session(), ask()).prop_map(|(session, ask)| Op::Ask(session, ask)),
        4 => (burst, choices).prop_map(|(asks, choices)| Op::Burst(asks, choices)),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let user = || 1..=USERS;
    let group = || 0..3_usize;
    let place = || {
        prop_oneof![
            2 => user().prop_map(Where::User),
            3 => group().prop_map(Where::Group),
        ]
    };
    let action = prop_oneof![
        5 => Just(FriendAction::Accept),
        1 => Just(FriendAction::Reject),
        1 => Just(FriendAction::Remove),
        1 => Just(FriendAction::Block),
        1 => Just(FriendAction::Unblock),
    ];
    let on_self = prop_oneof![
        6 => Just(GroupSelfAction::Join),
        2 => Just(GroupSelfAction::Leave),
        1 => Just(GroupSelfAction::Disband),
    ];
    let on_other = prop_oneof![
        3 => Just(GroupOtherAction::Invite),
        2 => Just(GroupOtherAction::Approve),
        1 => Just(GroupOtherAction::Reject),
        2 => Just(GroupOtherAction::Remove),
    ];
    let role = proptest::sample::select(Role::ALL.to_vec());
    let join = || proptest::sample::select(JoinPolicy::ALL.to_vec());
    prop_oneof![
        5 => user().prop_map(Ask::Request),
        5 => (action, user()).prop_map(|(action, user)| Ask::Friend(action, user)),
        2 => join().prop_map(Ask::Create),
        6 => (on_self, group()).prop_map(|(action, group)| Ask::Group(action, group)),
        5 => (on_other, group(), user())
            .prop_map(|(action, group, user)| Ask::Member(action, group, user)),
        2 => (group(), user(), role).prop_map(|(group, user, role)| Ask::Role(group, user, role)),
        1 => (group(), 0..3_u8, proptest::option::of(join()))
            .prop_map(|(group, name, join)| Ask::Update(group, name, join)),
        12 => (place(), 0..30_u8, proptest::option::weighted(0.2, 1..9_u64))
            .prop_map(|(place, key, reply_to)| Ask::Send(place, key, reply_to)),
        2 => (place(), 1..9_u64, 0..3_u8).prop_map(|(place, seq, text)| Ask::Edit(place, seq, text)),
        2 => (place(), 1..9_u64).prop_map(|(place, seq)| Ask::Recall(place, seq)),
        2 => place().prop_map(Ask::History),
        1 => Just(Ask::Friends),
        1 => group().prop_map(Ask::Members),
        1 => group().prop_map(Ask::Requests),
    ]
}

impl Ask {
    /// Tells whether the engine refuses it without asking the store: who speaks with themselves.
    pub(crate) fn is_to_self(&self, user: u64) -> bool {
        match self {
            Self::Send(place, ..)
            | Self::Edit(place, ..)
            | Self::Recall(place, _)
            | Self::History(place) => matches!(place, Where::User(other) if *other == user),
            _ => false,
        }
    }

    /// Returns the request; `groups` are the numbers of those that were made.
    pub(crate) fn request(&self, groups: &[u64]) -> Request {
        let group = |index: &usize| group_at(*index, groups);
        let limit = 50;
        match self {
            Self::Request(user) => Request::FriendRequest {
                who: UserRef::Id(UserId(*user)),
            },
            Self::Friend(action, user) => Request::Friend {
                action: *action,
                user: UserId(*user),
            },
            Self::Create(join) => Request::GroupCreate {
                name: name("group"),
                description: "".into(),
                join: *join,
                key: None,
            },
            Self::Group(action, of) => Request::GroupSelf {
                action: *action,
                group: group(of),
            },
            Self::Member(action, of, user) => Request::GroupOther {
                action: *action,
                group: group(of),
                user: UserId(*user),
            },
            Self::Role(of, user, role) => Request::GroupRole {
                group: group(of),
                user: UserId(*user),
                role: *role,
            },
            Self::Update(of, number, join) => Request::GroupUpdate {
                group: group(of),
                change: change(*number, *join),
            },
            Self::Friends => Request::Friends { after: None, limit },
            Self::Members(of) => Request::GroupMembers {
                group: group(of),
                after: None,
                limit,
            },
            Self::Requests(of) => Request::GroupRequests {
                group: group(of),
                after: None,
                limit,
            },
            _ => self.message_request(groups),
        }
    }

    fn message_request(&self, groups: &[u64]) -> Request {
        match self {
            Self::Send(place, number, reply_to) => Request::Send {
                to: place.conversation(groups),
                key: key(*number),
                text: text(*number).as_str().into(),
                reply_to: reply_to.map(Seq),
                meta: None,
            },
            Self::Edit(place, seq, number) => Request::Edit {
                conversation: place.conversation(groups),
                seq: Seq(*seq),
                text: text(*number).as_str().into(),
            },
            Self::Recall(place, seq) => Request::Recall {
                conversation: place.conversation(groups),
                seq: Seq(*seq),
            },
            Self::History(place) => Request::History {
                conversation: place.conversation(groups),
                anchor: Anchor::Newest,
                limit: PAGE,
            },
            _ => unreachable!("the other requests were made before"),
        }
    }
}

/// How many entries are read at a time.
pub(crate) const PAGE: u32 = 5;

impl Where {
    /// Names the conversation to the server.
    pub(crate) fn conversation(self, groups: &[u64]) -> ConversationRef {
        match self {
            Self::User(user) => ConversationRef::User(UserId(user)),
            Self::Group(index) => ConversationRef::Group(group_at(index, groups)),
        }
    }
}

fn group_at(index: usize, groups: &[u64]) -> GroupId {
    GroupId(groups.get(index).copied().unwrap_or(NO_GROUP))
}

/// The change of a group that an operation's numbers stand for.
pub(crate) fn change(number: u8, join: Option<JoinPolicy>) -> GroupChange {
    GroupChange {
        name: Some(name(&format!("group {number}"))),
        description: None,
        join,
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn key(number: u8) -> Key {
    Key::new(&format!("key {number}")).unwrap()
}

/// The text that goes with a key.
pub(crate) fn text(number: u8) -> String {
    format!("text {number}")
}
