//! What a client is told when a request fails.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// The stable name of a failure; clients branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// The frame is no JSON object in UTF-8.
    BadFrame,
    /// The `op` is not one of this version's.
    UnknownOp,
    /// A field is missing, has the wrong type, or breaks a rule; the message names it.
    BadRequest,
    /// The frame exceeds its limit; the connection closes.
    FrameTooLarge,
    /// A text or `meta` exceeds its limit.
    TooLarge,
    /// The operation needs a session.
    NotLoggedIn,
    /// The connection has a session already.
    AlreadyLoggedIn,
    /// There is no such user, or the password is wrong.
    BadCredentials,
    /// Another user has that name, whatever the case.
    NameTaken,
    /// This server does not take registrations.
    RegistrationClosed,
    /// The invitation code is wrong or missing.
    BadInvite,
    /// The account is locked.
    Locked,
    /// There is no such user.
    NoSuchUser,
    /// There is no such group.
    NoSuchGroup,
    /// The two users are not friends, or there is no request to accept.
    NotFriends,
    /// One of the two users has blocked the other.
    Blocked,
    /// The user concerned is not a member of the group.
    NotMember,
    /// The user's role, or the state of things, does not allow it.
    Forbidden,
    /// The member may read but not write.
    Muted,
    /// There is no such message, or the reader may not see it.
    NoSuchMessage,
    /// The key was used for other content.
    KeyConflict,
    /// A count has reached its limit.
    Limit,
    /// Too many requests; `retry_ms` says when to go on.
    RateLimited,
    /// The server has too much to do; `retry_ms` says when to repeat, with the same key.
    Busy,
    /// The store cannot be reached or did not say what happened; repeat with the same key.
    Unavailable,
    /// The server is stopping; connect again.
    ShuttingDown,
    /// The token does not stand; log in with the password.
    TokenExpired,
}

impl ErrorCode {
    /// Every code, in the order of the documentation.
    pub const ALL: &'static [Self] = &[
        Self::BadFrame,
        Self::UnknownOp,
        Self::BadRequest,
        Self::FrameTooLarge,
        Self::TooLarge,
        Self::NotLoggedIn,
        Self::AlreadyLoggedIn,
        Self::BadCredentials,
        Self::NameTaken,
        Self::RegistrationClosed,
        Self::BadInvite,
        Self::Locked,
        Self::NoSuchUser,
        Self::NoSuchGroup,
        Self::NotFriends,
        Self::Blocked,
        Self::NotMember,
        Self::Forbidden,
        Self::Muted,
        Self::NoSuchMessage,
        Self::KeyConflict,
        Self::Limit,
        Self::RateLimited,
        Self::Busy,
        Self::Unavailable,
        Self::ShuttingDown,
        Self::TokenExpired,
    ];

    /// Returns the code's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.describe().0
    }

    /// Returns the sentence that goes with the code where nothing more exact is known.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        self.describe().1
    }

    /// Reads a code's name; `None` for a name that this version does not know.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }

    /// The wire name and the default sentence.
    const fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::BadFrame => ("bad_frame", "the frame is not a JSON object in UTF-8"),
            Self::UnknownOp => ("unknown_op", "there is no such op"),
            Self::BadRequest => ("bad_request", "the request breaks a rule"),
            Self::FrameTooLarge => ("frame_too_large", "a frame has at most 65536 bytes"),
            Self::TooLarge => ("too_large", "the text is too large"),
            Self::NotLoggedIn => ("not_logged_in", "log in first"),
            Self::AlreadyLoggedIn => ("already_logged_in", "log out first"),
            Self::BadCredentials => ("bad_credentials", "no such user, or a wrong password"),
            Self::NameTaken => ("name_taken", "that name is taken"),
            Self::RegistrationClosed => {
                ("registration_closed", "this server takes no registrations")
            }
            Self::BadInvite => ("bad_invite", "a valid invitation code is needed"),
            Self::Locked => ("locked", "the account is locked"),
            Self::NoSuchUser => ("no_such_user", "there is no such user"),
            Self::NoSuchGroup => ("no_such_group", "there is no such group"),
            Self::NotFriends => ("not_friends", "you are not friends"),
            Self::Blocked => ("blocked", "one of you has blocked the other"),
            Self::NotMember => ("not_member", "not a member of that group"),
            Self::Forbidden => ("forbidden", "you may not do that"),
            Self::Muted => ("muted", "you are muted in that group"),
            Self::NoSuchMessage => ("no_such_message", "there is no such message"),
            Self::KeyConflict => ("key_conflict", "that key was used for other content"),
            Self::Limit => ("limit", "a limit is reached"),
            Self::RateLimited => ("rate_limited", "too many requests"),
            Self::Busy => ("busy", "the server is busy; repeat with the same key"),
            Self::Unavailable => (
                "unavailable",
                "the store cannot be reached; repeat with the same key",
            ),
            Self::ShuttingDown => ("shutting_down", "the server is stopping; connect again"),
            Self::TokenExpired => ("token_expired", "log in with the password"),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The failure of one request: a stable code, a sentence for people, and when to try again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code}: {message}")]
pub struct RequestError {
    /// What clients branch on.
    pub code: ErrorCode,
    /// What people read.
    pub message: Cow<'static, str>,
    /// How long to wait before repeating, in milliseconds, where repeating helps.
    pub retry_ms: Option<u64>,
}

impl RequestError {
    /// Makes a failure with a sentence of its own.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_ms: None,
        }
    }

    /// Makes the failure of a request that breaks a rule; the message names the field.
    #[must_use]
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// Adds how long to wait before repeating.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_ms = Some(crate::time::millis(wait));
        self
    }
}

impl From<ErrorCode> for RequestError {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, code.sentence())
    }
}
