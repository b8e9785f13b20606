//! What the processes of a run tell each other, one JSON value on a line: the one that was called
//! gives orders on stdin, its workers answer on stdout.
//!
//! ```text
//!   Order ──► connects, registers, logs in ──► Entered
//!   Relate ─► friends, groups, a past ───────► Ready
//!   Go ─────► works ──► Count, Count, ..
//!   Begin, End: what counts lies between them; it ends early with Finished
//!   End ────► sends no more, waits for replies ─► Stopped
//!   Drain ──► waits for what is on its way ─────► Done
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::latency::Recorded;
use super::ledger::Faults;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Work {
    /// Pairs of users, one of which sends; so many messages under way in each.
    Pairs { pairs: u32, window: u32 },
    /// The same, sending so many a second in all, whatever comes back.
    Flood { pairs: u32, rate: u32 },
    /// One group, some of whose members send.
    Group {
        members: u32,
        senders: u32,
        window: u32,
    },
    /// Connections that do nothing.
    Idle { connections: u32, friends: u32 },
    /// Connections that break all at once and come back, to so many messages each.
    Storm { connections: u32, messages: u32 },
    /// Clients that come back to so many messages, again and again.
    Replay { readers: u32, messages: u32 },
}

impl Work {
    /// Returns the work's name, that of the subcommand.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pairs { .. } => "pairs",
            Self::Flood { .. } => "flood",
            Self::Group { .. } => "group",
            Self::Idle { .. } => "idle",
            Self::Storm { .. } => "storm",
            Self::Replay { .. } => "replay",
        }
    }

    /// Returns how many users take part, each with a connection.
    pub(super) const fn users(self) -> u32 {
        match self {
            Self::Pairs { pairs, .. } | Self::Flood { pairs, .. } => pairs * 2,
            Self::Group { members, .. } => members,
            Self::Idle { connections, .. } => connections,
            // Of two each; the last one's other half may be one too many.
            Self::Storm { connections, .. } => connections.next_multiple_of(2),
            Self::Replay { readers, .. } => readers * 2,
        }
    }

    /// Returns how many users in a row belong into one process.
    pub(super) const fn together(self) -> u32 {
        match self {
            Self::Group { .. } | Self::Idle { .. } => 1,
            Self::Pairs { .. } | Self::Flood { .. } | Self::Storm { .. } | Self::Replay { .. } => 2,
        }
    }

    /// Returns how many processes can share it at most.
    pub(super) const fn most_processes(self) -> u32 {
        match self {
            // A sender goes on once another member of its process has its message.
            Self::Group { members, .. } => members / 2,
            _ => self.users() / self.together(),
        }
    }

    /// Tells whether a byte router can do it, which knows no accounts.
    pub(super) const fn suits_router(self) -> bool {
        matches!(
            self,
            Self::Pairs { .. } | Self::Flood { .. } | Self::Group { .. }
        )
    }
}

/// What a worker is told first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    /// Tells this run from others: eight hexadecimal digits.
    pub(super) run: String,
    /// What is measured, by all workers together.
    pub(super) work: Work,
    /// The first of this worker's users.
    pub(super) first: u32,
    /// How many users it has.
    pub(super) users: u32,
    /// Where the server listens; users take turns.
    pub(super) addresses: Vec<SocketAddr>,
    /// The bytes of a text.
    pub(super) size: usize,
    /// Whether it is no chat server but a byte router.
    pub(super) raw: bool,
    /// How long to wait for what should come, in milliseconds.
    pub(super) patience_ms: u64,
}

impl Order {
    /// Returns where a user of this worker connects.
    pub(super) fn address(&self, user: usize) -> Option<SocketAddr> {
        let first = usize::try_from(self.first).ok()?;
        let turn = (first + user).checked_rem(self.addresses.len())?;
        self.addresses.get(turn).copied()
    }

    /// Returns the name of a user of this worker.
    pub(super) fn name(&self, user: usize) -> String {
        format!("bench {} {}", self.run, self.index(user))
    }

    /// Returns a user's number among those of all workers.
    pub(super) fn index(&self, user: usize) -> u64 {
        u64::from(self.first) + u64::try_from(user).unwrap_or(u64::MAX)
    }

