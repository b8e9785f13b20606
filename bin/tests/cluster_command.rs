//! `parlor cluster`: real nodes over a real MariaDB and Redis, behind a real nginx.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod chat_world;
mod program_world;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use chat_world::befriended;
use program_world::{Client, command, finished, poll};

/// A running `parlor cluster`, ended when it is dropped.
struct Cluster {
    child: Child,
    /// Name, port and log of each member, the balancer last.
    members: Vec<(String, u16, String)>,
}

impl Cluster {
    fn start(folder: &Path, nodes: &str) -> Self {
        let mut child = command(folder)
            .args(["cluster", "--nodes", nodes, "--log", "parlor=debug"])
            .args(["--folder", "cluster"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut members = Vec::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.by_ref().map_while(Result::ok) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [name, address, log] if address.starts_with("127.0.0.1:") => {
                    let port = address["127.0.0.1:".len()..].parse().unwrap();
                    members.push((name.to_owned(), port, log.to_owned()));
                }
                ["Stop:", ..] => break,
                _ => {}
            }
        }
        // It never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, members }
    }

    fn balancer(&self) -> u16 {
        let (name, port, _) = self.members.last().expect("the cluster runs");
        assert_eq!(name, "nginx");
        *port
    }

    fn log_of(&self, member: &str) -> String {
        let (_, _, log) = self
            .members
            .iter()
            .find(|(name, ..)| name == member)
            .unwrap();
        fs::read_to_string(log).unwrap()
    }

    fn interrupt(&mut self) -> Option<i32> {
        let status = Command::new("kill")
            .args(["-s", "INT", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        poll("the cluster ends", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Its members end with it. It may have ended already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

#[test]
fn people_on_two_nodes_chat() {
    let folder = TempDir::new().unwrap();
    let mut cluster = Cluster::start(folder.path(), "2");
    let names: Vec<&str> = cluster
        .members
        .iter()
        .map(|(name, ..)| name.as_str())
        .collect();
    assert_eq!(names, ["mariadb", "redis", "node-1", "node-2", "nginx"]);
    let (mut ann, mut bob) = befriended(&format!("127.0.0.1:{}", cluster.balancer()));
    for number in 1..=5 {
        ann.type_line(&format!("question {number}"));
        bob.expect(&format!("message ann {} question {number}", 2 * number - 1));
        bob.type_line(&format!("answer {number}"));
        ann.expect(&format!("message bob {} answer {number}", 2 * number));
    }
    ann.type_line("/group create crew");
    ann.expect_one("ok group create", |line| {
        line.starts_with("ok group create #")
    });
    let id = ann
        .seen
        .last()
        .unwrap()
        .split(['#', ' '])
        .nth(4)
        .unwrap()
        .to_owned();
    bob.type_line(&format!("/group join {id}"));
    ann.expect(&format!("group-event #{id} 2 joined bob"));
    bob.type_line(&format!("/open #{id}"));
    bob.type_line("hello crew");
    ann.expect(&format!("group-message #{id} bob 3 hello crew"));
    ann.type_line("hello bob");
    bob.expect(&format!("group-message #{id} ann 4 hello bob"));
    // One was at each.
    for node in ["node-1", "node-2"] {
        let log = cluster.log_of(node);
        assert!(log.contains("from=127.0.0.1"), "{node}: {log}");
    }
    drop((ann.finish(), bob.finish()));

    assert_eq!(cluster.interrupt(), Some(0));
    for (name, port, _) in &cluster.members {
        assert!(
            TcpStream::connect(("127.0.0.1", *port)).is_err(),
            "{name} lives on"
        );
    }
    for node in ["node-1", "node-2"] {
        assert!(cluster.log_of(node).contains(" drained"), "{node}");
    }
}

#[test]
fn a_cluster_keeps_what_its_folder_holds() {
    let folder = TempDir::new().unwrap();
    let mut cluster = Cluster::start(folder.path(), "1");
    let mut ada = Client::connect(cluster.balancer());
    ada.ok(json!({"op": "register", "name": "ada", "password": program_world::PASSWORD}));
    let session = ada.login("ada");
    let (user, token) = (&session["user"], &session["token"]);
    assert_eq!(cluster.interrupt(), Some(0));

    let cluster = Cluster::start(folder.path(), "2");
    for _ in 0..2 {
        // Whichever node it is.
        let mut ada = Client::connect(cluster.balancer());
        let session: Value = ada.ok(json!({"op": "resume", "token": token}));
        assert_eq!(session["user"], *user);
    }
}

#[test]
fn a_missing_package_is_named() {
    let folder = TempDir::new().unwrap();
    let (code, _, complaint) = finished(command(folder.path()).arg("cluster").env("PATH", ""));
    assert_eq!(code, Some(1));
    assert!(complaint.contains("install the package "), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}
