//! The engine's limits and times.

use std::time::Duration;

use crate::secret::Secret;

/// What an engine may do and how long it waits. Every queue and table has its limit here.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster's secret, at least 32 bytes: signs the tokens of sessions.
    pub secret: Secret,
    /// Seeds the jitter of times told to clients, and the number that a node knows its own messages
    /// by when the relay hands them back: another one on each node, and at each start.
    pub seed: u64,
    /// Who may register.
    pub registration: Registration,
    /// How long a connection may be silent before it is closed (`notice` `idle`).
    pub idle: Duration,
    /// How long a connection may be without a session before it is closed (`notice` `idle`).
    pub login_timeout: Duration,
    /// How long a connection may accept nothing before it is closed (`notice` `slow`).
    pub write_timeout: Duration,
    /// Connections at one time; more are told `notice` `full` and closed.
    pub connections: usize,
    /// Connections at one time from one IPv4 address or IPv6 /64; more are told `notice` `full` and
    /// closed. Connections without an address are not counted.
    pub connections_per_address: usize,
    /// Requests of one connection that wait or are under way; reading pauses above.
    pub pipeline: usize,
    /// Store requests under way at one time; above, requests are answered `busy`.
    pub store_requests: usize,
    /// Weight that a connection may have unwritten: above, events are not pushed but fetched later,
    /// and reading pauses.
    pub outgoing: u32,
    /// Entries in one fetch for those who lag.
    pub fetch_entries: u32,
    /// Bytes of text in one fetch for those who lag.
    pub fetch_bytes: u32,
    /// Fetches under way at one time.
    pub fetches: usize,
    /// Users or conversations in one grouped read.
    pub batch: usize,
    /// Recalls that are remembered, so that what was read before one does not show the text after it.
    pub recalls: usize,
    /// Steps of entries that are remembered for operators, of some 48 bytes each: a message that is
    /// stored, published and pushed to three sessions takes five.
    pub trail: usize,
    /// How long raised cursors wait before they are written.
    pub mark_interval: Duration,
    /// Raised cursors that are written together: when so many wait, they are written at once. As
    /// many again may wait for that; beyond, `ack` is answered `busy`.
    pub marks: usize,
    /// How long a user without a session counts as online, here and then on every other node.
    pub offline_after: Duration,
    /// How often a node tells the others that it lives.
    pub heartbeat: Duration,
    /// How long a node may be silent before its users are asked about; and for how long after the
    /// relay has come back nobody is declared offline, so that every node can come back as well.
    pub node_silence: Duration,
    /// Other nodes that are known at one time; the silence of more goes unnoticed.
    pub nodes: usize,
    /// How often the relay is asked about every friend of the users here.
    pub presence_recheck: Duration,
    /// Users in one question to the relay.
    pub presence_batch: usize,
    /// Questions to the relay about friends under way at one time.
    pub presence_questions: usize,
    /// Pages of `group_members` that wait for the relay at one time; more show what is known.
    pub presence_lists: usize,
    /// How long such a page waits.
    pub presence_wait: Duration,
    /// How often changes are read from the store while the relay is up.
    pub reconcile: Duration,
    /// How often changes are read from the store while the relay is down.
    pub reconcile_down: Duration,
    /// How much of the past each of these reads covers again; more than a transaction may last.
    pub reconcile_overlap: Duration,
    /// How often the newest numbers of held conversations are read by id.
    pub verify: Duration,
    /// Whether other nodes share the store.
    pub clustered: bool,
    /// How long a drain waits for requests under way.
    pub drain: Duration,
    /// The rates, and what stops guesses of passwords; absent for none.
    pub rates: Option<Rates>,
}

/// Who may register.
#[derive(Clone, Debug, Default)]
pub enum Registration {
    /// Anyone.
    #[default]
    Open,
    /// Nobody.
    Closed,
    /// Who has one of these codes.
    Invite(Vec<Secret>),
}

