//! `parlor cluster`: a developer's cluster on one machine.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use async_signal::{Signal, Signals};
use async_std::{future, task};
use clap::Args;
use futures::{FutureExt as _, StreamExt as _};
use parlor_servers::{
    END, Launch, MariaDb, Nginx, Redis, Server, ServerError, balancer, free_port, stream_module,
};
use tempfile::TempDir;
use thiserror::Error;

use crate::serve::DRAIN;
use crate::{fail, print};

const EXAMPLES: &str = "\
Examples:
  parlor cluster
      Three nodes, MariaDB, Redis and nginx on free ports, in a temporary folder.
  parlor cluster --nodes 2 --folder ./cluster --log debug
      Keeps data and logs in a folder, where a later run finds them again.

It prints a line for each member and where to chat, and runs until Ctrl-C, which stops everything. It
needs MariaDB, Redis, nginx with its module stream, and setpriv, and says which package is missing.";

/// The database that the nodes share.
const DATABASE: &str = "parlor";

/// How often the members are looked at.
const WATCH: Duration = Duration::from_millis(500);

// A node is not killed while it may still drain.
const _: () = assert!(DRAIN.as_secs() < END.as_secs());

/// What cluster to run.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// How many nodes.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    nodes: u8,

    /// Where to keep data and logs, whatever happens. [default: a folder that is gone at the end]
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,

    /// What the nodes log, as for `parlor serve`.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: String,
}

/// Why there is no cluster.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    #[error("cannot use the folder {}: {error}", path.display())]
    Folder { path: PathBuf, error: io::Error },
    #[error("cannot make a temporary folder: {0}")]
    Temporary(io::Error),
    #[error("cannot find this program: {0}")]
    Program(io::Error),
    #[error("cannot get random bytes from the system: {0}")]
    Random(getrandom::Error),
    #[error("stopped before everything ran")]
    Stopped,
}

impl Failure {
    /// Tells whether there are logs that may say more.
    fn has_logs(&self) -> bool {
        matches!(
            self,
            Self::Server(ServerError::Ended { .. } | ServerError::Silent { .. })
        )
    }
}

/// Everything that runs; ended from the top when it is dropped.
struct Members {
    nodes: Vec<Server>,
    balancer: Nginx,
    redis: Redis,
    database: MariaDb,
}

/// Runs a cluster to its end.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let (folder, temporary) = match folder(arguments.folder.as_deref()) {
        Ok(found) => found,
        Err(failure) => return fail(&failure),
    };
    match task::block_on(cluster(arguments, &folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.has_logs()
                && let Some(temporary) = temporary
            {
                let _kept = temporary.keep();
            }
            fail(&failure)
        }
    }
}

/// Returns the folder to work in, and whether it is to be removed.
fn folder(given: Option<&Path>) -> Result<(PathBuf, Option<TempDir>), Failure> {
    if let Some(path) = given {
        let made = fs::create_dir_all(path).and_then(|()| fs::canonicalize(path));
        let folder = made.map_err(|error| unusable(path, error))?;
        return Ok((folder, None));
    }
    let temporary = tempfile::Builder::new()
        .prefix("parlor-cluster-")
        .tempdir()
        .map_err(Failure::Temporary)?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}

async fn cluster(arguments: &Arguments, folder: &Path) -> Result<(), Failure> {
    // First of all, so that no signal is lost.
    let mut signals = Signals::new([Signal::Term, Signal::Int]).map_err(Failure::Signals)?;
    // The members are started one after the other, each waited for on this thread, which has
    // nothing else to do.
    let mut members = start(arguments, folder, &mut signals)?;
    let address = local(members.balancer.port());
    say(&format!(
        "\nChat:  parlor chat --server {address} --name alice\nStop:  Ctrl-C\n"
    ));
    members.watch(&mut signals).await;
    say("stopping\n");
    members.stop();
    Ok(())
}

