//! Reads, and what they find.

use std::sync::Arc;

use crate::id::{ConversationId, ConversationRef, GroupId, Place, Seq, SessionId, UserId};
use crate::log::{Entry, FriendState};
use crate::name::{Key, Name};
use crate::protocol::reply::{
    ConversationItem, FriendItem, GroupItem, GroupReply, InviteItem, Listing, MemberItem, UserItem,
};
use crate::protocol::request::{Anchor, UserRef};
use crate::store::rows::SessionRow;
use crate::time::Timestamp;

/// Something to read. Where a `reader` is named, the store refuses what that user may not see;
/// where none is, the engine has seen to it. `online` is left absent: the engine fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// Reads rosters, many with one query. Deleted users are left out of the answer.
    /// Answered by [`ReadDone::Rosters`].
    Rosters(Vec<UserId>),
    /// Reads the newest numbers of conversations and the versions of users, many with one query.
    /// Unknown conversations and deleted users are left out of the answer. Answered by
    /// [`ReadDone::Heads`].
    Heads {
        /// Whose newest numbers.
        conversations: Vec<ConversationId>,
        /// Whose versions.
        users: Vec<UserId>,
    },
    /// Reads the first entries above a number, at least one if there is any, then up to the limit
    /// in number and in bytes of text. Answered by [`ReadDone::Page`].
    Fetch {
        /// Where.
        conversation: ConversationId,
        /// Only entries above this one.
        after: Seq,
        /// At most so many entries.
        limit: u32,
        /// About so many bytes of text and `meta`.
        bytes: u32,
    },
    /// What changed by the database's clock since a moment: conversations and users, by
    /// (`updated_at`, id). Answered by [`ReadDone::Changes`].
    Changes {
        /// From when on; absent to learn only the database's time.
        since: Option<Timestamp>,
        /// Only conversations behind this position.
        conversations_after: Option<(Timestamp, ConversationId)>,
        /// Only users behind this position.
        users_after: Option<(Timestamp, UserId)>,
        /// At most so many of each.
        limit: u32,
    },
    /// Looks a user up, from `reader`'s side. Answered by [`ReadDone::User`]; refused with
    /// `no_such_user`.
    User {
        /// Who asks.
        reader: UserId,
        /// Whom.
        who: UserRef,
    },
    /// A page of `friends`. Answered by [`ReadDone::Friends`].
    Friends {
        /// Whose.
        reader: UserId,
        /// Only users above this one.
        after: Option<UserId>,
        /// At most so many.
        limit: u32,
    },
    /// A page of `groups`. Answered by [`ReadDone::Groups`].
    Groups {
        /// Whose.
        reader: UserId,
        /// Only groups above this one.
        after: Option<GroupId>,
        /// At most so many.
        limit: u32,
    },
    /// A page of `conversations`, direct ones first. Answered by [`ReadDone::Conversations`].
    Conversations {
        /// Whose.
        reader: UserId,
        /// Only conversations behind this one.
        after: Option<ConversationRef>,
        /// At most so many.
        limit: u32,
    },
    /// Looks a group up. Answered by [`ReadDone::Group`]; refused with `no_such_group`, and, where
    /// one joins by invitation only and the reader has none, with `not_member`.
    Group {
        /// Who asks.
        reader: UserId,
        /// Which.
        group: GroupId,
    },
    /// A page of a group's members. Answered by [`ReadDone::Members`]; refused with `no_such_group`
    /// and `not_member`.
    Members {
        /// Who asks.
        reader: UserId,
        /// Which.
        group: GroupId,
        /// Only users above this one.
        after: Option<UserId>,
        /// At most so many.
        limit: u32,
    },
    /// A page of a group's join requests. Answered by [`ReadDone::Requests`]; refused with
    /// `no_such_group`, `not_member` and `forbidden`.
    Requests {
        /// Who asks.
        reader: UserId,
        /// Which.
        group: GroupId,
        /// Only users above this one.
        after: Option<UserId>,
        /// At most so many.
        limit: u32,
    },
    /// An account and its sessions, for operators. Answered by [`ReadDone::Account`]; refused with
    /// `no_such_user`.
    Account(UserRef),
    /// Where an entry is, for operators. Answered by [`ReadDone::Entry`]; refused with
    /// `no_such_user` and `no_such_message`.
    Entry(MessageRef),
    /// Part of a log, from `reader`'s side. Answered by [`ReadDone::History`]; refused with
    /// `no_such_user`, `not_friends` (there never was a conversation), `no_such_group` and
    /// `not_member`.
    History {
        /// Who asks.
        reader: UserId,
        /// Where.
        place: Place,
        /// Which part.
        anchor: Anchor,
        /// At most so many entries, ...
        limit: u32,
        /// ... and about so many bytes of text and `meta`, but at least one entry.
        bytes: u32,
    },
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadDone {
    /// Of [`Read::Rosters`].
    Rosters(Vec<Arc<Roster>>),
    /// Of [`Read::Heads`].
    Heads {
        /// The newest numbers, ascending by conversation.
        heads: Vec<Head>,
        /// The versions, ascending by user.
        versions: Vec<(UserId, u64)>,
    },
    /// Of [`Read::Fetch`] .
    Page(Page),
    /// Of [`Read::Changes`].
    Changes {
        /// The database's time before the query.
        as_of: Timestamp,
        /// Conversations that changed, with when.
        conversations: Vec<(Timestamp, Head)>,
        /// Users that changed, with when and their versions.
        users: Vec<(Timestamp, UserId, u64)>,
    },
    /// Of [`Read::User`].
    User {
        /// The number.
        user: UserId,
        /// The name.
        name: Name,
        /// What that user is to the reader.
        state: FriendState,
    },
    /// Of [`Read::Friends`].
    Friends(Listing<FriendItem>),
    /// Of [`Read::Groups`].
    Groups(Listing<GroupItem>),
    /// Of [`Read::Conversations`].
    Conversations(Listing<ConversationItem>),
    /// Of [`Read::Group`].
    Group(Box<GroupReply>),
    /// Of [`Read::Members`]. `online` is `Some(false)` where the reader may know whether the member
    /// is online (no block between the two), and absent elsewhere.
    Members(Listing<MemberItem>),
    /// Of [`Read::Requests`].
    Requests(Listing<UserItem>),
    /// Of [`Read::Account`].
    Account(Box<Account>),
    /// Of [`Read::Entry`].
    Entry(StoredEntry),
    /// Of [`Read::History`], ascending.
    History {
        /// The entries.
        entries: Vec<Arc<Entry>>,
        /// Whether there is more on the side that was asked for.
        more: bool,
    },
}