/// Token buckets: so many at once, and so many a second after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Requests of a connection.
    pub requests: Rate,
    /// `register`, `login`, `resume`, `password` and `delete_account` of a connection.
    pub logins: Rate,
    /// `send`, `edit`, `recall` and `group_create` of a user, over all sessions on this node.
    pub sends: Rate,
    /// `register` from one IPv4 address or IPv6 /64.
    pub registrations: Rate,
    /// What stops guesses of passwords.
    pub guard: LoginGuard,
}

/// How many wrong passwords `login`, `password` and `delete_account` take, on this node, before
/// more are answered `rate_limited`.
///
/// `resume` is never held up. Where an account's password was known before, only the failures for
/// that account from there count: whoever attacks an account from elsewhere keeps nobody out who
/// was in. An account is guarded by name and by number apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginGuard {
    /// For one account from one IPv4 address or IPv6 /64. A right password forgives these.
    pub pair: Allowance,
    /// From one IPv4 address or IPv6 /64, for any accounts.
    pub address: Allowance,
    /// For one account, from anywhere.
    pub account: Allowance,
    /// How long after the last failure all are forgotten; more than every `most_delay`.
    pub forget: Duration,
    /// Accounts, addresses and pairs of them that are remembered, each; beyond, those are forgotten
    /// that were quiet for longest.
    pub entries: usize,
}

/// How many failures are free, and what the next ones cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Failures without a delay.
    pub failures: u32,
    /// The delay after these, which doubles with each further failure.
    pub delay: Duration,
    /// The longest delay.
    pub most_delay: Duration,
}

/// One token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// How many an hour.
    pub per_hour: u32,
}

impl Rate {
    /// Makes a bucket of `burst` that so many a second fill; at most a million of them.
    #[must_use]
    pub const fn per_second(burst: u32, per_second: u32) -> Self {
        Self {
            burst,
            per_hour: per_second.saturating_mul(3600),
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            requests: Rate::per_second(1000, 200),
            logins: Rate::per_second(10, 1),
            sends: Rate::per_second(500, 100),
            registrations: Rate {
                burst: 100,
                per_hour: 300,
            },
            guard: LoginGuard::default(),
        }
    }
}

impl Default for LoginGuard {
    fn default() -> Self {
        let second = Duration::from_secs(1);
        let minute = Duration::from_secs(60);
        let allowance = |failures, most_delay| Allowance {
            failures,
            delay: second,
            most_delay,
        };
        Self {
            pair: allowance(5, 15 * minute),
            address: allowance(50, minute),
            account: allowance(100, minute),
            forget: 60 * minute,
            entries: 100_000,
        }
    }
}

impl Config {
    /// Makes a configuration with the defaults of a single node.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self {
            secret,
            seed: 0,
            registration: Registration::Open,
            idle: Duration::from_secs(90),
            login_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(30),
            connections: 100_000,
            connections_per_address: 50_000,
            pipeline: 128,
            store_requests: 100_000,
            outgoing: 256 * 1024,
            fetch_entries: 200,
            fetch_bytes: 128 * 1024,
            fetches: 256,
            batch: 500,
            recalls: 1000,
            trail: 50_000,
            mark_interval: Duration::from_millis(500),
            marks: 10_000,
            offline_after: Duration::from_secs(2),
            heartbeat: Duration::from_secs(3),
            node_silence: Duration::from_secs(10),
            nodes: 1024,
            presence_recheck: Duration::from_secs(60),
            presence_batch: 500,
            presence_questions: 4,
            presence_lists: 256,
            presence_wait: Duration::from_secs(1),
            reconcile: Duration::from_secs(5),
            reconcile_down: Duration::from_secs(1),
            reconcile_overlap: Duration::from_secs(20),
            verify: Duration::from_secs(60),
            clustered: false,
            drain: Duration::from_secs(10),
            rates: Some(Rates::default()),
        }
    }
}
