//! Nodes of the program over a private MariaDB and Redis, with or without nginx in front.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parlor_servers::{Launch, MariaDb, Nginx, Redis, Server, free_port};
use tempfile::TempDir;

use super::{HANG, poll};
use crate::balancer_world::nginx;
use crate::program_world::Client;

/// What a drain may take, whatever clients do.
const DRAIN: Duration = Duration::from_secs(30);

/// A running node.
pub(crate) struct Node {
    pub(crate) server: Server,
    pub(crate) port: u16,
    /// The address of its side port.
    pub(crate) side: String,
}

/// Everything that runs; ended from the top. After a failure, the folder with all logs is kept.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    /// Where there is one, clients come through it alone.
    pub(crate) nginx: Option<Nginx>,
    pub(crate) redis: Redis,
    pub(crate) database: MariaDb,
    folder: TempDir,
}

impl Cluster {
    /// Starts so many nodes that clients reach directly.
    pub(crate) fn start(nodes: usize) -> Self {
        Self::with(nodes, false)
    }

    /// Starts so many nodes behind an nginx with the committed configuration.
    pub(crate) fn balanced(nodes: usize) -> Self {
        Self::with(nodes, true)
    }

    fn with(nodes: usize, balanced: bool) -> Self {
        let folder = tempfile::Builder::new().prefix("parlor-load-").tempdir();
        let folder = folder.unwrap();
        let database = MariaDb::start(&folder.path().join("mariadb"), &[]).unwrap();
        let store = database.create_database("parlor").unwrap();
        let redis = Redis::start(&folder.path().join("redis"), None, &[]).unwrap();
        let mut settings = format!(
            "store = \"{store}\"\nrelay = \"{}\"\nsecret = \"of a cluster, 32 bytes long or more\"\n",
            redis.url(),
        );
        if balanced {
            settings.push_str("proxy_from = [\"127.0.0.1\"]\n");
        }
        settings
            .push_str("limits.rates = false\npassword.memory_kib = 8\npassword.iterations = 1\n");
        let start = |number| node(&folder.path().join(format!("node-{number}")), &settings);
        let nodes: Vec<Node> = (1..=nodes).map(start).collect();
        let ports: Vec<u16> = nodes.iter().map(|node| node.port).collect();
        Self {
            nginx: balanced.then(|| nginx(folder.path(), &ports)),
            nodes,
            redis,
            database,
            folder,
        }
    }

    /// Returns the port for a client whose place is this node: nginx's, where there is one.
    pub(crate) fn port(&self, node: usize) -> u16 {
        match &self.nginx {
            Some(nginx) => nginx.port(),
            None => self.nodes[node].port,
        }
    }

    /// Connects to a node, past nginx.
    pub(crate) fn client(&self, node: usize) -> Client {
        let mut stream = TcpStream::connect(("127.0.0.1", self.nodes[node].port)).unwrap();
        if self.nginx.is_some() {
            stream.write_all(b"PROXY UNKNOWN\r\n").unwrap();
        }
        Client::over(stream)
    }

    /// Restarts a node: waits until it has drained and ended well, and starts it again. Returns how
    /// long the drain took.
    pub(crate) fn restart(&mut self, node: usize) -> Duration {
        let server = &mut self.nodes[node].server;
        let begin = Instant::now();
        server.ask_to_end().unwrap();
        let ended = poll("a drain ends", HANG, || server.ended());
        let took = begin.elapsed();
        assert_eq!(ended.code(), Some(0), "a drain exits 0: {ended}");
        assert!(took < DRAIN, "a drain took {took:?}");
        server.restart().unwrap();
        took
    }

    /// Returns the nodes' processes.
    pub(crate) fn pids(&mut self) -> Vec<Option<u32>> {
        let pid = |node: &mut Node| node.server.pid().filter(|_| node.server.is_running());
        self.nodes.iter_mut().map(pid).collect()
    }

    /// Returns where everything is logged.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            // There is nobody to drain for.
            let _ended = node.server.kill9();
        }
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            println!("logs are kept: {}", self.folder.path().display());
        }
    }
}

/// Starts a node on a port that it keeps over restarts.
fn node(folder: &Path, settings: &str) -> Node {
    fs::create_dir(folder).unwrap();
    let port = free_port().unwrap();
    let side = format!("127.0.0.1:{}", free_port().unwrap());
    let settings = format!("listen = \"127.0.0.1:{port}\"\nadmin = \"{side}\"\n{settings}");
    fs::write(folder.join("parlor.toml"), settings).unwrap();
    let launch = Launch {
        name: "node".to_owned(),
        program: PathBuf::from(env!("CARGO_BIN_EXE_parlor")),
        arguments: ["serve", "--config", "parlor.toml"]
            .map(str::to_owned)
            .into(),
        folder: folder.to_owned(),
        with_owner: "KILL",
        ready: Box::new(move |_| TcpStream::connect(("127.0.0.1", port)).map(drop)),
    };
    let server = Server::start(launch).unwrap_or_else(|error| panic!("{error}"));
    Node { server, port, side }
}
