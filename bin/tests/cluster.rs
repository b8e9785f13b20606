//! Several nodes over one store, with a real Redis between them.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod friends_world;
mod program_world;

use std::path::Path;

use parlor_servers::Redis;
use serde_json::{Value, json};
use tempfile::TempDir;

use friends_world::Friends;
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
    friends: Friends,
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
    let [alice, bob] = [&nodes[0], &nodes[1]].map(|node| Client::connect(node.port));
    Cluster {
        redis,
        nodes,
        friends: Friends::new(alice, bob),
        _folder: folder,
    }
}

#[test]
fn friends_on_two_nodes_talk_and_see_each_other() {
    let mut cluster = cluster();
    let online = |frame: &Value| frame["event"] == "presence" && frame["online"] == true;
    // Each learns of the other by the acceptance or by what is asked then.
    let friends = cluster.friends.alice.ok(json!({"op": "friends"}));
    if friends["friends"][0]["online"] != true {
        cluster.friends.alice.until(online);
    }
    cluster.friends.send_and_see();
    cluster.friends.type_until_seen();
    // A token of one node is one of the other.
    let token = Client::connect(cluster.nodes[0].port).login("alice")["token"].take();
    let mut moved = Client::connect(cluster.nodes[1].port);
    let resumed = moved.ok(json!({"op": "resume", "token": token}));
    assert_eq!(resumed["name"], "alice");
    drop(moved);
    let Cluster {
        mut nodes, friends, ..
    } = cluster;
    let Friends { alice, mut bob, .. } = friends;
    drop(alice);
    bob.until(|frame| frame["event"] == "presence" && frame["online"] == false);
    nodes[0].signal("TERM");
    assert_eq!(nodes[0].wait(), Some(0));
}

#[test]
fn without_redis_messages_come_slower_and_with_it_fast_again() {
    let mut cluster = cluster();
    cluster.friends.type_until_seen();
    cluster.redis.server.kill9().unwrap();
    cluster.friends.send_and_see();
    cluster.redis.server.restart().unwrap();
    cluster.friends.type_until_seen();
    cluster.redis.server.stop().unwrap();
    cluster.friends.send_and_see();
    cluster.redis.server.cont().unwrap();
    cluster.friends.type_until_seen();
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
