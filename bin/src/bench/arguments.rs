//! What one may ask of `parlor bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::order::Work;
use super::router::Routing;

const EXAMPLES: &str = "\
Examples:
  parlor bench pairs --pairs 100 --window 16
      100 users send to 100 others on the server on this machine, 16 messages under way in each pair.
  parlor bench pairs --connect 127.0.0.1:6001 --connect 127.0.0.1:6002
      The senders on one node, the receivers on the other.
  parlor bench flood --rate 5000 --server-pid $(pgrep -x parlor) --json flood.json
      Sends 5000 messages a second, whatever comes back, and says what the server used.

It registers the users that it needs, whose names begin with \"bench\", and leaves them there: use a
server of its own. Hashing passwords takes most of the preparation and rates limit the rest, so give
that server a file with

  [password]
  memory_kib = 8
  iterations = 1
  [limits]
  rates = false

Every message is checked: if one is lost, doubled or out of order, the result is void. It exits 0
with a result, 1 with none or a void one, 2 when it was called wrongly.";

/// What to measure, and how.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(super) work: WorkArguments,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Subcommand)]
pub(super) enum WorkArguments {
    /// Pairs of users, one of which sends to the other: the next message when one has arrived.
    Pairs {
        /// How many pairs.
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = count())]
        pairs: u32,
        /// How many messages each pair has under way.
        #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = count())]
        window: u32,
    },
    /// Pairs of users, where messages are sent when they are due, whatever comes back. How long they
    /// take counts from when they were due.
    Flood {
        /// How many pairs.
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = count())]
        pairs: u32,
        /// How many messages a second, of all pairs together.
        #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = count())]
        rate: u32,
    },
    /// One group, all of whose members are online and some of whom send.
    Group {
        /// How many members.
        #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = count())]
        members: u32,
        /// How many of them send.
        #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = count())]
        senders: u32,
        /// How many messages each sender has under way.
        #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = count())]
        window: u32,
    },
    /// Users who are logged in and do nothing: what a connection costs in memory.
    Idle {
        /// How many connections.
        #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = count())]
        connections: u32,
        /// How many friends each has, and so conversations; an even number.
        #[arg(long, value_name = "COUNT", default_value_t = 10)]
        friends: u32,
    },
    /// Users whose connections break all at once, and who come back by token.
    Storm {
        /// How many connections.
        #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = count())]
        connections: u32,
        /// How many messages each of them gets once it is back.
        #[arg(long, value_name = "COUNT", default_value_t = 10)]
        messages: u32,
    },
    /// Users who come back, again and again, to messages that they have missed.
    Replay {
        /// How many users.
        #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = count())]
        readers: u32,
        /// How many messages each has missed.
        #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = count())]
        messages: u32,
    },
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// Where a server listens: host:port. If given several times, users take turns.
    #[arg(
        long,
        global = true,
        value_name = "ADDR",
        default_value = "127.0.0.1:6000"
    )]
    pub(super) connect: Vec<String>,

    /// How long to measure.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(super) seconds: Duration,

    /// How long to work before that.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(super) warmup: Duration,

    /// How many bytes a message has. [default: 100]
    #[arg(long, global = true, value_name = "BYTES", default_value_t = 100, hide_default_value = true, value_parser = clap::value_parser!(u32).range(40..=16384))]
    pub(super) size: u32,

    /// How long to wait for what does not come.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(super) patience: Duration,

    /// How many processes the clients are spread over. [default: as many as need be]
    #[arg(long, global = true, value_name = "COUNT", value_parser = count())]
    pub(super) processes: Option<u32>,

    /// The server's process on this machine, whose processor time and memory are told; may be
    /// repeated.
    #[arg(long, global = true, value_name = "PID")]
    pub(super) server_pid: Vec<u32>,

    /// Another process whose use is told by itself, such as the database's; may be repeated.
    #[arg(long, global = true, value_name = "PID")]
    pub(super) other_pid: Vec<u32>,

    /// Where to write the result in JSON.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,

    /// Does the same work first over a router that only moves bytes, to compare with.
    #[arg(long, global = true, hide = true, value_enum, num_args = 0..=1, default_missing_value = "loop")]
    pub(super) with_router: Option<Routing>,
}

impl WorkArguments {
    /// Returns the work; fails with a sentence where it makes no sense.
    pub(super) fn work(&self) -> Result<Work, String> {
        Ok(match *self {
            Self::Pairs { pairs, window } => Work::Pairs { pairs, window },
            Self::Flood { pairs, rate } => Work::Flood { pairs, rate },
            Self::Group {
                members,
                senders,
                window,
            } if senders <= members && members > 1 => Work::Group {
                members,
                senders,
                window,
            },
            Self::Group { .. } => {
                return Err("a group needs two members, and senders among them".to_owned());
            }
            Self::Idle {
                connections,
                friends,
            } => Work::Idle {
                connections,
                friends,
            },
            Self::Storm {
                connections,
                messages,
            } => Work::Storm {
                connections,
                messages,
            },
            Self::Replay { readers, messages } => Work::Replay { readers, messages },
        })
    }
}

fn count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=10_000_000)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time <= Duration::from_secs(86_400) => Ok(time),
        _ => Err("it must be between 0 and 86400".to_owned()),
    }
}
