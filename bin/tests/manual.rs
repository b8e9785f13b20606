//! The operators' page and the threat model: what they name is there, and their drills work.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

mod program_world;
mod repository;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use parlor_servers::{MariaDb, find};
use serde_json::json;
use tempfile::TempDir;
use toml::{Table, Value};

use program_world::{Client, Server, command, poll};
use repository::{read, root};

const SECRET: &str = "of a cluster, 32 bytes long or more";

/// Returns the texts of all sources.
fn sources() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("Cargo.toml").is_file())
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                found.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    found
}

/// Returns the names of all tests.
fn tests(sources: &[String]) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for source in sources {
        let mut is_test = false;
        for line in source.lines().map(str::trim_start) {
            is_test |= ["#[test]", "#[async_std::test]"].contains(&line);
            let line = line.strip_prefix("async ").unwrap_or(line);
            if let Some(rest) = line.strip_prefix("fn ") {
                if is_test {
                    found.insert(rest.split('(').next().unwrap());
                }
                is_test = false;
            }
        }
    }
    found
}

/// A row of a table of a page, by the headings of its columns.
type Row = BTreeMap<String, String>;

/// Returns the rows of the tables that have such a column.
fn rows(page: &str, column: &str) -> Vec<Row> {
    let cells = |line: &str| -> Option<Vec<String>> {
        let inside = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(inside.split(" | ").map(|it| it.trim().to_owned()).collect())
    };
    let mut found = Vec::new();
    let mut headings: Option<Vec<String>> = None;
    for line in page.lines() {
        match (&headings, cells(line)) {
            (Some(headings), Some(cells)) => {
                assert_eq!(headings.len(), cells.len(), "{line}");
                found.push(headings.iter().cloned().zip(cells).collect::<Row>());
            }
            (None, Some(cells)) => headings = Some(cells),
            (_, None) if line.starts_with("|---") => {}
            (_, None) => headings = None,
        }
    }
    found.retain(|row| row.contains_key(column));
    found
}

/// Returns the words of a text that stand in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn the_named_tests_are_there() {
    let sources = sources();
    let tests = tests(&sources);
    assert!(tests.len() > 500, "only {} tests were found", tests.len());
    for (page, least) in [("deploy/OPERATORS.md", 70), ("SECURITY.md", 20)] {
        let rows = rows(&read(page), "tests");
        assert!(rows.len() >= least, "{page} has {} rows", rows.len());
        for row in rows {
            let mut named = quoted(&row["tests"]).peekable();
            assert!(named.peek().is_some(), "{page} names none: {row:?}");
            for name in named {
                assert!(
                    tests.contains(name),
                    "{page} names {name}, which is no test"
                );
            }
        }
    }
}

/// Says a default of parlor.toml as the table of limits does.
fn said(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Table(table) => {
            let number = |key: &str| table.get(key).and_then(Value::as_integer);
            let rate = |unit: &str| number(&format!("per_{unit}"));
            match (number("burst"), number("failures")) {
                (Some(burst), _) => match (rate("second"), rate("hour")) {
                    (Some(count), None) => format!("{burst}, then {count} a second"),
                    (_, count) => format!("{burst}, then {} an hour", count.unwrap()),
                },
                (None, failures) => format!(
                    "{}, then {} s doubling to {} s",
                    failures.unwrap(),
                    number("delay_seconds").unwrap(),
                    number("most_delay_seconds").unwrap()
                ),
            }
        }
        other => panic!("what is {other}?"),
    }
}

#[test]
fn the_table_of_limits_has_every_setting_at_its_default() {
    let rows = rows(&read("deploy/OPERATORS.md"), "where");
    let sample: Table = read("deploy/parlor.toml").parse().unwrap();
    let mut settings = 0;
    for section in ["limits", "timeouts", "rates", "guard", "password"] {
        for (key, value) in sample[section].as_table().unwrap() {
            if (section, key.as_str()) == ("limits", "rates") {
                continue;
            }
            let name = format!("`{section}.{key}`");
            let row = rows.iter().find(|row| row["where"] == name);
            let row = row.unwrap_or_else(|| panic!("no row says what {name} does"));
            let default = said(value);
            let begins = row["default"].split(", at most").next() == Some(&default);
            assert!(begins, "{name} is {default}: {row:?}");
            settings += 1;
        }
    }
    assert!(settings > 30, "only {settings}");
}

