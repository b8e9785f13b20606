//! One connection: its session, its requests, its credit and its times.

use crate::engine::config::Config;
use crate::engine::guard::Network;
use crate::engine::pipeline::Pipeline;
use crate::engine::rate::Bucket;
use crate::engine::session::Session;
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) struct Connection {
    /// Where the client is, if it has an address.
    pub(super) network: Option<Network>,
    pub(super) session: Option<Box<Session>>,
    pub(super) pipeline: Pipeline,
    /// Weight that was sent and not yet reported as written.
    pub(super) outstanding: u32,
    /// Whether something was not pushed for want of credit.
    pub(super) starved: bool,
    /// Whether reading is paused.
    pub(super) paused: bool,
    /// Whether no more requests are taken: the client ended its side, or broke the framing.
    pub(super) input_ended: bool,
    /// Whether the connection was told to close.
    pub(super) closing: bool,
    /// Since when there has been no session.
    pub(super) anonymous_since: Timestamp,
    /// When the last frame came.
    pub(super) heard_at: Timestamp,
    /// When the client last accepted something, or was first sent something after that.
    pub(super) accepted_at: Timestamp,
    /// When the connection is looked at next.
    pub(super) alarm_at: Timestamp,
    pub(super) requests: Bucket,
    pub(super) logins: Bucket,
}

/// Why a connection's time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It was silent, or did not log in.
    Idle,
    /// It accepted nothing.
    Slow,
}

impl Connection {
    pub(super) fn new(network: Option<Network>, now: Timestamp) -> Self {
        Self {
            network,
            session: None,
            pipeline: Pipeline::default(),
            outstanding: 0,
            starved: false,
            paused: false,
            input_ended: false,
            closing: false,
            anonymous_since: now,
            heard_at: now,
            accepted_at: now,
            alarm_at: Timestamp(u64::MAX),
            requests: Bucket::default(),
            logins: Bucket::default(),
        }
    }

    /// Returns the first moment at which something is overdue, and what.
    pub(super) fn deadline(&self, config: &Config) -> (Timestamp, Overdue) {
        let mut first = (self.heard_at + config.idle, Overdue::Idle);
        // Who waits for an answer, or is not read from, is not silent: we are.
        if !self.pipeline.is_empty() || self.paused {
            first.0 = Timestamp(u64::MAX);
        }
        if self.session.is_none() && self.pipeline.is_empty() {
            let login = self.anonymous_since + config.login_timeout;
            first.0 = first.0.min(login);
        }
        if self.outstanding > 0 {
            let write = self.accepted_at + config.write_timeout;
            if write < first.0 {
                first = (write, Overdue::Slow);
            }
        }
        first
    }

    /// Tells whether events may be pushed now rather than fetched later.
    pub(super) const fn has_credit(&self, config: &Config) -> bool {
        !self.closing && self.outstanding < config.outgoing
    }
}