/// Starts the members, those first that others need.
fn start(arguments: &Arguments, folder: &Path, signals: &mut Signals) -> Result<Members, Failure> {
    // Known to be there before anything runs.
    stream_module()?;
    let mut report = |name: &str, port: u16, log: &Path| {
        say(&format!("{name:<10} {}  {}\n", local(port), log.display()));
        match signals.next().now_or_never() {
            Some(_) => Err(Failure::Stopped),
            None => Ok(()),
        }
    };
    say(&format!("{:<10} {}\n", "folder", folder.display()));
    let database = MariaDb::start(&folder.join("mariadb"), &[])?;
    report("mariadb", database.port(), &database.server.log())?;
    database.execute("", &format!("CREATE DATABASE IF NOT EXISTS `{DATABASE}`"))?;
    let redis = Redis::start(&folder.join("redis"), None, &[])?;
    report("redis", redis.port(), &redis.server.log())?;

    let settings = format!(
        "store = \"{}\"\nrelay = \"{}\"\nsecret = \"{}\"\nproxy_from = [\"127.0.0.1\"]\nlog = {}\nlog_format = \"human\"\n",
        database.url(DATABASE),
        redis.url(),
        secret(folder)?,
        toml::Value::String(arguments.log.clone()),
    );
    let (mut nodes, mut ports) = (Vec::new(), Vec::new());
    for number in 1..=arguments.nodes {
        let port = free_port()?;
        let name = format!("node-{number}");
        let node = node(&folder.join(&name), &name, port, &settings)?;
        report(&name, port, &node.log())?;
        nodes.push(node);
        ports.push(port);
    }
    let balancer = Nginx::start(&folder.join("nginx"), |port| balancer(port, &ports))?;
    report("nginx", balancer.port(), &balancer.server.log())?;
    Ok(Members {
        nodes,
        balancer,
        redis,
        database,
    })
}

/// Starts a node of this program.
fn node(folder: &Path, name: &str, port: u16, settings: &str) -> Result<Server, Failure> {
    let program = std::env::current_exe().map_err(Failure::Program)?;
    let settings = format!("listen = \"{}\"\n{settings}", local(port));
    let written = fs::create_dir_all(folder)
        .and_then(|()| write_privately(&folder.join("parlor.toml"), &settings));
    written.map_err(|error| unusable(folder, error))?;
    Ok(Server::start(Launch {
        name: name.to_owned(),
        program,
        arguments: ["serve", "--config", "parlor.toml"]
            .map(str::to_owned)
            .into(),
        folder: folder.to_owned(),
        with_owner: "TERM",
        ready: Box::new(move |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map(drop)),
    })?)
}

impl Members {
    /// Waits for a signal; meanwhile says of members that end by themselves that they did.
    async fn watch(&mut self, signals: &mut Signals) {
        let mut ended: Vec<PathBuf> = Vec::new();
        while future::timeout(WATCH, signals.next()).await.is_err() {
            for server in self.servers() {
                let log = server.log();
                if !server.is_running() && !ended.contains(&log) {
                    say(&format!("has ended: see {}\n", log.display()));
                    ended.push(log);
                }
            }
        }
    }

    /// Ends all: the nodes first, which tell their clients and need the others for it.
    fn stop(mut self) {
        for node in &mut self.nodes {
            // All at once; one that has ended already needs no word.
            let _ended = node.ask_to_end();
        }
        drop(self);
    }

    fn servers(&mut self) -> impl Iterator<Item = &mut Server> {
        let others = [
            &mut self.balancer.server,
            &mut self.redis.server,
            &mut self.database.server,
        ];
        self.nodes.iter_mut().chain(others)
    }
}

/// Returns the secret that the folder keeps, made at the first time.
fn secret(folder: &Path) -> Result<String, Failure> {
    let path = folder.join("secret");
    match fs::read_to_string(&path) {
        Ok(secret) => return Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unusable(&path, error)),
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(Failure::Random)?;
    let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    write_privately(&path, &secret).map_err(|error| unusable(&path, error))?;
    Ok(secret)
}

/// Writes a file that its owner alone may read.
fn write_privately(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}

fn unusable(path: &Path, error: io::Error) -> Failure {
    Failure::Folder {
        path: path.to_owned(),
        error,
    }
}

fn local(port: u16) -> String {
    format!("{}:{port}", Ipv4Addr::LOCALHOST)
}

fn say(text: &str) {
    // Nobody has to watch: a cluster whose stdout is closed runs all the same.
    let _closed = print(text);
}
