//! The real program under a service manager: what it tells it over a real socket (`sd_notify(3)`),
//! and what SIGHUP does.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod program_world;

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use parlor_servers::free_port;
use serde_json::json;
use tempfile::TempDir;

use program_world::{Client, Server, command};

/// The manager's end of the socket.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn over(socket: UnixDatagram) -> Self {
        let hang = Some(Duration::from_secs(60));
        socket.set_read_timeout(hang).unwrap();
        Self { socket }
    }

    fn at(path: &Path) -> Self {
        Self::over(UnixDatagram::bind(path).unwrap())
    }

    /// Returns the next thing that it is told.
    fn told(&self) -> String {
        let mut buffer = [0; 1024];
        let count = self.socket.recv(&mut buffer).expect("it is told nothing");
        String::from_utf8(buffer.get(..count).unwrap().to_vec()).unwrap()
    }

    /// Returns the next thing that it is told and that does not say that the node lives.
    fn told_news(&self) -> String {
        loop {
            let told = self.told();
            if told != "WATCHDOG=1" {
                return told;
            }
        }
    }
}

/// Makes a command that serves on a port.
fn serve(folder: &Path, port: u16) -> Command {
    let mut command = command(folder);
    command.args(["serve", "--listen", &format!("127.0.0.1:{port}")]);
    command
}

#[test]
fn a_manager_is_told_of_start_reload_and_end() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::at(&path);
    let port = free_port().unwrap();
    let mut starting = serve(folder.path(), port);
    starting.env("NOTIFY_SOCKET", &path);
    // The server's own word comes about the same time: only what it tells the manager is waited for.
    let server = std::thread::spawn(move || Server::spawn(&mut starting));
    let ready = manager.told();
    let mut client = Client::connect(port);
    assert!(client.ok(json!({"op": "ping"}))["at"].is_u64());
    let status = format!("READY=1\nSTATUS=listening on 127.0.0.1:{port}, storing in sqlite:");
    assert!(ready.starts_with(&status), "{ready}");

    let mut server = server.join().unwrap();
    server.signal("HUP");
    let reloading = manager.told();
    let (word, time) = reloading.split_once("\nMONOTONIC_USEC=").unwrap();
    assert_eq!(word, "RELOADING=1");
    assert!(time.parse::<u64>().unwrap() > 0, "{time}");
    assert_eq!(manager.told(), ready);

    server.signal("TERM");
    assert_eq!(manager.told(), "STOPPING=1\nSTATUS=draining");
    assert_eq!(
        client.until(|it| it["event"] == "notice")["code"],
        "draining"
    );
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_hangup_ends_nobody_who_has_no_certificate() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let mut client = Client::connect(server.port);
    client.register_and_login("ada");
    for _ in 0..3 {
        server.signal("HUP");
    }
    program_world::poll("the signal is met", || {
        server
            .has_logged("no certificate to read anew")
            .then_some(())
    });
    assert!(client.ok(json!({"op": "ping"}))["at"].is_u64());
    Client::connect(server.port).login("ada");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_node_that_ends_is_never_ready_again() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::at(&path);
    let mut command = serve(folder.path(), 0);
    command.env("NOTIFY_SOCKET", &path);
    let mut server = Server::spawn(&mut command);
    assert!(manager.told().starts_with("READY=1\n"));
    // They read nothing and do not close, so the end takes a moment.
    let _deaf = [(), ()].map(|()| Client::connect(server.port));
    server.signal("TERM");
    assert!(manager.told().starts_with("STOPPING=1\n"));
    server.signal("HUP");
    assert_eq!(server.wait(), Some(0));
    let logs = server.logs();
    assert!(logs.contains("no certificate to read anew"), "{logs}");
    manager.socket.set_nonblocking(true).unwrap();
    assert!(manager.socket.recv(&mut [0; 64]).is_err());
}

#[test]
fn a_watchdog_hears_from_a_node_that_works_over_an_abstract_socket() {
    let folder = TempDir::new().unwrap();
    let name = format!("parlor-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::over(UnixDatagram::bind_addr(&address).unwrap());
    let mut command = serve(folder.path(), 0);
    command
        .env("NOTIFY_SOCKET", format!("@{name}"))
        .env("WATCHDOG_USEC", "20000");
    let mut server = Server::spawn(&mut command);
    assert!(manager.told().starts_with("READY=1\n"));
    for _ in 0..5 {
        assert_eq!(manager.told(), "WATCHDOG=1");
    }
    server.signal("TERM");
    assert!(manager.told_news().starts_with("STOPPING=1\n"));
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_watchdog_of_another_process_hears_nothing() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify");
    let manager = Manager::at(&path);
    let mut command = serve(folder.path(), 0);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "20")
        .env("WATCHDOG_PID", "1");
    let mut server = Server::spawn(&mut command);
    Client::connect(server.port).register_and_login("ada");
    server.signal("TERM");
    assert!(manager.told().starts_with("READY=1\n"));
    assert!(manager.told().starts_with("STOPPING=1\n"));
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_manager_that_is_not_there_is_a_warning() {
    let folder = TempDir::new().unwrap();
    let mut command = serve(folder.path(), 0);
    command.env("NOTIFY_SOCKET", folder.path().join("nowhere"));
    let mut server = Server::spawn(&mut command);
    assert!(Client::connect(server.port).ok(json!({"op": "ping"}))["at"].is_u64());
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let logs = server.logs();
    assert!(logs.contains("cannot be told anything"), "{logs}");
}
