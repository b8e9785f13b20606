//! What nodes tell each other. The relay is a hint: it may lose, repeat and reorder; the store is
//! the truth.

use std::sync::Arc;

use crate::id::{
    ConversationId, GroupId, Pair, Seq, SessionId, StoreToken, SubscriptionToken, UserId,
};
use crate::log::Entry;
use crate::name::Name;
use crate::time::Timestamp;

/// A relay, as its driver sees it. A node alone has none: its driver confirms every subscription at
/// once and answers that nobody is online elsewhere.
pub trait Relay: Send + Sync + 'static {
    /// Takes messages over without waiting; drops them when the relay is away.
    fn publish(&self, messages: Vec<(Channel, RelayMessage)>);
    /// Subscribes; reported as [`Input::Subscribed`](crate::engine::Input::Subscribed) once every
    /// one of the channels is confirmed.
    fn subscribe(&self, token: SubscriptionToken, channels: Vec<Channel>);
    /// Ends subscriptions.
    fn unsubscribe(&self, channels: Vec<Channel>);
    /// Asks which of these users are online on any node: to whose channel any node is subscribed.
    /// Reported as [`Input::Presence`](crate::engine::Input::Presence), exactly once and within
    /// seconds, as unknown where the relay is away or silent.
    fn ask_presence(&self, token: StoreToken, users: Vec<UserId>);
}

/// Where a message to other nodes goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// To the nodes where this user has a session.
    User(UserId),
    /// To the nodes where this group has a member with a session.
    Group(GroupId),
    /// To every node.
    Nodes,
}

/// A message to other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayMessage {
    /// An entry was committed.
    Entry(Arc<Entry>),
    /// A user's version rose.
    Changed {
        /// Whose.
        user: UserId,
        /// To what.
        version: u64,
    },
    /// A user got further in a conversation.
    Receipt {
        /// The conversation.
        conversation: ConversationId,
        /// Its two users, where it is a direct one.
        pair: Option<Pair>,
        /// Whose sessions are told: the user's own, or those of the other side.
        to: UserId,
        /// Who.
        user: UserId,
        /// What has arrived.
        delivered: Seq,
        /// What was read.
        read: Seq,
        /// Which node says so.
        origin: u64,
    },
    /// A user is writing in a direct conversation.
    TypingDirect {
        /// Its two users.
        pair: Pair,
        /// Who.
        user: UserId,
        /// Which node says so.
        origin: u64,
    },
    /// A user is writing in a group.
    TypingGroup {
        /// The group.
        group: GroupId,
        /// Who.
        user: UserId,
        /// Which node says so.
        origin: u64,
    },
    /// A user asks to join a group: for its owner and admins.
    Requested {
        /// The group.
        group: GroupId,
        /// Its name.
        name: Name,
        /// Who asks.
        user: UserId,
        /// Which node says so.
        origin: u64,
    },
    /// A user may have come or gone: ask the relay about them.
    AskAbout {
        /// Who.
        user: UserId,
    },
    /// A session began or was resumed on a node: an older connection of it is replaced.
    Resumed {
        /// Whose.
        user: UserId,
        /// Which.
        session: SessionId,
        /// A moment by the database's clock, which all nodes share: the client asked at it or
        /// later, and a connection whose client asked before it is older. It is early by no more
        /// than the store took to answer; of two connections whose clients asked within that time
        /// both stay.
        at: Timestamp,
    },
    /// A node lives. When its heartbeats fall silent, or name another line, who is watched is asked
    /// about anew.
    Heartbeat {
        /// Which node.
        origin: u64,
        /// Counts the node's connections to the relay, from 0: on a new one, users may be
        /// subscribed to of whom nobody was told.
        line: u64,
    },
    /// A node has drained and ends: its users are elsewhere soon, or gone.
    Leaving {
        /// Which node.
        origin: u64,
    },
}
