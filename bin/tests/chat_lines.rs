//! `parlor chat` as scripts use it, against a real `parlor serve`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod chat_world;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chat_world::{Chat, befriended, parlor};

/// A server on a free port; killed when it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(folder: &Path, listen: &str) -> Self {
        Self::spawn(serve(folder, listen))
    }

    /// Starts a server that lets in whoever has one of the codes.
    fn start_invited(folder: &Path, codes: &[&str]) -> Self {
        let config = folder.join("parlor.toml");
        std::fs::write(&config, format!("registration = {codes:?}\n")).unwrap();
        let mut command = serve(folder, "127.0.0.1:0");
        command.arg("--config").arg(config);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        out.read_line(&mut ready).unwrap();
        let (_, address) = ready.split_once("listening on ").expect(&ready);
        let address = address.split(',').next().unwrap().to_owned();
        Self { child, address }
    }

    /// Ends it as a power cut would.
    fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.address.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn serve(folder: &Path, listen: &str) -> Command {
    let mut command = parlor();
    command
        .args(["serve", "--listen", listen, "--store"])
        .arg(format!("sqlite:{}", folder.join("parlor.db").display()));
    command
}

fn messages(lines: &[String]) -> Vec<&str> {
    let texts = lines.iter().filter(|line| line.starts_with("message "));
    texts.map(String::as_str).collect()
}

#[test]
fn what_was_missed_is_there_when_one_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "127.0.0.1:0");
    let (mut ann, mut bob) = befriended(&server.address);
    ann.type_line("hello");
    bob.expect("message ann 1 hello");
    bob.type_line("hello yourself");
    ann.expect("message bob 2 hello yourself");
    let (status, _, errors) = bob.finish();
    assert!(status.success(), "{errors}");

    ann.expect("presence bob offline");
    ann.type_line("you missed this");
    ann.type_line("and this: \u{1f44d} 'quoted' \\ //");
    let (status, _, errors) = ann.finish();
    assert!(status.success(), "{errors}");

    let mut bob = Chat::start(&server.address, &["--name", "bob"]);
    bob.expect("message ann 3 you missed this");
    bob.expect("message ann 4 and this: \u{1f44d} 'quoted' \\\\ //");
    let (status, lines, errors) = bob.finish();
    assert!(status.success(), "{errors}");
    assert_eq!(messages(&lines).len(), 2, "{lines:#?}");

    // What was acknowledged does not come again.
    let (_, lines, _) = Chat::start(&server.address, &["--name", "bob"]).finish();
    assert_eq!(messages(&lines), [""; 0], "{lines:#?}");
}

#[test]
fn a_killed_server_costs_nothing_and_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "127.0.0.1:0");
    let (mut ann, mut bob) = befriended(&server.address);
    ann.type_line("before");
    ann.expect("sent bob 1 before");
    let address = server.kill();
    ann.expect_one("reconnecting", |line| line.starts_with("reconnecting "));
    ann.type_line("while it was away");
    bob.expect_one("reconnecting", |line| line.starts_with("reconnecting "));
    let _server = Server::start(folder.path(), &address);
    ann.expect("online");
    ann.expect("sent bob 2 while it was away");
    ann.type_line("after");
    ann.expect("sent bob 3 after");
    bob.expect("message ann 3 after");
    let (status, lines, errors) = bob.finish();
    assert!(status.success(), "{errors}");
    let wanted = [
        "message ann 1 before",
        "message ann 2 while it was away",
        "message ann 3 after",
    ];
    assert_eq!(messages(&lines), wanted, "{lines:#?}");
    let (status, _, errors) = ann.finish();
    assert!(status.success(), "{errors}");
}

