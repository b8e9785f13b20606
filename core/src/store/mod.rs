//! What the engine asks of a store, and what a store answers.
//!
//! A store keeps rows and decides nothing: for every change it loads and locks the rows that the
//! change needs ([`ReadSet`]), lets [`rules`](crate::rules) decide on them, and writes what became
//! of them ([`View`]), all in one transaction. The in-memory store of `sim` and the SQL store share
//! the rules to the letter in this way.

pub mod command;
pub mod read;
pub mod rows;
pub mod view;

use std::sync::Arc;

use smol_str::SmolStr;
use thiserror::Error;

pub use command::{Applied, Command, Done, Refusal, Supervision};
pub use read::{
    Account, ConversationState, Head, MessageRef, Page, Read, ReadDone, Roster, StoredEntry,
};
pub use rows::{
    Count, Digest, GroupRow, InvitationRow, Kind, MemberRow, MessageRow, SessionRow, StoredKey,
    UserRow,
};
pub use view::{Change, Limits, ReadSet, Tracked, View};

use crate::id::{ConversationId, Seq, SessionId, StoreToken, UserId};
use crate::name::Name;
use crate::protocol::RequestError;
use crate::protocol::request::UserRef;
use crate::secret::Secret;
use crate::time::Timestamp;

/// A store, as its driver sees it.
///
/// Every request is answered exactly once, as an [`Input::Stored`](crate::engine::Input::Stored)
/// to whatever sink the store was opened with. The store owns time-outs and answers
/// [`StoreError::Unknown`] when it cannot tell what happened.
pub trait Store: Send + Sync + 'static {
    /// Takes requests over without waiting for any of them.
    fn submit(&self, requests: Vec<(StoreToken, StoreRequest)>);
}

/// One request to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreRequest {
    /// Hashes the password, then carries out [`Command::Register`]. Answered by
    /// [`StoreResponse::Applied`].
    Register {
        /// The name.
        name: Name,
        /// The password in clear.
        password: Secret,
    },
    /// Verifies the password (as slowly for an unknown user), opens a session by
    /// [`Command::OpenSession`] and reads the roster. Answered by [`StoreResponse::Session`];
    /// refused with `bad_credentials` or `locked`.
    Login {
        /// Whose session.
        who: UserRef,
        /// The password in clear.
        password: Secret,
        /// What the user calls the device.
        device: Option<SmolStr>,
    },
    /// Verifies a token by which another service vouches for somebody, opens a session by
    /// [`Command::OpenSessionOf`] and reads the roster. Answered by [`StoreResponse::Session`];
    /// refused with `bad_credentials`, with `token_expired` where only its time is over, with
    /// `locked`, with `name_taken` where somebody has each of the names that a new account could
    /// get, and with `bad_request` by a store that takes no such tokens.
    LoginJwt {
        /// The token (RFC 7519).
        jwt: Secret,
        /// What the user calls the device.
        device: Option<SmolStr>,
    },
    /// Checks that the session stands (same user, same expiry, not expired by the database's
    /// clock) and reads the roster. Answered by [`StoreResponse::Session`]; refused with
    /// `token_expired`. Many are read with one query.
    Resume {
        /// Whose session.
        user: UserId,
        /// Which session.
        session: SessionId,
        /// When it expires, as its token says.
        expires: Timestamp,
    },
    /// Verifies the old password, then carries out [`Command::ChangePassword`]. Answered by
    /// [`StoreResponse::Applied`]; refused with `bad_credentials`.
    ChangePassword {
        /// Whose.
        user: UserId,
        /// The session that stays.
        session: SessionId,
        /// The present password in clear.
        old: Secret,
        /// The password from now on, in clear.
        new: Secret,
    },
    /// Verifies the password, then carries out [`Command::DeleteAccount`]. Answered by
    /// [`StoreResponse::Applied`]; refused with `bad_credentials`.
    DeleteAccount {
        /// Whose.
        user: UserId,
        /// The password in clear.
        password: Secret,
    },
    /// Hashes the password, then carries out [`Supervision::SetPassword`]. Answered by
    /// [`StoreResponse::Applied`]; refused with `no_such_user`.
    ResetPassword {
        /// Whose.
        who: UserRef,
        /// The password from now on, in clear.
        password: Secret,
    },
    /// Carries out a change. Answered by [`StoreResponse::Applied`].
    Command(Box<Command>),
    /// Reads. Answered by [`StoreResponse::Read`].
    Read(Read),
    /// Raises cursors; rows that are gone are left out, values are clamped to the log's end and
    /// never fall. Answered by [`StoreResponse::Marked`].
    Mark(Vec<Mark>),
}

/// How far a user has got in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where.
    pub conversation: ConversationId,
    /// Who.
    pub user: UserId,
    /// What has arrived.
    pub delivered: Seq,
    /// What was read.
    pub read: Seq,
}

/// The answer to a request that went well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreResponse {
    /// A change was committed, or had been already.
    Applied(Applied),
    /// A session stands.
    Session(Standing),
    /// What was read.
    Read(ReadDone),
    /// Cursors were raised.
    Marked,
}

/// A session that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which one.
    pub session: SessionId,
    /// When it expires.
    pub expires: Timestamp,
    /// Its user's friends, groups and conversations.
    pub roster: Arc<Roster>,
    /// The users whose version this request raised: the user, where a session was opened.
    pub changed: Vec<(UserId, u64)>,
    /// A moment between the request and its answer, by the database's clock, which all nodes
    /// share.
    pub as_of: Timestamp,
}

/// The answer to one store request.
pub type StoreResult = Result<StoreResponse, StoreFailure>;

/// Why a store request did not go well.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreFailure {
    /// The rules refused it; nothing was changed.
    #[error(transparent)]
    Refused(#[from] RequestError),
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// A failure of the store itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The store cannot be reached; nothing was changed.
    #[error("the store cannot be reached")]
    Unavailable,
    /// The store did not say whether it changed anything.
    #[error("the store did not say what happened")]
    Unknown,
    /// The store's queue is full; nothing was changed.
    #[error("the store has too much to do")]
    Busy,
}
