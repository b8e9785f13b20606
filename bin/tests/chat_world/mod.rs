//! `parlor chat` as a child process, typed to and read by lines.

#![allow(dead_code, reason = "not all tests that share this module use it all")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// After this long a process counts as hanging.
const HANG: Duration = Duration::from_secs(120);

/// A running `parlor chat`.
pub(crate) struct Chat {
    child: Child,
    pub(crate) input: Option<ChildStdin>,
    lines: Receiver<String>,
    pub(crate) seen: Vec<String>,
}

impl Chat {
    pub(crate) fn start(address: &str, arguments: &[&str]) -> Self {
        Self::spawn(parlor().args(["chat", "--server", address]).args(arguments))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .env("PARLOR_PASSWORD", "correct horse")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            lines,
            seen: Vec::new(),
        }
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Reads lines up to one that is exactly this.
    pub(crate) fn expect(&mut self, wanted: &str) {
        self.expect_one(wanted, |line| line == wanted);
    }

    /// Reads lines up to one that fits.
    pub(crate) fn expect_one(&mut self, wanted: &str, fits: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + HANG;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let found = fits(&line);
                    self.seen.push(line);
                    if found {
                        return;
                    }
                }
                Err(_) => panic!("no {wanted:?} after {:#?}", self.seen),
            }
        }
    }

    /// Ends the input and waits for the end; returns everything it printed.
    pub(crate) fn finish(mut self) -> (ExitStatus, Vec<String>, String) {
        drop(self.input.take());
        let deadline = Instant::now() + HANG;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().unwrap();
                panic!("it does not end after {:#?}", self.seen);
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        self.seen.extend(self.lines.iter());
        let mut errors = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        (status, self.seen, errors)
    }
}

pub(crate) fn parlor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlor"));
    for name in [
        "PARLOR_LISTEN",
        "PARLOR_STORE",
        "PARLOR_RELAY",
        "PARLOR_CONFIG",
        "PARLOR_NAME",
        "PARLOR_INVITE",
    ] {
        command.env_remove(name);
    }
    command
}

/// Lets two new users become friends, each with the other's conversation open.
pub(crate) fn befriended(address: &str) -> (Chat, Chat) {
    let mut ann = Chat::start(address, &["--name", "ann", "--register"]);
    ann.expect("online");
    let mut bob = Chat::start(address, &["--name", "bob", "--register"]);
    bob.expect("online");
    ann.type_line("/add bob");
    ann.expect("ok add bob requested");
    bob.expect("friend ann requested_by");
    bob.type_line("/accept ann");
    bob.expect("ok accept ann friends");
    ann.expect("friend bob friends");
    ann.type_line("/open bob");
    ann.expect("ok open bob");
    bob.type_line("/open ann");
    bob.expect("ok open ann");
    (ann, bob)
}