#[test]
fn what_waits_at_the_end_of_the_input_is_sent_once_the_server_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "127.0.0.1:0");
    let (mut ann, bob) = befriended(&server.address);
    drop(bob.finish());
    for number in 1..=50 {
        ann.type_line(&format!("m{number}"));
    }
    ann.expect("sent bob 1 m1");
    let address = server.kill();
    drop(ann.input.take());
    let server = Server::start(folder.path(), &address);
    let (status, _, errors) = ann.finish();
    assert!(status.success(), "{errors}");
    let mut bob = Chat::start(&server.address, &["--name", "bob"]);
    bob.expect("message ann 50 m50");
    let wanted: Vec<_> = (1..=50)
        .map(|number| format!("message ann {number} m{number}"))
        .collect();
    assert_eq!(messages(&bob.seen), wanted);
}

#[test]
fn groups_work_from_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "127.0.0.1:0");
    let (mut ann, mut bob) = befriended(&server.address);
    ann.type_line("/group create \"the crew\"");
    ann.expect_one("ok group create", |line| {
        line.starts_with("ok group create #")
    });
    let created = ann.seen.last().unwrap();
    let id = created.split(['#', ' ']).nth(4).unwrap().to_owned();
    bob.type_line(&format!("/group join {id}"));
    bob.expect(&format!("ok group join #{id} member"));
    ann.expect(&format!("group-event #{id} 2 joined bob"));
    bob.type_line(&format!("/open #{id}"));
    bob.type_line("hello crew");
    ann.expect(&format!("group-message #{id} bob 3 hello crew"));
    bob.type_line("/edit hello all");
    ann.expect(&format!("edited #{id} 3 hello all"));
    bob.type_line("/recall");
    ann.expect(&format!("recalled #{id} 3"));
    ann.type_line("/group members");
    ann.expect("ok group members 2");
    ann.type_line("/dance");
    ann.expect("error command there is no command /dance; see /help");
}

#[test]
fn failures_are_one_sentence_and_exit_1() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    let (status, _, errors) = Chat::start(&address, &["--name", "ann"]).finish();
    assert_eq!(status.code(), Some(1));
    let start = format!("parlor: cannot connect to {address}: is `parlor serve` running?");
    assert!(errors.starts_with(&start), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");

    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "127.0.0.1:0");
    let (status, lines, errors) = Chat::start(&server.address, &["--name", "nobody"]).finish();
    assert_eq!(status.code(), Some(1));
    assert!(lines[0].starts_with("error bad_credentials "), "{lines:?}");
    assert!(errors.starts_with("parlor: bad_credentials"), "{errors}");
}

#[test]
fn an_invitation_code_opens_registration() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_invited(folder.path(), &["welcome"]);
    let register = |name: &str, more: &[&str]| {
        let mut arguments = vec!["--name", name, "--register"];
        arguments.extend(more);
        Chat::start(&server.address, &arguments).finish()
    };
    for more in [&[][..], &["--invite", "guessed"], &["--invite", ""]] {
        let (status, lines, errors) = register("ann", more);
        assert_eq!(status.code(), Some(1), "{more:?}");
        assert!(lines[0].starts_with("error bad_invite "), "{lines:?}");
        assert!(errors.starts_with("parlor: bad_invite: "), "{errors}");
        assert!(!format!("{lines:?}{errors}").contains("guessed"));
    }

    let (status, lines, errors) = register("ann", &["--invite", "welcome"]);
    assert!(status.success(), "{errors}");
    assert_eq!(lines, ["ok registered ann", "ok login ann", "online"]);

    let mut command = parlor();
    command.args(["chat", "--name", "bob", "--register", "--server"]);
    command.arg(&server.address).env("PARLOR_INVITE", "welcome");
    let (status, lines, errors) = Chat::spawn(&mut command).finish();
    assert!(status.success(), "{errors}");
    assert_eq!(lines, ["ok registered bob", "ok login bob", "online"]);
}

#[test]
fn help_shows_no_invitation_code() {
    let mut command = parlor();
    command
        .args(["chat", "--help"])
        .env("PARLOR_INVITE", "hidden");
    let out = command.output().unwrap();
    let help = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success());
    assert!(help.contains("--invite <CODE>"), "{help}");
    assert!(help.contains("[env: PARLOR_INVITE]"), "{help}");
    assert!(!help.contains("hidden"), "{help}");
}