/// Which entry an operator means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageRef {
    /// The message that a user sent with a key.
    Key {
        /// Who sent it.
        from: UserRef,
        /// The key.
        key: Key,
    },
    /// The entry of a log with a number.
    Entry {
        /// Where.
        place: Place,
        /// Its number.
        seq: Seq,
    },
}

/// What an operator is shown of an entry: where and when, not what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Which conversation, in the store.
    pub conversation: ConversationId,
    /// Which conversation, the same for every reader.
    pub place: Place,
    /// Its number.
    pub seq: Seq,
    /// Who acted.
    pub from: UserId,
    /// When it was committed, by the database's clock.
    pub at: Timestamp,
}

/// What an operator is shown of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Who.
    pub user: UserId,
    /// The name.
    pub name: Name,
    /// Whether an operator locked it.
    pub locked: bool,
    /// The sessions that stand, ascending.
    pub sessions: Vec<(SessionId, SessionRow)>,
}

/// The newest number of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which one, in the store.
    pub conversation: ConversationId,
    /// Which one, the same for every reader.
    pub place: Place,
    /// The newest entry.
    pub last: Seq,
}

/// Consecutive entries of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Which conversation, in the store.
    pub conversation: ConversationId,
    /// The number below the first entry.
    pub after: Seq,
    /// The entries, ascending, without a hole.
    pub entries: Vec<Arc<Entry>>,
    /// The newest number of the log, as of the same read.
    pub last: Seq,
}

/// Everything that a node knows of a user who is online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    /// Who.
    pub user: UserId,
    /// The name.
    pub name: Name,
    /// The version that this roster is of.
    pub version: u64,
    /// Every friendship, whatever its state, ascending by user.
    pub friends: Vec<FriendItem>,
    /// The groups, ascending.
    pub groups: Vec<GroupItem>,
    /// The invitations, ascending by group.
    pub invites: Vec<InviteItem>,
    /// The groups that the user waits to be let into, ascending.
    pub waiting: Vec<(GroupId, Name)>,
    /// The conversations, ascending by [`ConversationRef`].
    pub conversations: Vec<ConversationState>,
    /// The sessions that stand, ascending.
    pub sessions: Vec<SessionId>,
}

/// A conversation in a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationState {
    /// The identifier in the store.
    pub id: ConversationId,
    /// Which one, from the user's side.
    pub conversation: ConversationRef,
    /// The newest entry.
    pub last: Seq,
    /// The first entry that the user may see.
    pub joined: Seq,
    /// What has arrived.
    pub delivered: Seq,
    /// What was read.
    pub read: Seq,
    /// For direct ones, the other side's `delivered` and `read`.
    pub peer: Option<(Seq, Seq)>,
}
