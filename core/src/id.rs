//! Identifiers: one type each, so that a user can never stand where a group is meant.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares a number that names something.
macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

identifier! {
    /// Names an account; never reused, not even after the account is deleted.
    UserId
}
identifier! {
    /// Names a group. A group is a conversation: see [`GroupId::conversation`].
    GroupId
}
identifier! {
    /// Names a conversation, direct or group, in the store.
    ConversationId
}
identifier! {
    /// Numbers the entries of one conversation's log: 1, 2, 3, .. Zero stands before the first.
    Seq
}
identifier! {
    /// Names a connection of this process; the driver allocates it and never uses one twice.
    ConnectionId
}
identifier! {
    /// The `id` that a client chose for a request.
    RequestId
}
identifier! {
    /// Names a session: one login of one device, on whichever node it is connected.
    SessionId
}
identifier! {
    /// Ties the completion of a store request, or of a question to the relay, to what asked for it.
    StoreToken
}
identifier! {
    /// Ties a confirmation of the relay to the subscription that asked for it.
    SubscriptionToken
}

identifier! {
    /// Ties an answer to an operator's order; the driver allocates it and never uses one twice.
    OrderTicket
}

/// The largest integer of the wire protocol, 2^53 − 1: what every JSON reader keeps exact
/// (RFC 8259, section 6).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

impl GroupId {
    /// Returns the conversation that this group is.
    #[must_use]
    pub const fn conversation(self) -> ConversationId {
        ConversationId(self.0)
    }
}

impl Seq {
    /// Returns the number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the number before this one; zero stays zero.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// Two different users, the lower id first: what names a direct conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    low: UserId,
    high: UserId,
}

impl Pair {
    /// Orders two users; `None` for one user twice.
    #[must_use]
    pub fn new(one: UserId, other: UserId) -> Option<Self> {
        match one.cmp(&other) {
            std::cmp::Ordering::Less => Some(Self {
                low: one,
                high: other,
            }),
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Greater => Some(Self {
                low: other,
                high: one,
            }),
        }
    }

    /// Returns the user with the lower id.
    #[must_use]
    pub const fn low(self) -> UserId {
        self.low
    }

    /// Returns the user with the higher id.
    #[must_use]
    pub const fn high(self) -> UserId {
        self.high
    }

    /// Returns the other of the two; `None` for a user who is neither.
    #[must_use]
    pub fn other(self, user: UserId) -> Option<UserId> {
        if user == self.low {
            Some(self.high)
        } else if user == self.high {
            Some(self.low)
        } else {
            None
        }
    }
}

/// A conversation as it is: the same for every reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The direct conversation of two users.
    Direct(Pair),
    /// A group.
    Group(GroupId),
}

impl Place {
    /// Returns how `reader` names this conversation; `None` when it is a direct one of others.
    #[must_use]
    pub fn seen_by(self, reader: UserId) -> Option<ConversationRef> {
        match self {
            Self::Direct(pair) => pair.other(reader).map(ConversationRef::User),
            Self::Group(group) => Some(ConversationRef::Group(group)),
        }
    }
}

/// A conversation from one reader's side: `{"user":2}` or `{"group":7}` on the wire.
///
/// Direct ones sort before groups, each by id: the order of the `conversations` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConversationRef {
    /// The direct conversation with this user.
    User(UserId),
    /// This group.
    Group(GroupId),
}

impl ConversationRef {
    /// Returns the conversation that `reader` means; `None` for a conversation with oneself.
    #[must_use]
    pub fn place(self, reader: UserId) -> Option<Place> {
        match self {
            Self::User(user) => Pair::new(reader, user).map(Place::Direct),
            Self::Group(group) => Some(Place::Group(group)),
        }
    }
}
