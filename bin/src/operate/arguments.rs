//! The command line of `parlor admin`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Examples:
  parlor admin nodes
      Says how the node on this machine is, by its side port (parlor serve --admin 127.0.0.1:6001).
  parlor admin --node 10.0.0.1:6001 --node 10.0.0.2:6001 who ada
      Says where ada is connected, on these two nodes.
  parlor admin lock mallory
      Ends mallory's sessions on every node, and lets none begin until `parlor admin unlock mallory`.
  parlor admin password ada --generate
      Gives ada a password that it prints, and ends her sessions.
  parlor admin announce 'Maintenance at noon, for ten minutes'
      Says so to everyone who is connected to the nodes that are named.
  parlor admin message --from ada --key k-17
      Says where ada's message is stored, and when each node published, heard and pushed it.

Where the nodes have an `admin_token`, it comes from PARLOR_ADMIN_TOKEN, or from a file:
--token-file. Where they have none, they take orders from their own machine alone. The side port
speaks plain HTTP: over a network that is not your own, go through ssh
(ssh -L 6001:127.0.0.1:6001 HOST).

What a command says of accounts and messages is on stdout: a table, or with --json an object. It exits
1 where a node could not be asked or refused, with a sentence on stderr for each; what the others
said is printed all the same.";

/// Which nodes to ask, and what.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A node's side port; repeat it to ask several nodes.
    #[arg(
        long = "node",
        global = true,
        value_name = "HOST:PORT",
        env = "PARLOR_ADMIN_NODES",
        value_delimiter = ',',
        default_value = "127.0.0.1:6001"
    )]
    pub(super) nodes: Vec<String>,

    /// The file with the nodes' admin token. [default: the variable PARLOR_ADMIN_TOKEN]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,

    /// Prints one JSON object instead of a table.
    #[arg(long, global = true)]
    pub(super) json: bool,

    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lists the nodes, and how each is.
    Nodes,
    /// Lists the sessions that are connected.
    Sessions {
        /// At most so many of each node.
        #[arg(long, value_name = "COUNT", default_value_t = 1000,
              value_parser = clap::value_parser!(u16).range(1..=10_000))]
        limit: u16,
    },
    /// Says what an account is, and where its user is connected.
    Who(User),
    /// Ends every session of a user, on every node.
    End(User),
    /// Locks an account: ends its sessions, and lets none begin.
    Lock(User),
    /// Unlocks an account.
    Unlock(User),
    /// Sets a user's password, and ends the sessions. Asks for it on a terminal, and reads it from the
    /// first line of stdin elsewhere.
    Password {
        #[command(flatten)]
        user: User,

        /// Makes a password up and prints it.
        #[arg(long)]
        generate: bool,
    },
    /// Says something to everyone who is connected.
    Announce {
        /// What to say, in at most 2048 bytes.
        text: String,
    },
    /// Has a node finish what is under way, tell its clients to go elsewhere, and end.
    Drain,
    /// Says where a message is: stored when, published when, pushed to which sessions.
    Message(Message),
}

/// An account, by its name or its number.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct User {
    /// The user's name.
    #[arg(value_name = "NAME")]
    pub(super) name: Option<String>,

    /// The user's number, instead of the name.
    #[arg(long, value_name = "NUMBER")]
    pub(super) id: Option<u64>,
}

/// A message: what a user sent with a key, or what stands in a log under a number.
#[derive(Clone, Debug, Args)]
pub(super) struct Message {
    /// Who sent it, by name.
    #[arg(long, value_name = "NAME", requires = "key", conflicts_with_all = ["from_id", "seq"])]
    pub(super) from: Option<String>,

    /// Who sent it, by number.
    #[arg(long, value_name = "NUMBER", requires = "key", conflicts_with = "seq")]
    pub(super) from_id: Option<u64>,

    /// The key that it was sent with.
    #[arg(
        long,
        value_name = "KEY",
        required_unless_present = "seq",
        conflicts_with = "seq"
    )]
    pub(super) key: Option<String>,

    /// The number of the group that it is in.
    #[arg(long, value_name = "NUMBER", requires = "seq", conflicts_with_all = ["users", "key"])]
    pub(super) group: Option<u64>,

    /// The numbers of the two users whose direct conversation it is in.
    #[arg(
        long,
        value_name = "NUMBER",
        num_args = 2,
        requires = "seq",
        conflicts_with = "key"
    )]
    pub(super) users: Option<Vec<u64>>,

    /// Its number in the log.
    #[arg(long, value_name = "NUMBER", required_unless_present = "key")]
    pub(super) seq: Option<u64>,
}
