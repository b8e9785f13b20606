//! What the side port and `parlor admin` say to each other, in JSON.
//!
//! Moments are milliseconds since 1970.

use serde::{Deserialize, Serialize};

/// Writes what is said: numbers, texts and truths always have a JSON form.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Which account: one of the two.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Who {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

/// A new password, and whose.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPassword {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    pub(crate) password: String,
}

/// What to say to everyone.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Announcement {
    pub(crate) message: String,
}

/// Nothing to say.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// What became of an order about an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Supervised {
    pub(crate) user: u64,
    /// How many sessions were ended.
    pub(crate) ended: usize,
}

/// Who was told an announcement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Announced {
    pub(crate) connections: usize,
    /// How many other nodes this one hears of, which were not told.
    pub(crate) other_nodes: usize,
}

/// A node that drains.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Draining {
    pub(crate) draining: bool,
}

/// A session that is connected to a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Here {
    pub(crate) user: u64,
    pub(crate) name: String,
    pub(crate) session: u64,
    pub(crate) connection: u64,
    pub(crate) since: u64,
    /// Whether it lags.
    pub(crate) behind: bool,
}

/// A page of sessions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sessions {
    pub(crate) sessions: Vec<Here>,
    pub(crate) more: bool,
}

/// An account.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) user: u64,
    pub(crate) name: String,
    pub(crate) locked: bool,
    /// Those that stand, connected or not.
    pub(crate) sessions: Vec<Session>,
    /// Those that are connected to the node that answers.
    pub(crate) here: Vec<Here>,
}

/// A session as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) session: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    pub(crate) created: u64,
    pub(crate) expires: u64,
}

/// What is known of a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Where it is stored.
    pub(crate) entry: Entry,
    /// What the node that answers remembers of its way.
    pub(crate) steps: Vec<Step>,
}

/// Where a log has an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<u64>,
    /// The two users of a direct conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) users: Option<[u64; 2]>,
    pub(crate) seq: u64,
    pub(crate) from: u64,
    /// When it was committed, by the database's clock.
    pub(crate) at: u64,
}

/// A step of a message's way, by the clock of the node that answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) at: u64,
    /// `stored`, `published`, `withheld`, `relayed` or `pushed`.
    pub(crate) what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connection: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<u64>,
}

/// Why something was not done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) error: Refusal,
}

/// Why something was not done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// What a node says of itself to everyone who reaches its side port.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) ready: bool,
    pub(crate) store: String,
    pub(crate) relay: String,
    pub(crate) draining: bool,
    pub(crate) version: String,
    pub(crate) connections: usize,
    pub(crate) users: usize,
    pub(crate) groups: usize,
    pub(crate) other_nodes: usize,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) entries: u64,
    pub(crate) pushes: u64,
    pub(crate) repairs: u64,
    pub(crate) store_waiting: usize,
    pub(crate) store_took_ms: u64,
    pub(crate) relay_dropped: u64,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) cpu_seconds: Option<f64>,
}
