//! Several nodes over one store, with a real Redis between them.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod program_world;

use std::path::Path;

use parlor_servers::Redis;
use serde_json::{Value, json};
use tempfile::TempDir;

use program_world::{Client, Server, command, finished};

const SECRET: &str = "of a cluster, 32 bytes long or more";

/// Makes a command that runs a node of a cluster.
fn member(folder: &Path, relay: &str, store: &str) -> std::process::Command {
    let config = folder.join("parlor.toml");
    std::fs::write(&config, "[password]\nmemory_kib = 8\niterations = 1\n").unwrap();
    let mut command = command(folder);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(config)
        .args(["--relay", relay, "--store", store])
        .env("PARLOR_SECRET", SECRET);
    command
}

/// Two nodes, and a friend on each.
struct Cluster {
    redis: Redis,
    nodes: [Server; 2],
    alice: Client,
    bob: Client,
    /// Bob's number.
    to: u64,
    /// How many messages were sent.
    sent: u64,
    _folder: TempDir,
}

fn cluster() -> Cluster {
    let folder = TempDir::new().unwrap();
    let redis = Redis::start(&folder.path().join("redis"), None, &[]).unwrap();
    let store = format!("sqlite:{}", folder.path().join("store.db").display());
    let nodes = ["one", "two"].map(|name| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        Server::spawn(&mut member(&folder, &redis.url(), &store))
    });
    let [mut alice, mut bob] = [&nodes[0], &nodes[1]].map(|node| Client::connect(node.port));
    let from = alice.register_and_login("alice");
    let to = bob.register_and_login("bob");
    alice.ok(json!({"op": "friend_request", "user": to}));
    bob.ok(json!({"op": "friend_accept", "user": from}));
    // Her node knows it from then on.
    alice.until(|frame| frame["event"] == "friend" && frame["state"] == "friends");
    Cluster {
        redis,
        nodes,
        alice,
        bob,
        to,
        sent: 0,
        _folder: folder,
    }
}

impl Cluster {
    /// Sends a message from Alice to Bob; returns its text.
    fn send(&mut self) -> String {
        self.sent += 1;
        let text = format!("message {}", self.sent);
        let to = json!({"user": self.to});
        let send = json!({"op": "send", "to": to, "key": text, "text": text});
        self.alice.ok(send);
        text
    }

    /// Sends a message from Alice to Bob and waits until it is there.
    fn send_and_see(&mut self) {
        let text = self.send();
        self.bob.until(|frame| frame["text"] == text);
    }

    /// Has Alice write until Bob sees it: the store knows nothing of it, so it came by the relay.
    fn type_until_seen(&mut self) {
        for _ in 0..1000 {
            let writing = json!({"op": "typing", "to": {"user": self.to}});
            self.alice.ok(writing);
            // It comes for certain, and ends the wait.
            let text = self.send();
            let is_typing = |frame: &Value| frame["event"] == "typing";
            let frame = self
                .bob
                .until(|frame| is_typing(frame) || frame["text"] == text);
            if is_typing(&frame) {
                return;
            }
        }
        panic!("nothing comes by the relay");
    }
}

#[test]
fn friends_on_two_nodes_talk_and_see_each_other() {
    let mut cluster = cluster();
    let online = |frame: &Value| frame["event"] == "presence" && frame["online"] == true;
    // Each learns of the other by the acceptance or by what is asked then.
    let friends = cluster.alice.ok(json!({"op": "friends"}));
    if friends["friends"][0]["online"] != true {
        cluster.alice.until(online);
    }
    cluster.send_and_see();
    cluster.type_until_seen();
    // A token of one node is one of the other.
    let token = Client::connect(cluster.nodes[0].port).login("alice")["token"].take();
    let mut moved = Client::connect(cluster.nodes[1].port);
    let resumed = moved.ok(json!({"op": "resume", "token": token}));
    assert_eq!(resumed["name"], "alice");
    drop(moved);
    let Cluster {
        mut nodes,
        alice,
        mut bob,
        ..
    } = cluster;
    drop(alice);
    bob.until(|frame| frame["event"] == "presence" && frame["online"] == false);
    nodes[0].signal("TERM");
    assert_eq!(nodes[0].wait(), Some(0));
}

#[test]
fn without_redis_messages_come_slower_and_with_it_fast_again() {
    let mut cluster = cluster();
    cluster.type_until_seen();
    cluster.redis.server.kill9().unwrap();
    cluster.send_and_see();
    cluster.redis.server.restart().unwrap();
    cluster.type_until_seen();
    cluster.redis.server.stop().unwrap();
    cluster.send_and_see();
    cluster.redis.server.cont().unwrap();
    cluster.type_until_seen();
}

#[test]
fn a_wrong_password_of_redis_is_refused_and_a_redis_that_is_away_is_not() {
    let folder = TempDir::new().unwrap();
    let start = Redis::start(&folder.path().join("redis"), Some("right-pass-word"), &[]);
    let mut redis = start.unwrap();
    let wrong = format!("redis://:wrong-pass-word@127.0.0.1:{}", redis.port());
    let store = "sqlite:store.db";
    let (code, _, errors) = finished(&mut member(folder.path(), &wrong, store));
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("password"), "{errors}");
    assert!(!errors.contains("pass-word"), "{errors}");
    redis.server.kill9().unwrap();
    let mut node = Server::spawn(&mut member(folder.path(), &redis.url(), store));
    Client::connect(node.port).register_and_login("alice");
    node.signal("TERM");
    assert_eq!(node.wait(), Some(0));
    assert!(!node.logs().contains("pass-word"), "a password in the logs");
}