#[test]
fn the_table_of_limits_names_what_is_in_the_source() {
    let page = read("deploy/OPERATORS.md");
    let sources = sources();
    let any = |text: &str| sources.iter().any(|source| source.contains(text));
    for row in rows(&page, "where") {
        for name in quoted(&row["where"]) {
            let there = match name.split_once("::") {
                Some((owner, field)) => sources.iter().any(|source| {
                    source.contains(&format!("pub struct {owner} {{"))
                        && source.contains(&format!("    pub {field}: "))
                }),
                None if name.contains('.') => true,
                None => name == "LimitNOFILE" || any(&format!("const {name}: ")),
            };
            assert!(there, "{name}");
        }
    }
    // And the other way round: what the source bounds by a number is in the table.
    for (file, structure) in [
        ("core/src/engine/config.rs", "Config"),
        ("core/src/store/view.rs", "Limits"),
        ("storage/src/options.rs", "Options"),
        ("storage/src/options.rs", "PasswordOptions"),
        ("relay-redis/src/client/options.rs", "Options"),
        ("transport-tcp/src/listener.rs", "ListenerOptions"),
        ("transport-tcp/src/listener.rs", "ProxyOptions"),
    ] {
        let text = read(file);
        let (_, rest) = text
            .split_once(&format!("pub struct {structure} {{"))
            .unwrap();
        let fields = rest.split("\n}").next().unwrap();
        let mut numbers = 0;
        for line in fields.lines() {
            let Some((field, kind)) = line
                .trim()
                .strip_prefix("pub ")
                .and_then(|it| it.split_once(": "))
            else {
                continue;
            };
            if !["usize,", "u32,", "i32,"].contains(&kind) {
                continue;
            }
            numbers += 1;
            let own = format!("`{structure}::{field}`");
            let keys = [format!(".{field}`"), format!(".{field}_kib`")];
            let named = page.contains(&own) || keys.iter().any(|key| page.contains(key));
            assert!(named, "{file}: {structure}::{field} is in no table");
        }
        assert!(numbers > 0, "{file}: {structure}");
    }
}

/// Returns the `sh` blocks below a heading.
fn blocks(heading: &str) -> Vec<String> {
    let page = read("deploy/OPERATORS.md");
    let (_, section) = page
        .split_once(&format!("\n### {heading}\n"))
        .expect(heading);
    let section = section.split("\n#").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect()
}

/// Runs a drill's commands, with folders of the test in place of the system's.
fn run(script: &str, folders: &[(&str, &Path)]) {
    let mut script = script.to_owned();
    for (named, own) in folders {
        assert!(!own.starts_with(named), "{own:?}");
        script = script.replace(named, own.to_str().unwrap());
    }
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}\n{complaint}");
}

/// Starts the node that a drill ends with, on a free port and on this store.
fn restored(line: &str, named: &str, store: &str, folder: &Path) -> Server {
    let arguments = line.trim().strip_prefix("parlor ").expect(line);
    assert!(arguments.contains(named), "{arguments}");
    let arguments = arguments
        .replace("127.0.0.1:6100", "127.0.0.1:0")
        .replace(named, store);
    let mut command = command(folder);
    command
        .args(arguments.split(' '))
        .env("PARLOR_SECRET", SECRET);
    Server::spawn(&mut command)
}

/// Two friends on a node, of whom one writes on and on.
struct Chat {
    writer: Client,
    /// The reader's number.
    to: u64,
}

fn text(number: u64) -> String {
    format!("{number} – tea ☕ 🫖")
}

impl Chat {
    fn on(port: u16) -> Self {
        let [mut ada, mut bob] = [(), ()].map(|()| Client::connect(port));
        let ada_id = ada.register_and_login("ada");
        let to = bob.register_and_login("bob");
        ada.ok(json!({"op": "friend_request", "user": to}));
        bob.ok(json!({"op": "friend_accept", "user": ada_id}));
        Self { writer: ada, to }
    }

    /// Writes until it is told to stop; `acknowledged` is the last number that the node has answered.
    fn write(&mut self, acknowledged: &AtomicU64, stop: &AtomicBool) {
        for number in 1.. {
            if stop.load(Ordering::Acquire) {
                return;
            }
            let key = number.to_string();
            let to = json!({"user": self.to});
            self.writer
                .ok(json!({"op": "send", "to": to, "key": key, "text": text(number)}));
            acknowledged.store(number, Ordering::Release);
        }
    }
}

