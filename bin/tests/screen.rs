//! The full screen of `parlor chat`, in a terminal that `script` makes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod program_world;

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use program_world::{Server, poll};

/// Registers, from the dialog of the login.
const REGISTER: &str = "correct horse\u{12}";

/// Somebody at a terminal; killed when it is dropped.
struct Terminal {
    child: Child,
    /// What was drawn: words that were written over blanks lie between escapes each.
    drawn: Arc<Mutex<String>>,
}

impl Terminal {
    fn start(port: u16, name: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_parlor");
        let line = format!(
            "stty rows 24 cols 90 && exec '{program}' chat --server 127.0.0.1:{port} --name {name}"
        );
        let mut child = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command", &line])
            .arg("/dev/null")
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script is there (util-linux)");
        let mut out = child.stdout.take().unwrap();
        let drawn = Arc::new(Mutex::new(String::new()));
        let to = Arc::clone(&drawn);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = out.read(&mut bytes) {
                let text = String::from_utf8_lossy(bytes.get(..count).unwrap_or_default());
                to.lock().unwrap().push_str(&text);
            }
        });
        Self { child, drawn }
    }

    fn types(&mut self, keys: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(keys.as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// Waits for something to be drawn; forgets all up to there.
    fn sees(&self, wanted: &str) {
        poll(&format!("{wanted:?} on the screen"), || {
            let mut drawn = self.drawn.lock().unwrap();
            let end = drawn.find(wanted)? + wanted.len();
            drawn.drain(..end);
            Some(())
        });
    }

    fn leaves(mut self) {
        self.types("/quit\r");
        let ended = poll("the end", || self.child.try_wait().unwrap());
        assert!(ended.success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

#[test]
fn two_who_become_friends_type_away_without_another_command() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let mut alice = Terminal::start(server.port, "alice");
    let mut bob = Terminal::start(server.port, "bob");
    for person in [&mut alice, &mut bob] {
        person.sees("Ctrl-R registers");
        person.types(REGISTER);
        person.sees("connected");
    }
    alice.types("/add bob\r");
    bob.sees("/accept");
    bob.types("/accept alice\r");
    bob.sees("friends");
    bob.types("kettle?\r");
    alice.sees("kettle?");
    alice.types("whistling!\r");
    bob.sees("whistling!");
    alice.leaves();
    bob.leaves();
}
