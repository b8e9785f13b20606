//! `parlor bench` against the real server, and against one that does not keep its promises.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod bench_world;
mod program_world;

use std::fs;
use std::path::Path;

use serde_json::Value;

use bench_world::{Fake, Fault};
use program_world::{Server, command, finished};

/// Runs a work against a port; returns the exit code, the result in JSON, and what was printed.
fn bench(folder: &Path, port: u16, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let json = folder.join("result.json");
    let (code, out, errors) = finished(
        command(folder)
            .arg("bench")
            .args(arguments)
            .args(["--connect", &format!("127.0.0.1:{port}")])
            .args(["--seconds", "0.5", "--warmup", "0.1", "--json"])
            .arg(&json),
    );
    let result = fs::read(&json).unwrap_or_else(|_| panic!("no result: {out}\n{errors}"));
    let result = serde_json::from_slice(&result).unwrap();
    (code, result, format!("{out}\n{errors}"))
}

/// The same against a server of its own, which is told to the bench, and where all must go well.
fn measured(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), "[limits]\nrates = false", &[]);
    let pid = server.pid().to_string();
    let all = [arguments, &["--server-pid", &pid]].concat();
    let (code, result, text) = bench(folder.path(), server.port, &all);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(result["void"], false, "{text}");
    assert_eq!(result["faults"]["count"], 0, "{text}");
    assert_eq!(result["server"][0]["pid"], server.pid(), "{text}");
    assert!(result["server"][0]["rss"].as_u64().unwrap() > 0, "{text}");
    assert!(text.contains("checks"), "{text}");
    result
}

fn number(result: &Value, name: &str) -> u64 {
    result[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name}: {result}"))
}

/// Checks that all that was sent was acknowledged and came to each of so many.
fn adds_up(result: &Value, copies: u64) {
    let sent = number(result, "sent");
    assert!(sent > 0, "{result}");
    assert_eq!(number(result, "acknowledged"), sent);
    assert_eq!(number(result, "delivered"), sent * copies);
    assert!(number(result, "deliveries") <= sent * copies);
}

#[test]
fn pairs_in_two_processes() {
    let result = measured(&["pairs", "--pairs", "4", "--window", "3", "--processes", "2"]);
    adds_up(&result, 1);
    assert_eq!(result["processes"], 2);
    assert_eq!(result["work"]["pairs"]["window"], 3);
}

#[test]
fn a_flood_counts_from_when_a_message_was_due() {
    let result = measured(&["flood", "--pairs", "3", "--rate", "200"]);
    adds_up(&result, 1);
    let (latency, lateness) = (&result["latency_us"], &result["lateness_us"]);
    assert_eq!(latency["count"], lateness["count"], "{result}");
    assert!(number(latency, "count") > 0, "{result}");
    assert!(
        number(latency, "max") >= number(lateness, "p50"),
        "{result}"
    );
}

#[test]
fn a_group_in_two_processes() {
    let result = measured(&[
        "group",
        "--members",
        "7",
        "--senders",
        "2",
        "--window",
        "2",
        "--processes",
        "2",
    ]);
    adds_up(&result, 6);
}

#[test]
fn idle_connections_stay() {
    let result = measured(&["idle", "--connections", "12", "--friends", "4"]);
    assert_eq!(number(&result, "sent"), 0);
    assert!(
        result["rss_per_connection"].as_f64().unwrap() > 0.0,
        "{result}"
    );
}

#[test]
fn a_storm_ends_when_everyone_is_back() {
    let result = measured(&["storm", "--connections", "20", "--messages", "7"]);
    assert_eq!(number(&result, "resumes"), 20);
    assert_eq!(number(&result, "deliveries"), 20 * 7);
    assert_eq!(result["latency_us"]["count"], 20);
}

#[test]
fn replays_are_whole() {
    let result = measured(&["replay", "--readers", "2", "--messages", "500"]);
    let delivered = number(&result, "delivered");
    assert!(
        delivered >= 1000 && delivered.is_multiple_of(500),
        "{result}"
    );
}

#[test]
fn a_router_is_measured_in_the_same_run() {
    let result = measured(&["pairs", "--pairs", "2", "--with-router"]);
    adds_up(&result, 1);
    let router = &result["router"];
    let sent = number(router, "sent");
    assert!(sent > 0 && number(router, "delivered") == sent, "{router}");
    assert_eq!(router["void"], false);
    let work = ["group", "--members", "4", "--senders", "1", "--with-router"];
    for routing in ["loop", "loops", "tasks", "executors"] {
        let result = measured(&[&work[..], &[routing]].concat());
        let router = &result["router"];
        assert_eq!(number(router, "delivered"), number(router, "sent") * 3);
    }
}

/// Runs pairs against a server that goes wrong once; returns what is said of it.
fn void(fault: Fault, window: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::start(fault);
    let arguments = [
        "pairs",
        "--pairs",
        "2",
        "--window",
        window,
        "--patience",
        "2",
    ];
    let (code, result, text) = bench(folder.path(), fake.port, &arguments);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(result["void"], true, "{text}");
    assert!(number(&result["faults"], "count") > 0, "{text}");
    assert!(text.contains("VOID"), "{text}");
    text
}

/// Checks that something is said.
fn says(text: &str, what: &str) {
    assert!(text.contains(what), "{what:?} is not said: {text}");
}

#[test]
fn a_server_without_faults_is_not_blamed() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::start(Fault::None);
    let arguments = ["pairs", "--pairs", "2", "--window", "2"];
    let (code, result, text) = bench(folder.path(), fake.port, &arguments);
    assert_eq!(code, Some(0), "{text}");
    adds_up(&result, 1);
}

#[test]
fn what_is_refused_for_a_while_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::start(Fault::Delay);
    let arguments = ["pairs", "--pairs", "2", "--window", "3"];
    let (code, result, text) = bench(folder.path(), fake.port, &arguments);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(number(&result, "refusals"), 2, "{text}");
    adds_up(&result, 1);
}

#[test]
fn what_comes_twice_makes_the_result_void() {
    says(&void(Fault::Double, "2"), "twice or out of order");
}

#[test]
fn what_is_lost_makes_the_result_void() {
    // The next message shows that one is missing; where there is no next one, the end does.
    says(&void(Fault::Lose, "2"), "1 lost");
    says(&void(Fault::Lose, "1"), " got ");
}

#[test]
fn what_comes_out_of_order_makes_the_result_void() {
    says(&void(Fault::Swap, "4"), "out of order");
}

#[test]
fn what_was_changed_makes_the_result_void() {
    says(&void(Fault::Change, "2"), "what was not sent as such");
}

#[test]
fn what_is_refused_makes_the_result_void() {
    says(&void(Fault::Refuse, "2"), "was refused: muted");
}

#[test]
fn a_connection_that_ends_makes_the_result_void() {
    says(&void(Fault::Close, "2"), "the server closed the connection");
}

#[test]
fn where_nobody_listens_one_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let (code, _, errors) = finished(command(folder.path()).args([
        "bench",
        "pairs",
        "--connect",
        &format!("127.0.0.1:{port}"),
    ]));
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("cannot connect"), "{errors}");
}
