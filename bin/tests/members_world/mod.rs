//! Nodes of one cluster over a real MariaDB and Redis, behind a real nginx.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use parlor_servers::{MariaDb, Nginx, Redis};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use crate::balancer_world::nginx;
use crate::friends_world::Friends;
use crate::program_world::{Client, Server, command, poll};

pub(crate) const SECRET: &str = "of a cluster, 32 bytes long or more";

/// The database of a [`Cluster`].
const DATABASE: &str = "parlor";

/// What nodes share.
pub(crate) struct Backends {
    pub(crate) database: MariaDb,
    pub(crate) redis: Redis,
    pub(crate) folder: TempDir,
}

impl Backends {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let redis = Redis::start(&folder.path().join("redis"), Some("open-sesame"), &[]).unwrap();
        let database = MariaDb::start(&folder.path().join("mariadb"), &[]).unwrap();
        Self {
            database,
            redis,
            folder,
        }
    }

    /// Makes a command that runs a node over a store and a relay, with further settings.
    pub(crate) fn node(&self, name: &str, store: &str, relay: &str, settings: &str) -> Command {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        write_settings(&folder, store, relay, settings);
        let mut command = command(&folder);
        command.args(["serve", "--config", "parlor.toml"]);
        command
    }

    /// Starts two nodes at the same moment over a database.
    pub(crate) fn two_nodes(&self, database: &str) -> [Server; 2] {
        let store = self.database.url(database);
        let secret = format!("secret = {SECRET:?}");
        let commands = ["one", "two"].map(|name| {
            let name = format!("{name}-{database}");
            self.node(&name, &store, &self.redis.url(), &secret)
        });
        let starting =
            commands.map(|mut command| thread::spawn(move || Server::spawn(&mut command)));
        starting.map(|node| node.join().unwrap())
    }
}

/// Passwords cost nothing, and nobody is too fast.
fn write_settings(folder: &Path, store: &str, relay: &str, settings: &str) {
    let settings = format!(
        "listen = \"127.0.0.1:0\"\nstore = {store:?}\nrelay = {relay:?}\n{settings}\n\
         proxy_from = [\"127.0.0.1\"]\nlog = \"parlor=debug\"\n\
         [limits]\nrates = false\n[password]\nmemory_kib = 8\niterations = 1\n"
    );
    fs::write(folder.join("parlor.toml"), settings).unwrap();
}

/// Two nodes, what they share, and the balancer in front of them.
pub(crate) struct Cluster {
    pub(crate) nodes: [Server; 2],
    pub(crate) backends: Backends,
    nginx: Nginx,
    addresses: AtomicU8,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let backends = Backends::start();
        backends.database.create_database(DATABASE).unwrap();
        let nodes = backends.two_nodes(DATABASE);
        let ports = nodes.each_ref().map(|node| node.port);
        let nginx = nginx(backends.folder.path(), &ports);
        Self {
            nodes,
            backends,
            nginx,
            addresses: AtomicU8::new(1),
        }
    }

    /// Connects through the balancer, again and again until it is to this node.
    pub(crate) fn at(&self, node: usize) -> Client {
        // They stay until then: the balancer goes by how many there are.
        let mut others = Vec::new();
        loop {
            let (client, at) = self.anywhere();
            if at == node {
                return client;
            }
            others.push(client);
        }
    }

    /// Connects two who are friends through the balancer, Alice to the first node and Bob to the
    /// second.
    pub(crate) fn friends(&self) -> Friends {
        Friends::new(self.at(0), self.at(1))
    }

    /// Connects through the balancer, from an address by which the node is known.
    fn anywhere(&self) -> (Client, usize) {
        let last = self.addresses.fetch_add(1, Ordering::Relaxed);
        let from = Ipv4Addr::new(127, 0, 1, last);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.nginx.port()));
        socket.connect(&to.into()).unwrap();
        let mut client = Client::over(socket.into());
        client.ok(json!({"op": "ping"}));
        let line = format!("\"from\":\"{from}\"");
        let at = poll("a node logs the connection", || {
            self.nodes.iter().position(|node| node.has_logged(&line))
        });
        (client, at)
    }

    /// Runs statements on the database; returns what they print.
    pub(crate) fn sql(&self, statements: &str) -> String {
        let ran = self.backends.database.execute(DATABASE, statements);
        ran.unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Connects to a node as the balancer does.
pub(crate) fn directly(node: &Server) -> Client {
    let mut stream = TcpStream::connect(("127.0.0.1", node.port)).unwrap();
    stream.write_all(b"PROXY UNKNOWN\r\n").unwrap();
    Client::over(stream)
}

/// Waits until a user's only friend is shown as online or not.
pub(crate) fn sees(client: &mut Client, online: bool) {
    let friends = client.ok(json!({"op": "friends"}));
    if friends["friends"][0]["online"] != online {
        client.until(|frame| frame["event"] == "presence" && frame["online"] == online);
    }
}
