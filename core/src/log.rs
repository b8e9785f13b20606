//! The entries of a conversation's log: everything that changes a conversation is one of these.

use std::sync::Arc;

use crate::id::{ConversationId, Place, Seq, UserId};
use crate::name::{Key, Name};
use crate::time::Timestamp;

/// One entry of a conversation's log, as readers get it.
///
/// Cloning shares the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The conversation's identifier in the store.
    pub conversation: ConversationId,
    /// Which conversation this is, the same for every reader.
    pub place: Place,
    /// The number in the log: 1, 2, 3, ..
    pub seq: Seq,
    /// Who acted.
    pub from: UserId,
    /// When it was committed, by the database's clock.
    pub at: Timestamp,
    /// What happened.
    pub body: Body,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A message, with its present text.
    Text(Text),
    /// The text of an earlier entry was replaced.
    Edit {
        /// The entry that was edited.
        target: Seq,
        /// The target's present text; absent when it has been recalled since.
        text: Option<Arc<str>>,
    },
    /// The text of an earlier entry was erased.
    Recall {
        /// The entry that was recalled.
        target: Seq,
    },
    /// A user became a member of the group.
    Joined {
        /// Who.
        user: UserId,
    },
    /// A member left the group.
    Left {
        /// Who.
        user: UserId,
    },
    /// A member was removed from the group.
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
    /// The group's description of itself changed.
    Updated(GroupChange),
    /// The group ended; nothing follows.
    Disbanded,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The sender's key.
    pub key: Key,
    /// The present text; empty when it was recalled.
    pub text: Arc<str>,
    /// The entry that this one answers.
    pub reply_to: Option<Seq>,
    /// The sender's JSON object, compact; absent when it was recalled.
    pub meta: Option<Arc<str>>,
    /// Whether the text is no longer the first one.
    pub edited: bool,
    /// Whether the text was erased.
    pub recalled: bool,
}

/// What changed of a group; at least one field is present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupChange {
    /// The new name.
    pub name: Option<Name>,
    /// The new description.
    pub description: Option<Arc<str>>,
    /// The new way to join.
    pub join: Option<JoinPolicy>,
}

/// What a member of a group may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything; each group has exactly one.
    Owner,
    /// Invites, approves, removes, mutes and updates.
    Admin,
    /// Reads and writes.
    Member,
    /// Reads.
    Muted,
}

/// How one becomes a member of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinPolicy {
    /// By asking.
    #[default]
    Open,
    /// By asking and being approved.
    Approval,
    /// By invitation only.
    Invite,
}

/// What one user is to another, from the first one's side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FriendState {
    /// Nothing.
    #[default]
    None,
    /// The first has asked the other.
    Requested,
    /// The other has asked the first.
    RequestedBy,
    /// They are friends.
    Friends,
    /// The first has blocked the other.
    Blocked,
}

/// Declares the wire and storage spelling of an enumeration.
macro_rules! spelled {
    ($type:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        impl $type {
            /// Returns the value's name on the wire and in the store.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Reads a value's name; `None` for any other text.
            #[must_use]
            pub fn from_name(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }

            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }
    };
}
spelled!(Role { Owner = "owner", Admin = "admin", Member = "member", Muted = "muted" });
spelled!(JoinPolicy { Open = "open", Approval = "approval", Invite = "invite" });
spelled!(FriendState {
    None = "none",
    Requested = "requested",
    RequestedBy = "requested_by",
    Friends = "friends",
    Blocked = "blocked",
});

impl Role {
    /// Tells whether this role manages the group: owner or admin.
    #[must_use]
    pub const fn manages(self) -> bool {
        matches!(self, Self::Owner | Self::Admin)
    }
}