/// Writes while `backup` runs; returns how much was acknowledged before, and in the end.
fn written_during(port: u16, backup: impl FnOnce()) -> (u64, u64) {
    let mut chat = Chat::on(port);
    let (acknowledged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let reaches = |number| {
        poll("messages are written", || {
            (acknowledged.load(Ordering::Acquire) >= number).then_some(())
        });
    };
    thread::scope(|scope| {
        scope.spawn(|| chat.write(&acknowledged, &stop));
        reaches(50);
        let before = acknowledged.load(Ordering::Acquire);
        backup();
        let after = acknowledged.load(Ordering::Acquire);
        reaches(after + 50);
        stop.store(true, Ordering::Release);
        (before, after + 50)
    })
}

/// Reads the whole conversation on a node.
fn texts(port: u16) -> Vec<String> {
    let mut bob = Client::connect(port);
    bob.login("bob");
    let ada = bob.ok(json!({"op": "user", "name": "ada"}))["user"].clone();
    let mut found: Vec<String> = Vec::new();
    loop {
        let history =
            json!({"op": "history", "in": {"user": ada}, "after": found.len(), "limit": 200});
        let page = bob.ok(history);
        for message in page["messages"].as_array().unwrap() {
            assert_eq!(message["seq"], found.len() + 1);
            found.push(message["text"].as_str().unwrap().to_owned());
        }
        if page["more"] == false {
            return found;
        }
    }
}

/// Checks that a restored node has all that was acknowledged before the backup, nothing of what came
/// long after it, and takes more.
fn check(restored: &Server, before: u64, end: u64) {
    let texts = texts(restored.port);
    let count = u64::try_from(texts.len()).unwrap();
    assert!((before..end).contains(&count), "{before} {count} {end}");
    for (number, found) in (1..).zip(&texts) {
        assert_eq!(found, &text(number));
    }
    let mut ada = Client::connect(restored.port);
    ada.login("ada");
    let bob = ada.ok(json!({"op": "user", "name": "bob"}))["user"].clone();
    let next = json!({"op": "send", "to": {"user": bob}, "key": "after", "text": "still here"});
    assert_eq!(ada.ok(next)["seq"], count + 1);
    // Of what is lost, a client has the keys: repeated, it is a message like any other.
    let lost =
        json!({"op": "send", "to": {"user": bob}, "key": end.to_string(), "text": text(end)});
    assert_eq!(ada.ok(lost)["seq"], count + 2);
    let kept = json!({"op": "send", "to": {"user": bob}, "key": "7", "text": text(7)});
    assert_eq!(ada.ok(kept)["seq"], 7);
}

#[test]
fn the_drill_with_sqlite_brings_everything_back() {
    find("sqlite3", "sqlite3").unwrap();
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (live, backups, other) = (at("live"), at("backups"), at("restored"));
    fs::create_dir(&live).unwrap();
    let store = format!("sqlite:{}", live.join("parlor.db").display());
    let settings = format!("secret = {SECRET:?}\nlimits.rates = false");
    let server = Server::start_with(folder.path(), &settings, &["--store", &store]);
    let [backup, restore, start] = &blocks("Drill: SQLite")[..] else {
        panic!("the drill has three blocks")
    };
    let folders = [
        ("/var/backups/parlor", backups.as_path()),
        ("/var/lib/parlor", &live),
        ("/srv/parlor-restored", &other),
    ];
    let (before, end) = written_during(server.port, || run(backup, &folders));
    drop(server);
    fs::remove_dir_all(&live).unwrap();
    run(restore, &folders);
    let database = other.join("parlor.db").display().to_string();
    let named = "/srv/parlor-restored/parlor.db";
    let restored = restored(start, named, &database, folder.path());
    check(&restored, before, end);
}

#[test]
fn the_drill_with_mariadb_brings_everything_back() {
    find("mariadb-dump", "mariadb-client").unwrap();
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let database = MariaDb::start(&at("mariadb"), &[]).unwrap();
    let store = database.create_database("parlor").unwrap();
    let settings = format!("secret = {SECRET:?}\nlimits.rates = false");
    let server = Server::start_with(folder.path(), &settings, &["--store", &store]);
    let (backups, options) = (at("backups"), at("backup.cnf"));
    let password = store.split([':', '@']).nth(2).unwrap();
    let port = database.port();
    let text = format!("[client]\nuser=parlor\npassword={password}\nhost=127.0.0.1\nport={port}\n");
    fs::write(&options, text).unwrap();
    let [backup, restore, start] = &blocks("Drill: MariaDB")[..] else {
        panic!("the drill has three blocks")
    };
    let folders = [
        ("/var/backups/parlor", backups.as_path()),
        ("/etc/parlor/backup.cnf", &options),
    ];
    let (before, end) = written_during(server.port, || run(backup, &folders));
    drop(server);
    database.execute("", "DROP DATABASE parlor").unwrap();
    run(restore, &folders);
    let named = "mysql://parlor@127.0.0.1:3306/parlor_restored";
    let url = database.url("parlor_restored");
    let restored = restored(start, named, &url, folder.path());
    check(&restored, before, end);
}
