//! Changes, and what comes of them.

use std::sync::Arc;

use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::id::{GroupId, Place, Seq, SessionId, UserId};
use crate::identity::Identity;
use crate::log::{Entry, FriendState, GroupChange, JoinPolicy, Role};
use crate::name::{Key, Name};
use crate::protocol::RequestError;
use crate::protocol::reply::JoinState;
use crate::protocol::request::{FriendAction, GroupOtherAction, GroupSelfAction, UserRef};
use crate::secret::Secret;
use crate::store::view::ReadSet;
use crate::time::Timestamp;

/// A change, carried out whole or not at all, by [`rules`](crate::rules).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Makes an account.
    Register {
        /// The name.
        name: Name,
        /// The argon2id PHC string of the password.
        hash: Secret,
    },
    /// Opens a session and ends the oldest above the limit.
    OpenSession {
        /// Whose.
        user: UserId,
        /// The hash that the password was verified against: refused with `bad_credentials` when
        /// it is no longer the user's.
        verified: Secret,
        /// The same password's hash at today's cost and with the same salt, where the one that was
        /// verified has another cost: replaces it.
        renewed: Option<Secret>,
        /// What the user calls the device.
        device: Option<SmolStr>,
    },
    /// Opens a session of the account that belongs to an identity, and makes that account where there
    /// is none; ends the oldest session above the limit. No account is ever found by its name.
    OpenSessionOf {
        /// For whom another service vouches.
        identity: Identity,
        /// The name that a new account would have, if nobody has it.
        name: Option<Name>,
        /// What the user calls the device.
        device: Option<SmolStr>,
    },
    /// Ends a session.
    CloseSession {
        /// Whose.
        user: UserId,
        /// Which.
        session: SessionId,
    },
    /// Changes the password, renews one session's expiry (so that its old token no longer
    /// stands) and ends every other session.
    ChangePassword {
        /// Whose.
        user: UserId,
        /// The session that stays.
        session: SessionId,
        /// The hash that the old password was verified against.
        verified: Secret,
        /// The argon2id PHC string of the new password.
        hash: Secret,
    },
    /// Deletes an account: blanks its texts, frees its name, ends its friendships, memberships and
    /// sessions.
    DeleteAccount {
        /// Whose.
        user: UserId,
        /// The hash that the password was verified against.
        verified: Secret,
    },
    /// What an operator does about an account, refused with `no_such_user`.
    Supervise {
        /// Whose.
        who: UserRef,
        /// What.
        action: Supervision,
    },
    /// Asks for friendship.
    FriendRequest {
        /// Who asks.
        user: UserId,
        /// Whom.
        who: UserRef,
    },
    /// Accepts, rejects, removes, blocks or unblocks.
    Friend {
        /// Who acts.
        user: UserId,
        /// How.
        action: FriendAction,
        /// On whom.
        other: UserId,
    },
    /// Makes a group.
    GroupCreate {
        /// The owner.
        user: UserId,
        /// The name.
        name: Name,
        /// What it is about.
        description: Arc<str>,
        /// How to join.
        join: JoinPolicy,
        /// Makes repeating safe.
        key: Option<Key>,
    },
    /// Joins, leaves or disbands.
    GroupSelf {
        /// Who acts.
        user: UserId,
        /// How.
        action: GroupSelfAction,
        /// Which group.
        group: GroupId,
    },
    /// Invites, approves, rejects or removes.
    GroupOther {
        /// Who acts.
        user: UserId,
        /// How.
        action: GroupOtherAction,
        /// Which group.
        group: GroupId,
        /// The user concerned.
        other: UserId,
    },
    /// Gives a member a role.
    GroupRole {
        /// Who acts.
        user: UserId,
        /// Which group.
        group: GroupId,
        /// The member concerned.
        other: UserId,
        /// The role from now on.
        role: Role,
    },
    /// Changes what a group says of itself.
    GroupUpdate {
        /// Who acts.
        user: UserId,
        /// Which group.
        group: GroupId,
        /// What to change.
        change: GroupChange,
    },
    /// Adds a message.
    Send {
        /// Who writes.
        user: UserId,
        /// Where.
        place: Place,
        /// One key, one message.
        key: Key,
        /// The text.
        text: Arc<str>,
        /// The entry that it answers.
        reply_to: Option<Seq>,
        /// A JSON object, compact.
        meta: Option<Arc<str>>,
    },
    /// Replaces a message's text.
    Edit {
        /// Who acts.
        user: UserId,
        /// Where.
        place: Place,
        /// Which message.
        seq: Seq,
        /// The text from now on.
        text: Arc<str>,
    },
    /// Erases a message's text.
    Recall {
        /// Who acts.
        user: UserId,
        /// Where.
        place: Place,
        /// Which message.
        seq: Seq,
    },
}

/// What an operator may do about an account. What holds already changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Supervision {
    /// Ends every session.
    EndSessions,
    /// Ends every session, and lets none begin.
    Lock,
    /// Lets sessions begin again.
    Unlock,
    /// Sets the password, by its argon2id PHC string, and ends every session.
    SetPassword(Secret),
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What the one who asked is told.
    pub done: Done,
    /// The entries that the change added, ascending; none when the outcome held already.
    pub entries: SmallVec<[Arc<Entry>; 1]>,
    /// The users whose version the change raised, and to what, ascending.
    pub changed: Vec<(UserId, u64)>,
    /// A user who now waits for approval: told to the group's owner and admins.
    pub requested: Option<Requested>,
}

impl Applied {
    /// Makes the outcome of a change that added no entry and raised no version.
    #[must_use]
    pub fn unchanged(done: Done) -> Self {
        Self {
            done,
            entries: SmallVec::new(),
            changed: Vec::new(),
            requested: None,
        }
    }
}

/// A user who asks to join a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// The group.
    pub group: GroupId,
    /// Its name.
    pub name: Name,
    /// Who asks.
    pub user: UserId,
}

/// What the one who asked for a change is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// That it is done.
    Nothing,
    /// The number of the new account.
    Registered(UserId),
    /// The session that was opened, or whose expiry was renewed.
    Session {
        /// Which.
        session: SessionId,
        /// When it expires.
        expires: Timestamp,
    },
    /// What an operator wanted is done.
    Supervised {
        /// About whose account.
        user: UserId,
        /// The sessions that this ended, ascending.
        ended: Vec<SessionId>,
    },
    /// What the other user is from now on.
    Friend {
        /// Who.
        user: UserId,
        /// What.
        state: FriendState,
    },
    /// The number of the new group.
    GroupCreated(GroupId),
    /// The outcome of joining.
    Joined(JoinState),
    /// The entry that was added, or that holds the outcome already.
    Appended {
        /// Its number.
        seq: Seq,
        /// When it was committed.
        at: Timestamp,
    },
}

/// Why a change was not carried out; it then left the view as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The rules do not allow it.
    Request(RequestError),
    /// It depends on rows that are not in the view: load these too (in a new transaction, so that
    /// locks are taken in order) and try again.
    Incomplete(Box<ReadSet>),
}

impl<E: Into<RequestError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Request(error.into())
    }
}
