//! The real program: how it starts, says what is wrong, and ends.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod program_world;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use serde_json::json;
use tempfile::TempDir;

use program_world::{Client, Server, command, finished};

/// Runs the program to its end; returns the exit code and what it wrote to stdout and stderr.
fn run(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    finished(command(folder.path()).args(arguments))
}

/// Checks that a run failed with one line on stderr; returns the line.
fn complaint(run: (Option<i32>, String, String)) -> String {
    let (code, out, complaint) = run;
    assert_eq!(code, Some(1), "{out}{complaint}");
    assert_eq!(out, "");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(complaint.starts_with("parlor: "), "{complaint}");
    complaint
}

#[test]
fn it_says_where_it_listens_and_stores_and_serves() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    assert_eq!(
        server.ready,
        format!(
            "parlor is ready: listening on 127.0.0.1:{}, storing in sqlite:parlor.db",
            server.port
        )
    );
    let mut client = Client::connect(server.port);
    assert!(client.ok(json!({"op": "ping"}))["at"].is_u64());
    let user = client.register_and_login("ada");
    assert_eq!(
        client.ok(json!({"op": "user", "name": "ada"}))["user"],
        user
    );
    assert!(folder.path().join("parlor.db").exists());
}

#[test]
fn sigterm_tells_clients_and_exits_well() {
    drains("TERM");
}

#[test]
fn sigint_does_the_same() {
    drains("INT");
}

fn drains(signal: &str) {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let mut client = Client::connect(server.port);
    client.register_and_login("ada");
    // This one never reads and never closes.
    let _deaf = Client::connect(server.port);
    server.signal(signal);
    let notice = client.until(|frame| frame["event"] == "notice");
    assert_eq!(notice["code"], "draining", "{notice}");
    assert!(notice["retry_ms"].is_u64(), "{notice}");
    assert_eq!(client.read(), None);
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_drain_leaves_nothing_behind_that_hinders_the_next_start() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let mut client = Client::connect(server.port);
    client.register_and_login("ada");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let server = Server::start(folder.path(), &[]);
    Client::connect(server.port).login("ada");
}

#[test]
fn a_trusted_proxy_tells_the_clients_address() {
    let folder = TempDir::new().unwrap();
    let arguments = ["--proxy-from", "127.0.0.0/8", "--log", "parlor=debug"];
    let mut server = Server::start(folder.path(), &arguments);
    let mut proxy = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let stream = "PROXY TCP6 2001:db8::7 ::1 56324 6000\r\n{\"id\":1,\"op\":\"ping\"}\n";
    proxy.write_all(stream.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(&proxy).read_line(&mut answer).unwrap();
    assert!(answer.starts_with("{\"id\":1,\"ok\":"), "{answer}");
    drop(proxy);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let logs = server.logs();
    assert!(logs.contains("\"from\":\"2001:db8::7\""), "{logs}");
}

#[test]
fn a_network_that_is_none_is_named() {
    let folder = TempDir::new().unwrap();
    let serve = [
        "serve",
        "--proxy-from",
        "10.0.0.0/8",
        "--proxy-from",
        "10.0.0.0/64",
    ];
    let flag = complaint(run(&folder, &serve));
    assert!(flag.contains("10.0.0.0/64"), "{flag}");
    let environment = finished(
        command(folder.path())
            .arg("serve")
            .env("PARLOR_PROXY_FROM", "::1,localhost"),
    );
    let environment = complaint(environment);
    assert!(environment.contains("localhost"), "{environment}");
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let mut ada = Client::connect(server.port);
    let mut bob = Client::connect(server.port);
    let ada_id = ada.register_and_login("ada");
    let bob_id = bob.register_and_login("bob");
    ada.ok(json!({"op": "friend_request", "user": bob_id}));
    bob.ok(json!({"op": "friend_accept", "user": ada_id}));
    let mut token = String::new();
    for number in 1..=20 {
        let sent = ada.ok(json!({
            "op": "send", "to": {"user": bob_id}, "key": format!("k{number}"), "text": number.to_string(),
        }));
        assert_eq!(sent["seq"], number);
        if number == 10 {
            token = Client::connect(server.port).login("ada")["token"]
                .as_str()
                .unwrap()
                .to_owned();
        }
    }
    server.signal("KILL");
    assert_eq!(server.wait(), None);

    let server = Server::start(folder.path(), &[]);
    let mut bob = Client::connect(server.port);
    bob.login("bob");
    let history = bob.ok(json!({"op": "history", "in": {"user": ada_id}, "after": 0}));
    let texts: Vec<&str> = history["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["text"].as_str().unwrap())
        .collect();
    let all: Vec<String> = (1..=20).map(|number| number.to_string()).collect();
    assert_eq!(texts, all);
    // The secret was kept, so tokens of before stand; and a key still means the same message.
    let mut ada = Client::connect(server.port);
    assert_eq!(
        ada.ok(json!({"op": "resume", "token": token}))["user"],
        ada_id
    );
    let again = json!({"op": "send", "to": {"user": bob_id}, "key": "k7", "text": "7"});
    assert_eq!(ada.ok(again)["seq"], 7);
}

#[test]
fn a_taken_port_is_named() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let complaint = complaint(run(&folder, &["serve", "--listen", &address]));
    assert!(complaint.contains(&address), "{complaint}");
    assert!(complaint.contains("--listen"), "{complaint}");
}

#[test]
fn an_address_that_is_none_is_named() {
    let folder = TempDir::new().unwrap();
    for address in ["nonsense", "127.0.0.1", "127.0.0.1:70000"] {
        let complaint = complaint(run(&folder, &["serve", "--listen", address]));
        assert!(complaint.contains(address), "{complaint}");
        assert!(complaint.contains("host:port"), "{complaint}");
    }
}

#[test]
fn a_store_that_cannot_be_written_is_named() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("missing/parlor.db");
    let url = format!("sqlite:{}", missing.display());
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--store", &url];
    let complaint = complaint(run(&folder, &arguments));
    assert!(complaint.contains("missing/parlor.db"), "{complaint}");
}

