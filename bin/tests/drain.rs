//! What a node does that is asked to end, and what its clients notice of it.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod balancer_world;
mod chat_world;
mod program_world;

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use parlor_servers::{MariaDb, balancer};
use serde_json::json;
use tempfile::TempDir;

use balancer_world::nginx;
use chat_world::{Chat, befriended};
use program_world::{Client, Server};

/// What a drain may take, whatever clients do.
const LONGEST: Duration = Duration::from_secs(30);

/// Starts one of several nodes over one store, behind the nginx of this machine.
fn member(folder: &Path, name: &str, store: &str) -> Server {
    let folder = folder.join(name);
    fs::create_dir(&folder).unwrap();
    let settings = format!(
        "store = \"{store}\"\nsecret = \"of a cluster, 32 bytes long or more\"\n\
         proxy_from = [\"127.0.0.1\"]"
    );
    Server::start_with(&folder, &settings, &[])
}

#[test]
fn people_are_moved_to_another_node_and_lose_nothing() {
    let folder = TempDir::new().unwrap();
    let database = MariaDb::start(&folder.path().join("mariadb"), &[]).unwrap();
    let store = database.create_database("parlor").unwrap();
    let mut leaving = member(folder.path(), "leaving", &store);
    let staying = member(folder.path(), "staying", &store);
    let mut nginx = nginx(folder.path(), &[leaving.port]);
    let (mut ann, mut bob) = befriended(&format!("127.0.0.1:{}", nginx.port()));
    talk(&mut ann, &mut bob, 1..=10);
    bob.expect_one("the tenth", |line| line.ends_with(" ann-10"));
    ann.expect_one("the tenth", |line| line.ends_with(" bob-10"));

    let both = balancer(nginx.port(), &[leaving.port, staying.port]);
    nginx.reload(&both).unwrap();
    talk(&mut ann, &mut bob, 11..=20);
    leaving.signal("TERM");
    talk(&mut ann, &mut bob, 21..=30);
    for chat in [&mut ann, &mut bob] {
        chat.expect_one("draining", |line| line.starts_with("notice draining "));
        chat.expect("online");
    }
    assert_eq!(leaving.wait(), Some(0));
    talk(&mut ann, &mut bob, 31..=40);
    bob.expect_one("the last", |line| line.ends_with(" ann-40"));
    ann.expect_one("the last", |line| line.ends_with(" bob-40"));
    for chat in [ann, bob] {
        let (status, lines, errors) = chat.finish();
        assert!(status.success(), "{errors}");
        saw_everything(&lines);
    }
}

/// Lets each of two write to the other.
fn talk(ann: &mut Chat, bob: &mut Chat, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        ann.type_line(&format!("ann-{number}"));
        bob.type_line(&format!("bob-{number}"));
    }
}

/// Checks that a person saw the whole conversation in order, no error, and no second login.
fn saw_everything(lines: &[String]) {
    let entry = |line: &String| {
        let mut words = line.split(' ');
        let entry = ["message", "sent"].contains(&words.next()?);
        let (seq, text) = (words.nth(1)?.parse().ok()?, words.next()?);
        entry.then(|| (seq, text.to_owned()))
    };
    let entries: Vec<(usize, String)> = lines.iter().filter_map(entry).collect();
    let numbers: Vec<usize> = entries.iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, (1..=80).collect::<Vec<_>>(), "{lines:#?}");
    for name in ["ann", "bob"] {
        let texts = entries.iter().map(|(_, text)| text.as_str());
        let texts: Vec<&str> = texts.filter(|text| text.starts_with(name)).collect();
        let all: Vec<String> = (1..=40).map(|number| format!("{name}-{number}")).collect();
        assert_eq!(texts, all, "{lines:#?}");
    }
    let beginning = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(beginning("error"), 0, "{lines:#?}");
    assert_eq!(beginning("ok login"), 1, "{lines:#?}");
}

#[test]
fn a_drain_ends_in_time_whatever_clients_do() {
    let folder = TempDir::new().unwrap();
    let trusting = ["--proxy-from", "127.0.0.1"];
    let mut server = Server::start(folder.path(), &trusting);
    // Connected, and not even a header.
    let _mute = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    // Sends until nothing more is taken, and never reads.
    let mut deaf = connect(&server);
    deaf.set_write_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let pings = b"{\"id\":1,\"op\":\"ping\"}\n".repeat(1000);
    while deaf.write_all(&pings).is_ok() {}
    // Never stops sending.
    let mut eager = connect(&server);
    let sending =
        std::thread::spawn(
            move || while eager.write_all(b"{\"id\":1,\"op\":\"ping\"}\n").is_ok() {},
        );
    // Answers, and does not close its side.
    let mut idle = Client::over(connect(&server));
    idle.register_and_login("ada");

    let begin = Instant::now();
    server.signal("TERM");
    let notice = idle.until(|frame| frame["event"] == "notice");
    assert_eq!(notice["code"], "draining", "{notice}");
    assert!(notice["retry_ms"].is_u64(), "{notice}");
    assert_eq!(server.wait(), Some(0));
    assert!(begin.elapsed() < LONGEST, "{:?}", begin.elapsed());
    sending.join().unwrap();
}

/// Connects as a proxy does.
fn connect(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.write_all(b"PROXY UNKNOWN\r\n").unwrap();
    stream
}

#[test]
fn cursors_are_written_before_the_end() {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    let mut ada = Client::connect(server.port);
    ada.register_and_login("ada");
    let group = ada.ok(json!({"op": "group_create", "name": "Tea"}))["group"].take();
    for number in 2..=5 {
        let to = json!({"group": group});
        let key = number.to_string();
        ada.ok(json!({"op": "send", "to": to, "key": key, "text": "Tea?"}));
    }
    ada.ok(json!({"op": "ack", "in": {"group": group}, "delivered": 5, "read": 4}));
    // Gone at once, so that the drain waits for nobody.
    drop(ada);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));

    let server = Server::start(folder.path(), &[]);
    let session = Client::connect(server.port).login("ada");
    let conversation = &session["conversations"][0];
    assert_eq!(conversation["last"], 5, "{session}");
    assert_eq!(conversation["delivered"], 5, "{session}");
    assert_eq!(conversation["read"], 4, "{session}");
}
