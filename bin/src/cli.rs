//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::logging::LogFormat;
use crate::{bench, chat, cluster, dev_cert, migrate, operate};

const SERVE_EXAMPLES: &str = "\
Examples:
  parlor serve
      Listens on 127.0.0.1:6000 and keeps everything in ./parlor.db.
  parlor serve --listen 0.0.0.0:6000 --store sqlite:/var/lib/parlor/parlor.db
      Serves the whole network from a file of your choice.
  parlor serve --listen none --tls-listen 0.0.0.0:6443 --tls-cert cert.pem --tls-key key.pem
      Speaks TLS and nothing else. SIGHUP makes it read both files anew, for new connections; files
      that cannot be used are an error in the log, and what was there stays.
  parlor serve --config /etc/parlor.toml
      Takes everything from a file; flags beat the environment, which beats the file.

It prints one line when it is ready. SIGTERM and SIGINT let it finish what is under way, tell its
clients, and exit 0 within 30 seconds; a second one ends it at once (130 or 143). It exits 1 when it
cannot start or breaks, 2 when it was called wrongly.";

const CHECK_EXAMPLES: &str = "\
Examples:
  parlor check-config --config /etc/parlor.toml
      Prints every setting as `parlor serve` would use it, secrets left out, or what is wrong.
  parlor check-config
      Prints the defaults, as a file to begin with.";

const MIGRATE_EXAMPLES: &str = "\
Examples:
  parlor migrate --config /etc/parlor.toml --dry-run
      Says which migrations the store lacks.
  parlor migrate --config /etc/parlor.toml
      Applies them. Servers do so themselves when they start, unless their file says migrate = false.
      Where many do at once, one does it and the others wait.";

const EXAMPLES: &str = "\
Examples:
  parlor serve                               starts a server with everything at its default
  parlor chat --name ada                     chats on the server on this machine
  parlor cluster                             tries several nodes on this machine
  parlor check-config --config parlor.toml   shows what a configuration comes to";

/// A chat server, and a client for the terminal.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the server.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(ServeArguments),
    /// Chats in the terminal.
    Chat(chat::Arguments),
    /// Looks after running servers: who is where, what became of a message, locks, passwords.
    Admin(operate::Arguments),
    /// Brings the store's tables up to date.
    #[command(after_help = MIGRATE_EXAMPLES)]
    Migrate(migrate::Arguments),
    /// Runs a cluster on this machine, to try one or to develop for one.
    Cluster(cluster::Arguments),
    /// Makes a certificate that signs itself, to try TLS out.
    DevCert(dev_cert::Arguments),
    /// Puts a server under load, checks all that it does, and says how it did.
    Bench(bench::Arguments),
    /// Does a share of `parlor bench`.
    #[command(hide = true)]
    BenchWorker,
    /// Moves bytes, to compare a server with.
    #[command(hide = true)]
    BenchRouter(bench::router::Arguments),
    /// Prints the effective configuration, or what is wrong with it.
    #[command(after_help = CHECK_EXAMPLES)]
    CheckConfig(ServeArguments),
}

/// Where to find the settings, and those that have flags.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeArguments {
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "PARLOR_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Where to listen: host:port; port 0 takes any that is free; none for TLS alone.
    /// [default: 127.0.0.1:6000]
    #[arg(long, value_name = "ADDR", env = "PARLOR_LISTEN")]
    pub(crate) listen: Option<String>,

    /// Where to listen with TLS, beside --listen. [default: 127.0.0.1:6443 with --tls-cert, else none]
    #[arg(long, value_name = "ADDR", env = "PARLOR_TLS_LISTEN")]
    pub(crate) tls_listen: Option<String>,

    /// The server's certificate, followed by those that lead to its authority (PEM). [default: none]
    #[arg(long, value_name = "FILE", env = "PARLOR_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM). [default: none]
    #[arg(long, value_name = "FILE", env = "PARLOR_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Where to keep everything: sqlite:FILE, or mysql://user:password@host:port/database.
    /// [default: sqlite:parlor.db]
    #[arg(long, value_name = "URL", env = "PARLOR_STORE", hide_env_values = true)]
    pub(crate) store: Option<String>,

    /// The Redis that connects the nodes of a cluster, which needs the same PARLOR_SECRET on each:
    /// redis://[user:password@]host:port, rediss:// with TLS, redis+sentinel://host,host/master, or
    /// redis+cluster://host,host. [default: none]
    #[arg(long, value_name = "URL", env = "PARLOR_RELAY", hide_env_values = true)]
    pub(crate) relay: Option<String>,

    /// A network of trusted proxies, such as 10.0.0.0/8; may be repeated. Connections from there must
    /// begin with the PROXY protocol, which tells the client's address. [default: none]
    #[arg(
        long,
        value_name = "CIDR",
        env = "PARLOR_PROXY_FROM",
        value_delimiter = ','
    )]
    pub(crate) proxy_from: Vec<String>,

    /// Where operators look at the node over HTTP, such as 127.0.0.1:6001 (/, /healthz, /readyz and
    /// /metrics), and where `parlor admin` gives it orders. [default: none]
    #[arg(long, value_name = "ADDR", env = "PARLOR_ADMIN")]
    pub(crate) admin: Option<String>,

    /// What to log, on stderr: off, error, warn, info, debug or trace; or a list with the names of
    /// parts, such as info,sqlx=debug. [default: info]
    #[arg(long, value_name = "LEVEL", env = "PARLOR_LOG")]
    pub(crate) log: Option<String>,

    /// How a log line looks; auto is human on a terminal and json elsewhere. [default: auto]
    #[arg(long, value_name = "FORMAT", env = "PARLOR_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}
