//! The session's one door in and one door out.

use thiserror::Error;

use crate::id::RequestId;
use crate::protocol::reply::{ConversationItem, FriendItem, GroupItem, SessionReply};
use crate::protocol::{Event, NoticeCode, Reply, Request, RequestError};
use crate::time::Timestamp;

/// The caller's number for a request; none may be used again before its outcome was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Something that happened outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The caller wants a connection: connect at once, and again whenever it breaks.
    Connect,
    /// The caller wants no connection: acknowledge what was delivered and disconnect. The outbox
    /// is kept for the next [`Input::Connect`].
    Disconnect,
    /// What [`Effect::Connect`] asked for is there.
    Connected,
    /// What [`Effect::Connect`] asked for failed.
    ConnectFailed,
    /// The connection is gone, whoever closed it.
    Disconnected,
    /// A frame arrived, without its line ending.
    Frame(Vec<u8>),
    /// A reply arrived, from a front-end that has no frames.
    Reply {
        /// Which request it answers; absent where the server could not read that.
        id: Option<RequestId>,
        /// The answer.
        result: Result<Reply, RequestError>,
    },
    /// An event arrived, from a front-end that has no frames.
    Event(Event),
    /// The caller asks for something.
    Request {
        /// The caller's number for it.
        ticket: Ticket,
        /// What; in `login` and `resume` the session adds the positions that it knows.
        request: Request,
    },
    /// The moment that [`Session::poll_timeout`](super::Session::poll_timeout) named has come.
    Timeout,
}

/// Something to do outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Connect; answered by one [`Input::Connected`] or [`Input::ConnectFailed`].
    Connect,
    /// Write what is queued and close the connection; answered by [`Input::Disconnected`].
    Disconnect,
    /// Send a request; [`encode_request`](crate::protocol::client::encode_request) makes its frame.
    Send {
        /// The request's number on this connection.
        id: RequestId,
        /// The request.
        request: Request,
    },
    /// A request of the caller's came to its end; exactly one for each [`Input::Request`].
    Outcome {
        /// Which request.
        ticket: Ticket,
        /// How it ended.
        outcome: Outcome,
    },
    /// Messages: of each conversation in order, without hole or repeat. Other events as they come.
    Event(Event),
    /// The session goes on after a break, by its token: what has changed meanwhile.
    Resumed(Box<SessionReply>),
    /// More of a list that the reply which began the session had to cut.
    Listed(Listed),
    /// The state of the connection changed.
    Status(Status),
}

/// More items of a list, behind those that came before. An event may have overtaken them: it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Friends, those who ask for friendship, and others with whom there is a tie.
    Friends(Vec<FriendItem>),
    /// Groups.
    Groups(Vec<GroupItem>),
    /// Conversations.
    Conversations(Vec<ConversationItem>),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server carried it out.
    Done(Reply),
    /// The server refused it.
    Refused(RequestError),
    /// The connection broke before the answer: it may have been carried out. Never of a `send`.
    Unknown,
    /// It was not sent.
    NotSent(NotSent),
}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotSent {
    /// There is no connection, or the session on it has not begun.
    #[error("not connected")]
    NotConnected,
    /// A `send` before the first login, or the session was ended before it was acknowledged.
    #[error("not logged in")]
    NotLoggedIn,
    /// Another user logged in before it was acknowledged.
    #[error("another user logged in")]
    OtherUser,
    /// As many sends wait as may.
    #[error("too many messages wait to be sent")]
    OutboxFull,
    /// As many requests are under way as may.
    #[error("too many requests are under way")]
    TooManyRequests,
    /// Its frame would exceed the protocol's limit.
    #[error("the message is too large")]
    TooLarge,
}

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is none and none is wanted.
    Offline(Offline),
    /// A connection is being made.
    Connecting,
    /// There is none; the next attempt comes at this moment.
    Waiting {
        /// When.
        until: Timestamp,
    },
    /// There is a connection without a session.
    Anonymous,
    /// The session's token does not stand: log in with the password. The outbox waits.
    LoginNeeded(RequestError),
    /// The session is being resumed.
    Resuming,
    /// The session is there.
    Online,
}

/// Why there is no connection and none is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offline {
    /// The caller has not asked for one.
    NotWanted,
    /// The server ended the session: [`NoticeCode::Replaced`] or [`NoticeCode::Ended`].
    Ended(NoticeCode),
    /// The server names more conversations than may be kept.
    TooManyConversations,
}

/// A bug of the driver: an input that does not fit the ones before. Never caused by a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Misuse {
    /// No connection was asked for.
    #[error("no connection was asked for")]
    NotConnecting,
    /// There is no connection.
    #[error("there is no connection")]
    NotConnected,
    /// The request with this number has not ended.
    #[error("{0:?} is under way")]
    TicketUsed(Ticket),
    /// Time went backwards.
    #[error("time went backwards")]
    TimeWentBack,
}