#[test]
fn a_misspelt_key_is_named_with_its_line() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("p.toml"), "# mine\nlisen = \"x\"\n").unwrap();
    for command in ["serve", "check-config"] {
        let complaint = complaint(run(&folder, &[command, "--config", "p.toml"]));
        assert!(complaint.contains("p.toml:2: "), "{complaint}");
        assert!(complaint.contains("`lisen`"), "{complaint}");
        assert!(complaint.contains("`listen`"), "{complaint}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let folder = TempDir::new().unwrap();
    let complaint = complaint(run(&folder, &["serve", "--config", "nowhere.toml"]));
    assert!(complaint.contains("nowhere.toml"), "{complaint}");
}

#[test]
fn secrets_are_long_and_never_shown() {
    let folder = TempDir::new().unwrap();
    let short = finished(
        command(folder.path())
            .arg("serve")
            .env("PARLOR_SECRET", "tooshort"),
    );
    let short = complaint(short);
    assert!(short.contains("32"), "{short}");
    assert!(!short.contains("tooshort"), "{short}");

    let secret = "0123456789abcdef0123456789abcdef";
    let (code, out, errors) = finished(
        command(folder.path())
            .args(["check-config", "--store", "mysql://me:hidden@host/db"])
            .env("PARLOR_SECRET", secret),
    );
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.contains("secret: set"), "{out}");
    assert!(!out.contains(secret) && !out.contains("hidden"), "{out}");
}

#[test]
fn a_relay_needs_a_secret() {
    let folder = TempDir::new().unwrap();
    let relay = ["serve", "--relay", "redis://127.0.0.1:6379"];
    let without_secret = complaint(run(&folder, &relay));
    assert!(without_secret.contains("PARLOR_SECRET"), "{without_secret}");
}

#[test]
fn a_store_stays_with_its_secret() {
    let folder = TempDir::new().unwrap();
    let serve = |secret: &str| {
        let mut command = command(folder.path());
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("PARLOR_SECRET", secret);
        command
    };
    let mut server = Server::spawn(&mut serve("0123456789abcdef0123456789abcdef"));
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let other = complaint(finished(&mut serve("another secret of 32 bytes or more")));
    assert!(other.contains("another secret;"), "{other}");
    let none = complaint(finished(&mut serve("")));
    assert!(none.contains("PARLOR_SECRET"), "{none}");
    Server::spawn(&mut serve("0123456789abcdef0123456789abcdef"));
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let folder = TempDir::new().unwrap();
    let file = "listen = \"file:1\"\nstore = \"sqlite:file.db\"\n[timeouts]\nidle_seconds = 7\n";
    fs::write(folder.path().join("p.toml"), file).unwrap();
    let check = |flags: &[&str], environment: &[(&str, &str)]| {
        let (code, out, errors) = finished(
            command(folder.path())
                .args(["check-config", "--config", "p.toml"])
                .args(flags)
                .envs(environment.iter().copied()),
        );
        assert_eq!(code, Some(0), "{errors}");
        out
    };
    let environment = [
        ("PARLOR_LISTEN", "environment:2"),
        ("PARLOR_STORE", "sqlite:environment.db"),
    ];
    for (out, listen, store) in [
        (check(&[], &[]), "file:1", "file.db"),
        (check(&[], &environment), "environment:2", "environment.db"),
        (
            check(&["--listen", "flag:3"], &environment),
            "flag:3",
            "environment.db",
        ),
        (
            check(&["--store", "sqlite:flag.db"], &environment[..1]),
            "environment:2",
            "flag.db",
        ),
    ] {
        assert!(out.contains(&format!("listen = \"{listen}\"\n")), "{out}");
        assert!(
            out.contains(&format!("store = \"sqlite:{store}\"\n")),
            "{out}"
        );
        assert!(out.contains("idle_seconds = 7\n"), "{out}");
    }
}

