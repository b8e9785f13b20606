//! What the engine waits for, by the token that it comes back with.

use crate::id::{ConnectionId, ConversationId, OrderTicket, Seq, UserId};
use crate::protocol::reply::Keep;
use crate::protocol::request::Start;
use crate::store::{Done, ReadDone, StoreResponse, StoreResult};
use crate::time::Timestamp;

/// What a completion is for.
#[derive(Debug)]
pub(super) enum Pending {
    /// A client's request.
    Request {
        connection: ConnectionId,
        serial: u64,
        kind: Awaited,
    },
    /// An operator's order; the sessions that it ends are told the reason.
    Order {
        ticket: OrderTicket,
        reason: &'static str,
    },
    /// A session nobody waits for any more is being closed.
    Orphan,
    /// Rosters of these users.
    Rosters(Vec<UserId>),
    /// Newest numbers of these conversations, and versions of these users.
    Heads {
        conversations: Vec<ConversationId>,
        users: Vec<UserId>,
    },
    /// Newest numbers of these conversations, which are not below these cursors unless the store
    /// was restored.
    Verify(Vec<(ConversationId, Seq)>),
    /// A page for those who lag in this conversation.
    Fetch(ConversationId),
    /// Raised cursors are being written.
    Marks,
    /// A page of changes.
    Changes(Changes),
}

/// Where a read of changes has got.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    /// From when on; absent to learn only the database's time.
    pub(super) since: Option<Timestamp>,
    /// The database's time before the first page.
    pub(super) as_of: Option<Timestamp>,
    /// The last conversation of the pages before.
    pub(super) conversations_after: Option<(Timestamp, ConversationId)>,
    /// The last user of the pages before.
    pub(super) users_after: Option<(Timestamp, UserId)>,
}

/// By what somebody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// A password, which opens a session.
    Password,
    /// Another service's token, which opens a session.
    Vouched,
    /// The token of a session that is there.
    Token,
}

/// How a client's request goes on when the store has answered.
#[derive(Debug)]
pub(super) enum Awaited {
    /// `login` and `resume`.
    Session {
        start: Start,
        by: Proof,
        /// When the client asked.
        asked: Timestamp,
    },
    /// `logout`.
    Logout,
    /// `password`.
    Password,
    /// `delete_account`.
    DeleteAccount,
    /// Every other change.
    Change,
    /// `friend_request`, whose reply also names the user.
    FriendRequest,
    /// Every read; the end of a page of history to keep where a frame's limit cuts it.
    Read { keep: Keep },
}

impl Pending {
    /// Tells whether the completion carries positions that a session begins with.
    pub(super) const fn reads_positions(&self) -> bool {
        matches!(
            self,
            Self::Request {
                kind: Awaited::Session { .. },
                ..
            }
        )
    }

    /// Tells whether a completion is of the kind that is waited for. A failure always is.
    pub(super) fn fits(&self, result: &StoreResult) -> bool {
        let Ok(response) = result else {
            return true;
        };
        match (self, response) {
            (Self::Request { kind, .. }, response) => kind.fits(response),
            (Self::Orphan, StoreResponse::Applied(_)) | (Self::Marks, StoreResponse::Marked) => {
                true
            }
            (Self::Order { .. }, StoreResponse::Applied(applied)) => {
                matches!(applied.done, Done::Supervised { .. })
            }
            (pending, StoreResponse::Read(done)) => matches!(
                (pending, done),
                (
                    Self::Order { .. },
                    ReadDone::Account(_) | ReadDone::Entry(_)
                ) | (Self::Rosters(_), ReadDone::Rosters(_))
                    | (Self::Heads { .. } | Self::Verify(_), ReadDone::Heads { .. })
                    | (Self::Fetch(_), ReadDone::Page(_))
                    | (Self::Changes(_), ReadDone::Changes { .. })
            ),
            _ => false,
        }
    }
}

impl Awaited {
    fn fits(&self, response: &StoreResponse) -> bool {
        match (self, response) {
            (Self::Session { .. }, StoreResponse::Session(_)) => true,
            (Self::Read { .. }, StoreResponse::Read(done)) => !matches!(
                done,
                ReadDone::Rosters(_)
                    | ReadDone::Heads { .. }
                    | ReadDone::Page(_)
                    | ReadDone::Changes { .. }
                    | ReadDone::Account(_)
                    | ReadDone::Entry(_)
            ),
            (kind, StoreResponse::Applied(applied)) => match (kind, &applied.done) {
                (Self::Logout | Self::DeleteAccount, Done::Nothing)
                | (Self::Password, Done::Session { .. })
                | (Self::FriendRequest, Done::Friend { .. }) => true,
                (Self::Change, done) => {
                    !matches!(done, Done::Session { .. } | Done::Supervised { .. })
                }
                _ => false,
            },
            _ => false,
        }
    }
}
