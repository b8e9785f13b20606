//! The side port of a real node: what it says of health, and that its numbers are right.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod program_world;
mod side_world;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use parlor_servers::{MariaDb, Redis};
use serde_json::{Value, json};
use tempfile::TempDir;

use program_world::{Client, Server, command, poll};
use side_world::{Metrics, SIDE_PORT, exchange, get, side_port};

#[test]
fn metrics_of_a_thousand_messages_add_up() {
    let folder = TempDir::new().unwrap();
    let server = Server::start_with(folder.path(), "limits.rates = false", &SIDE_PORT);
    let address = side_port(&server.ready);
    let [mut alice, mut bob] = [(), ()].map(|()| Client::connect(server.port));
    let from = alice.register_and_login("alice");
    let to = bob.register_and_login("bob");
    alice.ok(json!({"op": "friend_request", "user": to}));
    bob.ok(json!({"op": "friend_accept", "user": from}));
    let before = Metrics::read(&address);
    for number in 0..1000 {
        let key = format!("key {number}");
        let request = json!({"op": "send", "to": {"user": to}, "key": key, "text": "x"});
        alice.ok(request);
    }
    bob.until(|frame| frame["seq"] == 1000);
    let refused = json!({"op": "send", "to": {"user": 999}, "key": "k", "text": "x", "id": 7});
    let refused = alice.ask(&refused);
    assert_eq!(refused["error"]["code"], "no_such_user");
    let after = Metrics::read(&address);
    let rose = |name: &str| after.get(name) - before.get(name);
    assert_eq!(after.requests("send", "ok"), 1000.0);
    assert_eq!(after.requests("send", "no_such_user"), 1.0);
    assert_eq!(after.get("parlor_connections_made_total"), 2.0);
    assert_eq!(rose("parlor_entries_total"), 1000.0);
    assert_eq!(rose("parlor_pushes_total"), 2000.0, "to both of them");
    let of_histogram = |name: &str| {
        let bucket = |bound: &str| after.get(&format!("parlor_{name}_bucket{{le=\"{bound}\"}}"));
        let bounds = [
            "0.0", "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1",
        ];
        let bounds = bounds
            .into_iter()
            .chain(["0.25", "0.5", "1.0", "5.0", "+Inf"]);
        let counts: Vec<f64> = bounds.map(bucket).collect();
        assert!(counts.is_sorted(), "{name}: {counts:?}");
        let all = after.get(&format!("parlor_{name}_count"));
        assert_eq!(counts.last(), Some(&all), "{name}");
        rose(&format!("parlor_{name}_count"))
    };
    assert_eq!(of_histogram("request_seconds"), 1001.0);
    assert_eq!(of_histogram("commit_seconds"), 1000.0, "one was refused");
    assert_eq!(of_histogram("push_seconds"), 2000.0, "both were there");
    let transactions = rose("parlor_store_transactions_total");
    assert_eq!(of_histogram("store_commit_seconds"), transactions);
    of_histogram("store_read_seconds");
    assert_eq!(rose("parlor_store_changes_total"), 1001.0);
    assert!(rose("parlor_store_transactions_total") <= 1001.0);
    assert_eq!(after.get("parlor_connections"), 2.0);
    assert_eq!(after.get("parlor_users"), 2.0);
    assert_eq!(after.get("parlor_ready"), 1.0);
    assert!(after.get("parlor_process_resident_bytes") > 1e6);
    let status: Value = serde_json::from_str(&get(&address, "/status").1).unwrap();
    assert_eq!(
        status["entries"].as_f64(),
        Some(after.get("parlor_entries_total"))
    );
    assert_eq!(status["relay"], "none");
}

#[test]
fn what_is_no_such_request_is_refused_and_disturbs_nobody() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &SIDE_PORT);
    let address = side_port(&server.ready);
    // These say nothing, for as long as they may.
    let _silent: Vec<TcpStream> = (0..10)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    assert_eq!(get(&address, "/healthz"), (200, "ok\n".to_owned()));
    let (status, page) = get(&address, "/");
    assert_eq!(status, 200);
    assert!(page.contains("<title>Parlor</title>"), "{page}");
    let elsewhere = ["http://", "https://", "//"];
    assert!(!elsewhere.iter().any(|it| page.contains(&format!("\"{it}"))));
    assert_eq!(get(&address, "/secret").0, 404);
    let post = "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(exchange(&address, post).0, 405);
    let garbage = exchange(&address, "\u{1}\u{2}\r\n\r\n").0;
    assert!([0, 400].contains(&garbage), "{garbage}");
    let endless = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let mut stream = TcpStream::connect(&address).unwrap();
    // It may be told to stop before it has said everything.
    let _refused = stream.write_all(endless.as_bytes());
    drop(stream);
    let mut client = Client::connect(server.port);
    client.ok(json!({"op": "ping"}));
    assert_eq!(get(&address, "/readyz").0, 200);
}