    /// Returns how many users this worker has.
    pub(super) fn count(&self) -> usize {
        usize::try_from(self.users).unwrap_or(usize::MAX)
    }

    /// Returns how long to wait for what should come.
    pub(super) const fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
    }
}

/// What a worker is told after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    /// Everyone has an account: make friends, or join this group.
    Relate { group: Option<u64> },
    /// Begin to work.
    Go,
    /// From here on it counts.
    Begin,
    /// From here on it does not; send no more.
    End,
    /// Wait for what is on its way; where all share a log, up to this number.
    Drain { last: u64 },
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    /// Of so many preparations, so many are done.
    Prepared { done: u64, all: u64 },
    /// Its users are logged in, and it made this group.
    Entered { group: Option<u64> },
    /// All is prepared.
    Ready,
    /// It has seen so many deliveries.
    Count { deliveries: u64 },
    /// There is nothing more to do.
    Finished,
    /// All that was sent is answered; this is the highest number in a log.
    Stopped { last: u64 },
    /// All has arrived, or will not.
    Done(Box<Outcome>),
    /// It cannot go on.
    Failed { why: String },
}

/// What came of a worker's work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Messages that were sent.
    pub(super) sent: u64,
    /// Messages that were acknowledged.
    pub(super) acknowledged: u64,
    /// Messages that arrived, once for each who got them.
    pub(super) deliveries: u64,
    /// Those between begin and end.
    pub(super) measured: u64,
    /// Sessions that went on between begin and end.
    pub(super) resumes: u64,
    /// Requests that were refused for a while, and repeated.
    pub(super) refusals: u64,
    /// How long it took until a message, or a client, arrived.
    pub(super) latency: Recorded,
    /// How late messages were sent that were due at a certain time.
    pub(super) lateness: Recorded,
    /// What went wrong.
    pub(super) faults: Faults,
}

#[cfg(test)]
mod tests {
    use super::{Command, Order, Outcome, Said, Work};
    use crate::bench::ledger::Faults;

    fn order() -> Order {
        Order {
            run: "0badcafe".to_owned(),
            work: Work::Pairs {
                pairs: 4,
                window: 2,
            },
            first: 2,
            users: 4,
            addresses: vec![
                "127.0.0.1:6000".parse().unwrap(),
                "127.0.0.1:6001".parse().unwrap(),
            ],
            size: 100,
            raw: false,
            patience_ms: 1000,
        }
    }

    fn again<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
        let line = serde_json::to_string(value).unwrap();
        assert!(!line.contains('\n'), "{line}");
        serde_json::from_str(&line).unwrap()
    }

    #[test]
    fn everything_goes_through_a_pipe() {
        assert_eq!(again(&order()), order());
        for command in [
            Command::Relate { group: Some(7) },
            Command::Relate { group: None },
            Command::Go,
            Command::Begin,
            Command::End,
            Command::Drain { last: 5 },
        ] {
            assert_eq!(again(&command), command);
        }
        let mut faults = Faults::default();
        faults.add(|| "a line\nand another".to_owned());
        let outcome = Outcome {
            sent: 1,
            faults,
            ..Outcome::default()
        };
        for said in [
            Said::Prepared { done: 1, all: 2 },
            Said::Entered { group: None },
            Said::Ready,
            Said::Count { deliveries: 3 },
            Said::Finished,
            Said::Stopped { last: 4 },
            Said::Done(Box::new(outcome)),
            Said::Failed {
                why: "x\ny".to_owned(),
            },
        ] {
            assert_eq!(again(&said), said);
        }
    }

    #[test]
    fn the_sender_of_a_pair_is_on_the_first_node_and_the_receiver_on_the_second() {
        let order = order();
        for pair in 0..2 {
            let ports = [0, 1].map(|user| order.address(pair * 2 + user).unwrap().port());
            assert_eq!(ports, [6000, 6001]);
        }
        assert_eq!(order.name(1), "bench 0badcafe 3");
    }

    #[test]
    fn pairs_are_whole() {
        let storm = Work::Storm {
            connections: 5,
            messages: 1,
        };
        assert_eq!((storm.users(), storm.together()), (6, 2));
        assert_eq!(order().work.users() % order().work.together(), 0);
    }
}
