//! The client session's limits and times.

use std::time::Duration;

/// What a session may hold and how long it waits. Every table has its limit here.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seeds the jitter of waits; nothing else.
    pub seed: u64,
    /// Sends that wait to be acknowledged; more are refused with
    /// [`NotSent::OutboxFull`](super::NotSent::OutboxFull).
    pub outbox: usize,
    /// Sends of one conversation under way at one time. With one, order holds even where a send
    /// has to be repeated.
    pub sends_per_conversation: usize,
    /// Requests under way at one time; more of the caller's are refused with
    /// [`NotSent::TooManyRequests`](super::NotSent::TooManyRequests), the session's own wait.
    pub requests: usize,
    /// Conversations whose position is kept; a server that names more is left for good
    /// ([`Offline::TooManyConversations`](super::Offline::TooManyConversations)).
    pub conversations: usize,
    /// Messages of one conversation that are kept while a hole before them is read.
    pub held: usize,
    /// Positions that a `login` or `resume` names; the frame's limit allows about 1,000.
    pub have: usize,
    /// Entries asked for at a time when a hole is read, and items of a list.
    pub fetch: u32,
    /// Items that are asked for in all where the lists of the reply that began the session were
    /// cut; what lies behind them is left out.
    pub listed: usize,
    /// How long delivered messages wait to be acknowledged together.
    pub ack_delay: Duration,
    /// After how long without a request a `ping` is sent, at the latest; a third of the server's
    /// `idle_ms` when that is shorter.
    pub ping: Duration,
    /// How long a reply may take before the connection counts as dead. Longer than the 30 s within
    /// which a server answers `unavailable`.
    pub reply_timeout: Duration,
    /// The first wait before connecting or repeating; a server that asks for a shorter one before
    /// connecting again gets this.
    pub backoff_first: Duration,
    /// The longest wait before connecting or repeating, unless the server asks for a longer one.
    pub backoff_longest: Duration,
    /// The longest wait that a server may ask for.
    pub retry_longest: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            outbox: 1000,
            sends_per_conversation: 1,
            requests: 64,
            conversations: 65_536,
            held: 64,
            have: 1000,
            fetch: crate::protocol::MAX_LIMIT,
            listed: 65_536,
            ack_delay: Duration::from_millis(200),
            ping: Duration::from_secs(30),
            reply_timeout: Duration::from_secs(60),
            backoff_first: Duration::from_millis(500),
            backoff_longest: Duration::from_secs(30),
            retry_longest: Duration::from_secs(300),
        }
    }
}