#[test]
fn the_printed_configuration_is_one() {
    let folder = TempDir::new().unwrap();
    let (code, out, _) = run(&folder, &["check-config"]);
    assert_eq!(code, Some(0));
    fs::write(folder.path().join("printed.toml"), &out).unwrap();
    let (code, again, errors) = run(&folder, &["check-config", "--config", "printed.toml"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert_eq!(again, out);
}

#[test]
fn it_tells_its_version_and_teaches() {
    let folder = TempDir::new().unwrap();
    let (code, out, _) = run(&folder, &["--version"]);
    assert_eq!(code, Some(0));
    assert_eq!(out, format!("parlor {}\n", env!("CARGO_PKG_VERSION")));
    for arguments in [
        &["--help"][..],
        &["serve", "--help"],
        &["chat", "--help"],
        &["migrate", "--help"],
        &["cluster", "--help"],
        &["dev-cert", "--help"],
        &["check-config", "--help"],
    ] {
        let (code, out, _) = run(&folder, arguments);
        assert_eq!(code, Some(0));
        assert!(out.contains("Examples:"), "{arguments:?}: {out}");
    }
}

#[test]
fn a_wrong_call_is_another_exit_code() {
    let folder = TempDir::new().unwrap();
    for arguments in [&["serv"][..], &["serve", "--lisen", "x"], &[]] {
        let (code, out, errors) = run(&folder, arguments);
        assert_eq!(code, Some(2), "{arguments:?}");
        assert_eq!(out, "");
        assert!(errors.contains("Usage"), "{errors}");
    }
}

#[test]
fn logs_are_for_people_where_they_should() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &["--log-format", "human"]);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let logs = server.logs();
    assert!(logs.contains("signal=\"SIGTERM\""), "{logs}");
    assert!(!logs.contains('\u{1b}'), "{logs}");
    let level = complaint(run(&folder, &["serve", "--log", "loud"]));
    assert!(level.contains("`loud`"), "{level}");
    let format = run(&folder, &["serve", "--log-format", "loud"]);
    assert_eq!(format.0, Some(2), "{}", format.2);
}

#[test]
fn logs_are_json_that_tells_a_messages_way_and_no_secrets() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &["--log", "trace,parlor=trace"]);
    let mut ada = Client::connect(server.port);
    let user = ada.register_and_login("ada");
    let token = Client::connect(server.port).login("ada")["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut wrong = Client::connect(server.port);
    let guess = "a guess at the password";
    wrong.ask(&json!({"id": 1, "op": "login", "name": "ada", "password": guess}));
    let mut bob = Client::connect(server.port);
    bob.register_and_login("bob");
    let group = ada.ok(json!({"op": "group_create", "name": "crew"}))["group"].clone();
    bob.ok(json!({"op": "group_join", "group": group}));
    let text = "between you and me";
    let meta = json!({"mood": "secretive"});
    let to = json!({"group": group});
    let sent = ada.ok(json!({"op": "send", "to": to, "key": "k", "text": text, "meta": meta}));
    bob.until(|frame| frame["event"] == "message" && frame["text"] == text);
    let edit = json!({"op": "edit", "in": to, "seq": sent["seq"], "text": "only between us"});
    ada.ok(edit);
    let renewed =
        ada.ok(json!({"op": "password", "old": program_world::PASSWORD, "new": "another one"}));
    let renewed = renewed["token"].as_str().unwrap().to_owned();
    let mut again = Client::connect(server.port);
    assert_eq!(
        again.ok(json!({"op": "resume", "token": renewed}))["user"],
        user
    );
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));

    let logs = server.logs();
    let events: Vec<serde_json::Value> = logs
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let tells = |wanted: serde_json::Value| {
        let wanted = wanted.as_object().unwrap();
        let fits =
            |event: &serde_json::Value| wanted.iter().all(|(key, value)| event[key] == *value);
        assert!(events.iter().any(fits), "{wanted:?}\n{logs}");
    };
    tells(json!({"level": "INFO", "message": "drained"}));
    tells(json!({"message": "session began", "user": user, "target": "parlor::node::journal"}));
    tells(json!({"message": "asked", "op": "send"}));
    tells(json!({"message": "stored", "seq": sent["seq"]}));
    tells(json!({"message": "message pushed", "group": group, "seq": sent["seq"], "from": user}));
    tells(json!({"message": "refused", "code": "bad_credentials"}));
    for secret in [
        program_world::PASSWORD,
        guess,
        "another one",
        &token,
        &renewed,
        text,
        "only between us",
        "secretive",
    ] {
        assert!(!logs.contains(secret), "{secret}\n{logs}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = TempDir::new().unwrap();
    // A client that does not close its side holds a drain up for two seconds. On a machine that
    // makes this test miss them, it gets another chance.
    let code = (0..5)
        .map(|attempt| {
            let mut server = Server::start(folder.path(), &[]);
            let mut client = Client::connect(server.port);
            client.register_and_login(&format!("ada{attempt}"));
            server.signal("TERM");
            client.until(|frame| frame["event"] == "notice");
            server.signal("INT");
            server.wait()
        })
        .find(|code| *code != Some(0));
    assert_eq!(code, Some(Some(130)));
}
