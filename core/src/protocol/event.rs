//! What clients are told unasked.

use std::borrow::Cow;

use crate::id::{ConversationRef, GroupId, Seq, UserId};
use crate::log::{Body, Entry, FriendState};
use crate::name::Name;
use crate::time::Timestamp;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `message`: an entry of a conversation's log.
    Message(Message),
    /// `receipt`: how far a user has got in a direct conversation, or oneself anywhere.
    Receipt {
        /// Where.
        conversation: ConversationRef,
        /// Who.
        user: UserId,
        /// What has arrived.
        delivered: Seq,
        /// What was read.
        read: Seq,
    },
    /// `typing`: someone is writing.
    Typing {
        /// Where.
        conversation: ConversationRef,
        /// Who.
        user: UserId,
    },
    /// `presence`: a friend came or went.
    Presence {
        /// Who.
        user: UserId,
        /// Whether that user is online.
        online: bool,
    },
    /// `friend`: what another user is to the reader changed.
    Friend {
        /// Who.
        user: UserId,
        /// That user's name.
        name: Name,
        /// What that user is to the reader from now on.
        state: FriendState,
    },
    /// `group`: what a group is to the reader changed, or someone asks to join.
    Group {
        /// The group.
        group: GroupId,
        /// Its name.
        name: Name,
        /// What changed.
        state: GroupState,
    },
    /// `notice`: the server has something to say about the connection.
    Notice {
        /// What clients branch on.
        code: NoticeCode,
        /// What people read.
        message: Cow<'static, str>,
        /// When to connect again, in milliseconds.
        retry_ms: Option<u64>,
    },
}

/// An entry of a log, from one reader's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub conversation: ConversationRef,
    /// The number in the log.
    pub seq: Seq,
    /// Who acted.
    pub from: UserId,
    /// When it was committed.
    pub at: Timestamp,
    /// What happened.
    pub body: Body,
}

impl Message {
    /// Shows an entry from `reader`'s side; `None` when it is of a direct conversation of others.
    #[must_use]
    pub fn of(entry: &Entry, reader: UserId) -> Option<Self> {
        Some(Self {
            conversation: entry.place.seen_by(reader)?,
            seq: entry.seq,
            from: entry.from,
            at: entry.at,
            body: entry.body.clone(),
        })
    }
}

/// What a group is to the reader from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// The reader is invited.
    Invited,
    /// The reader is a member.
    Member,
    /// The reader was removed.
    Removed,
    /// The group ended.
    Disbanded,
    /// The reader is no member, and neither invited nor waiting.
    None,
    /// To owner and admins: this user asks to join.
    Requested {
        /// Who asks.
        user: UserId,
    },
}

impl GroupState {
    /// Returns the state's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Member => "member",
            Self::Removed => "removed",
            Self::Disbanded => "disbanded",
            Self::None => "none",
            Self::Requested { .. } => "requested",
        }
    }
}

/// Why the server says something about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NoticeCode {
    /// The node stops; connect again after `retry_ms`.
    Draining,
    /// The session was taken over: by another connection, or by a newer session above the limit.
    Replaced,
    /// The session was ended: by a logout elsewhere, a new password, or an operator.
    Ended,
    /// The connection accepted no bytes for too long.
    Slow,
    /// The connection was silent for too long, or did not log in in time.
    Idle,
    /// The store was restored to an earlier state; connect again and start anew.
    Restored,
    /// The server has as many connections as it may; connect again after `retry_ms`.
    Full,
    /// An operator says something to everyone; the connection stays.
    Announcement,
}

impl NoticeCode {
    /// Every code.
    pub const ALL: &'static [Self] = &[
        Self::Draining,
        Self::Replaced,
        Self::Ended,
        Self::Slow,
        Self::Idle,
        Self::Restored,
        Self::Full,
        Self::Announcement,
    ];

    /// Returns the code's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Replaced => "replaced",
            Self::Ended => "ended",
            Self::Slow => "slow",
            Self::Idle => "idle",
            Self::Restored => "restored",
            Self::Full => "full",
            Self::Announcement => "announcement",
        }
    }

    /// Reads a code's name; `None` for a name that this version does not know.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }
}
