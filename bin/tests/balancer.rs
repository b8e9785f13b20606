//! Nodes behind a real nginx with the configuration that operators copy.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod balancer_world;
mod program_world;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};

use parlor_servers::balancer;
use serde_json::json;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use balancer_world::nginx;
use program_world::{Client, Server};

/// Starts a node of its own, which trusts the nginx of this machine.
fn node(folder: &TempDir, name: &str) -> Server {
    let folder = folder.path().join(name);
    fs::create_dir(&folder).unwrap();
    let arguments = ["--proxy-from", "127.0.0.0/8", "--log", "parlor=debug"];
    Server::start(&folder, &arguments)
}

/// Asks for nothing in particular on a connection of its own, and keeps it.
fn ping(port: u16) -> Client {
    let mut client = Client::connect(port);
    assert!(client.ok(json!({"op": "ping"}))["at"].is_u64());
    client
}

/// Ends a node and returns what it has logged.
fn logs_of(mut node: Server) -> String {
    node.signal("TERM");
    assert_eq!(node.wait(), Some(0));
    node.logs()
}

fn connections(logs: &str) -> usize {
    logs.matches("\"message\":\"connected\"").count()
}

#[test]
fn connections_are_spread_and_bring_their_addresses() {
    let folder = TempDir::new().unwrap();
    let nodes = [node(&folder, "a"), node(&folder, "b")];
    let nginx = nginx(folder.path(), &nodes.each_ref().map(|node| node.port));
    let clients: Vec<Client> = (0..10).map(|_| ping(nginx.port())).collect();
    // From an address of its own.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 77), 0));
    socket.bind(&from.into()).unwrap();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, nginx.port()));
    socket.connect(&to.into()).unwrap();
    let mut client = Client::over(socket.into());
    client.ok(json!({"op": "ping"}));
    drop((client, clients));
    let logs = nodes.map(logs_of);
    for logs in &logs {
        assert!(connections(logs) >= 5, "{logs}");
        assert!(logs.contains("\"from\":\"127.0.0.1\""), "{logs}");
    }
    let all = logs.concat();
    let own = "\"from\":\"127.0.0.77\"";
    assert_eq!(all.matches(own).count(), 1, "{all}");
}

#[test]
fn a_killed_node_is_passed_over() {
    let folder = TempDir::new().unwrap();
    let (a, mut b) = (node(&folder, "a"), node(&folder, "b"));
    let nginx = nginx(folder.path(), &[a.port, b.port]);
    let _before: Vec<Client> = (0..4).map(|_| ping(nginx.port())).collect();
    b.signal("KILL");
    assert_eq!(b.wait(), None);
    // None of these fails, and so all are at the other node.
    let clients: Vec<Client> = (0..50).map(|_| ping(nginx.port())).collect();
    drop(clients);
    assert!(connections(&logs_of(a)) >= 52);
}

#[test]
fn a_line_and_a_reload_add_a_node_or_take_one_out() {
    let folder = TempDir::new().unwrap();
    let (a, b) = (node(&folder, "a"), node(&folder, "b"));
    let mut nginx = nginx(folder.path(), &[a.port]);
    let mut staying = ping(nginx.port());
    nginx.reload(&balancer(nginx.port(), &[b.port])).unwrap();
    // The old workers may still take a few. Only the second node knows this name.
    let mut direct = TcpStream::connect(("127.0.0.1", b.port)).unwrap();
    direct.write_all(b"PROXY UNKNOWN\r\n").unwrap();
    Client::over(direct).register_and_login("bob");
    let login = json!({"id": 0, "op": "login", "name": "bob", "password": program_world::PASSWORD});
    program_world::poll("a newcomer reaches the added node", || {
        let mut client = Client::connect(nginx.port());
        client.ask(&login)["ok"].is_object().then_some(())
    });
    // Whoever was connected still is.
    staying.ok(json!({"op": "ping"}));
    assert!(connections(&logs_of(a)) >= 1);
}

#[test]
fn who_sends_nothing_more_gets_the_answers() {
    let folder = TempDir::new().unwrap();
    let a = node(&folder, "a");
    let nginx = nginx(folder.path(), &[a.port]);
    let mut client = TcpStream::connect(("127.0.0.1", nginx.port())).unwrap();
    let requests: String = (0..50)
        .map(|id| format!("{{\"id\":{id},\"op\":\"ping\"}}\n"))
        .collect();
    client.write_all(requests.as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("\"ok\":").count(), 50, "{answers}");
}
