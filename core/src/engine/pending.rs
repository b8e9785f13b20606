//! What the engine waits for, by the token that it comes back with.

use crate::id::{ConnectionId, ConversationId, Seq, UserId};
use crate::protocol::reply::Keep;
use crate::protocol::request::Start;
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
    /// A page of changes since a moment; the time of the first page.
    Changes {
        since: Option<Timestamp>,
        as_of: Option<Timestamp>,
    },
}

/// How a client's request goes on when the store has answered.
#[derive(Debug)]
pub(super) enum Awaited {
    /// `login` and `resume`.
    Session { start: Start, opened: bool },
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
