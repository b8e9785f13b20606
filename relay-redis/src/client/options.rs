//! What a relay is opened with.

use std::time::Duration;

/// The settings of a relay: its limits and how long it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The most messages that may wait to be published; more are dropped and counted.
    pub publish_queue: usize,
    /// The most bytes of text in messages that wait to be published or to be acknowledged by Redis.
    pub publish_bytes: usize,
    /// The most messages that go to Redis in one write.
    pub batch: usize,
    /// The most received payloads that may wait for the engine; more are dropped and counted.
    pub receive_queue: usize,
    /// The most bytes of received payloads that may wait.
    pub receive_bytes: usize,
    /// The most changes of subscriptions and questions that may wait to be written. With more, the
    /// connection counts as broken: it begins anew with what is wanted then.
    pub changes: usize,
    /// The longest that connecting may last, each server for itself.
    pub connect_timeout: Duration,
    /// The longest that Redis may take to answer anything. Then its connection counts as broken.
    pub reply_timeout: Duration,
    /// How often each connection is tried out while nothing else waits for an answer.
    pub ping: Duration,
    /// The wait before the second attempt to connect; it doubles with each further one. Each wait
    /// is cut by up to half at random.
    pub backoff: Duration,
    /// The longest such wait.
    pub longest_backoff: Duration,
    /// Certificates of authorities, in PEM, that the servers' certificates are checked against
    /// (`rediss`); `None` for the public ones (Mozilla's list).
    pub roots: Option<Vec<u8>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            publish_queue: 16_384,
            publish_bytes: 32 << 20,
            batch: 512,
            receive_queue: 16_384,
            receive_bytes: 32 << 20,
            changes: 65_536,
            connect_timeout: Duration::from_secs(3),
            reply_timeout: Duration::from_secs(3),
            ping: Duration::from_secs(1),
            backoff: Duration::from_millis(100),
            longest_backoff: Duration::from_secs(2),
            roots: None,
        }
    }
}