/// Waits until `/readyz` says so of `part`, and returns everything that it says.
fn until(address: &str, part: &str, state: &str) -> Value {
    poll(&format!("{part} is {state}"), || {
        let (status, body) = get(address, "/readyz");
        let said: Value = serde_json::from_str(&body).ok()?;
        let ready = said["ready"] == true;
        assert_eq!(status, if ready { 200 } else { 503 }, "{body}");
        (said[part] == state).then_some(said)
    })
}

/// Makes a command that runs a node of a cluster, with a side port.
fn member(folder: &Path, relay: &str, store: &str) -> std::process::Command {
    let mut command = command(folder);
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(SIDE_PORT)
        .args(["--relay", relay, "--store", store])
        .env("PARLOR_SECRET", "of a cluster, 32 bytes long or more");
    command
}

#[test]
fn readiness_turns_with_the_relay_and_the_store() {
    let folder = TempDir::new().unwrap();
    let mut database = MariaDb::start(&folder.path().join("mariadb"), &[]).unwrap();
    let store = database.create_database("parlor").unwrap();
    let mut redis = Redis::start(&folder.path().join("redis"), None, &[]).unwrap();
    let mut server = Server::spawn(&mut member(folder.path(), &redis.url(), &store));
    let address = side_port(&server.ready);
    assert_eq!(until(&address, "relay", "up")["ready"], true);
    redis.server.kill9().unwrap();
    let said = until(&address, "relay", "down");
    assert_eq!(
        (&said["ready"], &said["store"]),
        (&json!(false), &json!("up"))
    );
    redis.server.restart().unwrap();
    assert_eq!(until(&address, "relay", "up")["ready"], true);
    database.server.kill9().unwrap();
    let said = until(&address, "store", "down");
    assert_eq!(
        (&said["ready"], &said["relay"]),
        (&json!(false), &json!("up"))
    );
    assert_eq!(get(&address, "/healthz").0, 200, "it lives all the same");
    database.server.restart().unwrap();
    assert_eq!(until(&address, "store", "up")["ready"], true);
    let metrics = Metrics::read(&address);
    assert!(metrics.get("parlor_relay_reconnects_total") >= 1.0);
    // It tells other nodes that it lives.
    let published = metrics.get("parlor_relay_publish_seconds_count");
    assert!(published >= 1.0, "{metrics:?}");
    let all = metrics.get("parlor_relay_publish_seconds_bucket{le=\"+Inf\"}");
    assert_eq!(all, published);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_side_port_that_is_taken_is_named() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &SIDE_PORT);
    let address = side_port(&server.ready);
    let other = TempDir::new().unwrap();
    let mut command = command(other.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", &address]);
    let (code, _, complaint) = program_world::finished(&mut command);
    assert_eq!(code, Some(1));
    assert!(complaint.contains("--admin"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}

#[test]
fn the_side_port_serves_so_many_at_a_time_and_waits_for_none_of_them_for_long() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &SIDE_PORT);
    let address = side_port(&server.ready);
    // They begin a request and never end it.
    let mut silent: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(get(&address, "/healthz").0, 200, "it comes to its turn");
    let ended = |stream: &mut TcpStream| {
        stream.set_nonblocking(true).unwrap();
        stream.read(&mut [0; 1]).is_ok_and(|count| count == 0)
    };
    let cut = silent.iter_mut().map(ended).filter(|ended| *ended).count();
    assert!(cut > 0, "none had to go first");
    for stream in &mut silent {
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let end = stream.read(&mut [0; 1]).map_err(|error| error.kind());
        assert!(
            matches!(end, Ok(0) | Err(ErrorKind::ConnectionReset)),
            "{end:?}"
        );
    }
}
