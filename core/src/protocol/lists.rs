//! The lists of the reply that begins a session.

/// A list that `login` and `resume` answer with; `more` names those that were cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionList {
    /// `friends`.
    Friends,
    /// `requests`.
    Requests,
    /// `groups`.
    Groups,
    /// `invites`.
    Invites,
    /// `conversations`.
    Conversations,
}

impl SessionList {
    /// Every list, in the order of the reply.
    pub const ALL: [Self; 5] = [
        Self::Friends,
        Self::Requests,
        Self::Groups,
        Self::Invites,
        Self::Conversations,
    ];

    /// Returns the list's name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Friends => "friends",
            Self::Requests => "requests",
            Self::Groups => "groups",
            Self::Invites => "invites",
            Self::Conversations => "conversations",
        }
    }

    /// Reads a list's name; `None` for a name that this version does not know.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.as_str() == name)
    }
}
