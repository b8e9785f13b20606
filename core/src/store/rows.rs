//! Rows, as the rules see them.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::id::{ConversationId, GroupId, Seq, UserId};
use crate::identity::Identity;
use crate::log::{GroupChange, JoinPolicy, Role};
use crate::name::{Key, Name};
use crate::secret::Secret;
use crate::time::Timestamp;

/// An account. Its key is a [`UserId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserRow {
    /// The name; absent once the account is deleted. [`Name::key`] of it is unique.
    pub name: Option<Name>,
    /// The argon2id PHC string of the password; empty where there is none: of an account for which
    /// another service vouches, and once the account is deleted.
    pub hash: Secret,
    /// Who the user is to a service that vouches for them; unique.
    pub identity: Option<Identity>,
    /// Rises in every transaction that changes the user's friendships, sessions, invitations, join
    /// requests or memberships.
    pub version: u64,
    /// Whether an operator locked the account.
    pub locked: bool,
}

/// A session. Its key is a [`SessionId`](crate::id::SessionId).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Whose.
    pub user: UserId,
    /// What the user calls the device.
    pub device: Option<SmolStr>,
    /// When it was opened.
    pub created: Timestamp,
    /// Until when its token stands; a token with another expiry does not stand.
    pub expires: Timestamp,
}

/// A group, beside its conversation. Its key is a [`GroupId`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// The name.
    pub name: Name,
    /// What it is about.
    pub description: Arc<str>,
    /// How to join.
    pub join: JoinPolicy,
    /// The present owner, or the last one of a disbanded group.
    pub owner: UserId,
    /// Whether the group has ended.
    pub disbanded: bool,
    /// Who made it.
    pub creator: UserId,
    /// The maker's key; unique with the maker.
    pub key: Option<Key>,
    /// The digest of what the maker asked for with that key.
    pub digest: Digest,
}

/// A user's place in a conversation, direct or group. Its key is a conversation and a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// What the member may do; [`Role::Member`] in direct conversations.
    pub role: Role,
    /// The first entry that the member may see.
    pub joined: Seq,
    /// What has arrived. Written when the row is inserted; afterwards only marks raise it.
    pub delivered: Seq,
    /// What was read. Written when the row is inserted; afterwards only marks raise it.
    pub read: Seq,
}

/// An invitation to a group. Its key is a group and a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvitationRow {
    /// Who invites.
    pub by: UserId,
}

/// An entry of a log. Its key is a conversation and a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// Who acted.
    pub from: UserId,
    /// When it was committed, by the database's clock.
    pub at: Timestamp,
    /// What kind of entry it is, with what belongs to the kind.
    pub kind: Kind,
    /// For edited and recalled messages: the number and time of the entry that says so.
    pub change: Option<(Seq, Timestamp)>,
}

/// The kinds of entries, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message.
    Text {
        /// The sender's key; unique with the sender.
        key: Key,
        /// The digest of what the sender asked for with that key.
        digest: Digest,
        /// The present text; empty when it was recalled or its sender's account deleted.
        text: Arc<str>,
        /// The entry that it answers.
        reply_to: Option<Seq>,
        /// The sender's JSON object, compact.
        meta: Option<Arc<str>>,
        /// Whether the text is no longer the first one.
        edited: bool,
        /// Whether the text was erased.
        recalled: bool,
    },
    /// The text of `target` was replaced.
    Edit {
        /// Which message.
        target: Seq,
    },
    /// The text of `target` was erased.
    Recall {
        /// Which message.
        target: Seq,
    },
    /// A user became a member.
    Joined {
        /// Who.
        user: UserId,
    },
    /// A member left.
    Left {
        /// Who.
        user: UserId,
    },
    /// A member was removed.
    Removed {
        /// Who.
        user: UserId,
    },
    /// A member's role changed.
    Role {
        /// Whose.
        user: UserId,
        /// The role from now on.
        role: Role,
    },
    /// What the group says of itself changed.
    Updated(GroupChange),
    /// The group ended.
    Disbanded,
}

/// Where a key was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// The conversation.
    pub conversation: ConversationId,
    /// The entry.
    pub seq: Seq,
    /// When it was committed.
    pub at: Timestamp,
    /// The digest of what was asked for.
    pub digest: Digest,
}

/// The first 16 bytes of a SHA-256 over what a key was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 16]);

/// A number of rows that a limit is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Count {
    /// A user's rows in `friendship`, of every state.
    Friendships(UserId),
    /// A user's rows in `member`, direct and group.
    Conversations(UserId),
    /// A user's rows in `member` for groups.
    Groups(UserId),
    /// A group's members.
    Members(GroupId),
    /// A user's invitations.
    Invitations(UserId),
    /// A group's join requests.
    JoinRequests(GroupId),
}
