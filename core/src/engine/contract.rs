//! The engine's one door in and one door out.

use std::net::IpAddr;

use smallvec::SmallVec;
use thiserror::Error;

use crate::engine::operator::{Order, OrderDone};
use crate::id::{ConnectionId, OrderTicket, RequestId, StoreToken, SubscriptionToken, UserId};
use crate::protocol::{Event, Reply, Request, RequestError};
use crate::relay::{Channel, RelayMessage};
use crate::store::{StoreRequest, StoreResult};

/// Something that happened outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A connection was accepted.
    Connected {
        /// Its number, above every one before.
        connection: ConnectionId,
        /// The client's address, where there is one.
        address: Option<IpAddr>,
    },
    /// A frame arrived: a request, or what is wrong with it.
    Request {
        /// Where.
        connection: ConnectionId,
        /// The client's number; absent where it could not be read.
        id: Option<RequestId>,
        /// What is asked, or why that cannot be told. After
        /// [`ErrorCode::FrameTooLarge`](crate::protocol::ErrorCode::FrameTooLarge) the connection
        /// closes.
        request: Result<Request, RequestError>,
    },
    /// The client will send nothing more; it may still be reading.
    EndOfInput {
        /// Which connection.
        connection: ConnectionId,
    },
    /// The connection is gone: closed, broken, or closed on our demand. Its last input.
    Disconnected {
        /// Which connection.
        connection: ConnectionId,
    },
    /// The client's side accepted what we sent.
    Written {
        /// Which connection.
        connection: ConnectionId,
        /// The sum of the `weight`s of the effects that were written out whole.
        weight: u32,
    },
    /// A store request was completed; exactly one for each.
    Stored {
        /// Which request.
        token: StoreToken,
        /// Its outcome.
        result: StoreResult,
    },
    /// Every channel of a subscription is confirmed.
    Subscribed {
        /// Which subscription.
        token: SubscriptionToken,
    },
    /// Another node (or this one) told something.
    Relayed {
        /// What.
        message: RelayMessage,
    },
    /// The relay is back, and every channel is subscribed again.
    RelayUp,
    /// The relay is away.
    RelayLost,
    /// The answer to [`Effect::AskPresence`]; exactly one for each.
    Presence {
        /// Which question.
        token: StoreToken,
        /// Who of the users is online on any node; absent when the relay could not tell.
        online: Option<Vec<UserId>>,
    },
    /// An operator asks for something; answered by one [`Effect::Told`], at once or once the store
    /// has answered.
    Operator {
        /// Which order this is.
        ticket: OrderTicket,
        /// What.
        order: Order,
    },
    /// The moment that [`Engine::poll_timeout`](super::Engine::poll_timeout) named has come.
    Timeout,
    /// The node is to stop: finish what is under way, tell the clients, close.
    Drain,
}

/// Something to do outside. Effects of one connection are carried out in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer a request.
    Reply {
        /// Where.
        connection: ConnectionId,
        /// The client's number; absent where it could not be read.
        id: Option<RequestId>,
        /// The answer.
        result: Result<Reply, RequestError>,
        /// What to report as [`Input::Written`] once it is written.
        weight: u32,
    },
    /// Send one event to some connections: encode it once.
    Push {
        /// Where.
        connections: SmallVec<[ConnectionId; 2]>,
        /// The event.
        event: Event,
        /// What to report as [`Input::Written`], by each connection, once it is written.
        weight: u32,
    },
    /// Write what is queued, for a short while at most, then close; then
    /// [`Input::Disconnected`].
    Close {
        /// Which connection.
        connection: ConnectionId,
    },
    /// Take no more frames from a connection for now.
    PauseReads {
        /// Which connection.
        connection: ConnectionId,
    },
    /// Take frames from a connection again.
    ResumeReads {
        /// Which connection.
        connection: ConnectionId,
    },
    /// Ask the store; answered by [`Input::Stored`].
    Store {
        /// Which request this is.
        token: StoreToken,
        /// What to do.
        request: StoreRequest,
    },
    /// Tell other nodes.
    Publish {
        /// Where to.
        channel: Channel,
        /// What.
        message: RelayMessage,
    },
    /// Subscribe; answered by [`Input::Subscribed`] once these channels, and those of every
    /// subscription before, are confirmed, unless the relay is lost meanwhile. There may be none:
    /// then only those before count. A node without a relay confirms at once.
    Subscribe {
        /// Which subscription this is.
        token: SubscriptionToken,
        /// To what.
        channels: Vec<Channel>,
    },
    /// End subscriptions.
    Unsubscribe {
        /// Of what.
        channels: Vec<Channel>,
    },
    /// Ask who is online on any node; answered by [`Input::Presence`].
    AskPresence {
        /// Which question this is.
        token: StoreToken,
        /// About whom.
        users: Vec<UserId>,
    },
    /// Answer an operator's order.
    Told {
        /// Which order.
        ticket: OrderTicket,
        /// What came of it.
        result: Result<OrderDone, RequestError>,
    },
    /// After [`Input::Drain`]: every connection is gone, and the cursors are written.
    Drained,
}

/// A bug of the driver: an input that does not fit the ones before. Never caused by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Misuse {
    /// A connection's number is not above every one before.
    #[error("{0:?} is not above every one before")]
    ConnectionUsed(ConnectionId),
    /// There is no such connection.
    #[error("there is no {0:?}")]
    NoConnection(ConnectionId),
    /// No request with this token is under way.
    #[error("{0:?} is not under way")]
    NoToken(StoreToken),
    /// A completion is not of the kind that its request has.
    #[error("the completion of {0:?} is of another kind")]
    WrongCompletion(StoreToken),
    /// More was reported as written than was sent.
    #[error("{0:?} reports more written than was sent")]
    TooMuchWritten(ConnectionId),
    /// Time went backwards.
    #[error("time went backwards")]
    TimeWentBack,
}
