//! What clients are answered.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::id::{ConversationRef, GroupId, Seq, SessionId, UserId};
use crate::log::{FriendState, JoinPolicy, Role};
use crate::name::Name;
use crate::protocol::event::Message;
use crate::secret::Secret;
use crate::time::Timestamp;

/// The `ok` of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `{}`.
    Done,
    /// Of `register`: the new user.
    Registered {
        /// Its number.
        user: UserId,
    },
    /// Of `login` and `resume`.
    Session(Box<SessionReply>),
    /// Of `password`: the session's new token.
    Token {
        /// The old one no longer stands.
        token: Secret,
    },
    /// Of `ping`.
    Pong {
        /// The server's time.
        at: Timestamp,
    },
    /// Of `user`.
    User {
        /// The number.
        user: UserId,
        /// The name.
        name: Name,
        /// What that user is to the asker.
        state: FriendState,
        /// Whether that user is online, where the asker may know.
        online: Option<bool>,
    },
    /// Of `friend_request`.
    FriendRequested {
        /// Who was asked.
        user: UserId,
        /// What that user is to the asker from now on.
        state: FriendState,
    },
    /// Of the other friend operations.
    FriendState {
        /// What that user is to the asker from now on.
        state: FriendState,
    },
    /// Of `friends`.
    Friends(Listing<FriendItem>),
    /// Of `group_create`.
    GroupCreated {
        /// The new group.
        group: GroupId,
    },
    /// Of `group_join`.
    GroupJoined {
        /// Whether one is a member now or has to wait for approval.
        state: JoinState,
    },
    /// Of `group`.
    Group(Box<GroupReply>),
    /// Of `group_members`.
    Members(Listing<MemberItem>),
    /// Of `group_requests`.
    Requests(Listing<UserItem>),
    /// Of `groups`.
    Groups(Listing<GroupItem>),
    /// Of `conversations`.
    Conversations(Listing<ConversationItem>),
    /// Of `send`, `edit` and `recall`.
    Appended {
        /// The entry's number in its conversation's log.
        seq: Seq,
        /// When it was committed.
        at: Timestamp,
    },
    /// Of `history`, ascending by number.
    History {
        /// The entries, as events.
        messages: Vec<Message>,
        /// Whether there is more on the side that was asked for.
        more: bool,
        /// Which end to keep where the frame's limit cuts the list.
        keep: Keep,
    },
}

/// One page of a list that ascends by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// The items.
    pub items: Vec<T>,
    /// Whether more follow.
    pub more: bool,
}

/// The end of a list of messages that is nearest to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The first ones: the reader goes forward.
    First,
    /// The last ones: the reader goes back.
    Last,
}

/// The outcome of joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinState {
    /// One is a member.
    Member,
    /// A manager has to approve.
    Requested,
}

impl JoinState {
    /// Returns the state's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Requested => "requested",
        }
    }
}

/// What a client learns when its session begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionReply {
    /// Whose session it is.
    pub user: UserId,
    /// That user's name.
    pub name: Name,
    /// The session's number.
    pub session: SessionId,
    /// What `resume` takes.
    pub token: Secret,
    /// How long a connection may be silent, in milliseconds.
    pub idle_ms: u64,
    /// The friends, and who of them is online.
    pub friends: Vec<OnlineFriend>,
    /// Who asks for friendship.
    pub requests: Vec<UserItem>,
    /// The groups.
    pub groups: Vec<GroupItem>,
    /// The invitations to groups.
    pub invites: Vec<InviteItem>,
    /// The conversations and how far this user has got in each.
    pub conversations: Vec<ConversationItem>,
}

/// A friend at the beginning of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlineFriend {
    /// The number.
    pub user: UserId,
    /// The name.
    pub name: Name,
    /// Whether that user is online.
    pub online: bool,
}

/// A user in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserItem {
    /// The number.
    pub user: UserId,
    /// The name.
    pub name: Name,
}

/// An item of `friends`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FriendItem {
    /// The number.
    pub user: UserId,
    /// The name.
    pub name: Name,
    /// What that user is to the asker.
    pub state: FriendState,
    /// Whether that user is online; absent unless they are friends.
    pub online: Option<bool>,
}

/// An item of `groups`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupItem {
    /// The number.
    pub group: GroupId,
    /// The name.
    pub name: Name,
    /// The asker's role.
    pub role: Role,
}

/// An invitation to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InviteItem {
    /// The group.
    pub group: GroupId,
    /// Its name.
    pub name: Name,
    /// Who invites.
    pub by: UserId,
}

/// A conversation and how far its readers have got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationItem {
    /// Which one, from the reader's side.
    pub conversation: ConversationRef,
    /// The newest entry.
    pub last: Seq,
    /// What has arrived.
    pub delivered: Seq,
    /// What was read.
    pub read: Seq,
    /// For direct ones, the other side's `delivered` and `read`.
    pub peer: Option<(Seq, Seq)>,
}

/// Of `group`: what a group says of itself, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupReply {
    /// The number.
    pub group: GroupId,
    /// The name.
    pub name: Name,
    /// What it is about.
    pub description: Arc<str>,
    /// How to join.
    pub join: JoinPolicy,
    /// The asker's role; absent for strangers.
    pub role: Option<Role>,
    /// How many members there are.
    pub members: u64,
    /// The newest entry; absent for strangers.
    pub last: Option<Seq>,
}

/// An item of `group_members`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberItem {
    /// The number.
    pub user: UserId,
    /// The name.
    pub name: Name,
    /// The role.
    pub role: Role,
    /// Whether that user is online; absent where one of the two has blocked the other.
    pub online: Option<bool>,
}

/// What a user calls a device; at most 64 bytes.
pub type Device = SmolStr;
