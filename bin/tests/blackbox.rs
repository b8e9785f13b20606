//! Plays the scenes of the Python client in `blackbox/`, which knows the wire protocol and nothing
//! else, against the real program.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// Hashing passwords costs nothing, and clients may be as busy as they like.
const CONFIG: &str = "\
[limits]
rates = false

[password]
memory_kib = 8
iterations = 1
";

/// A running `parlor serve` with a store of its own, killed when it is dropped.
struct Server {
    child: Child,
    port: u16,
    // Held open: the program may write to it for as long as it lives.
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let config = folder.join("parlor.toml");
        std::fs::write(&config, CONFIG).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_parlor"))
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(&config)
            .env_remove("PARLOR_CONFIG")
            .env_remove("PARLOR_LISTEN")
            .env_remove("PARLOR_LOG")
            .env_remove("PARLOR_RELAY")
            .env_remove("PARLOR_SECRET")
            .env_remove("PARLOR_STORE")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let port = line
            .split_once("127.0.0.1:")
            .and_then(|(_, rest)| {
                let digits = rest.find(|character: char| !character.is_ascii_digit());
                rest.get(..digits?)?.parse().ok()
            })
            .unwrap_or_else(|| panic!("the ready line names no port: {line:?}"));
        Self {
            child,
            port,
            _stdout: stdout,
        }
    }

    /// Ends it as a power cut would: SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes the command that plays a scene.
fn scene(port: u16, name: &str, arguments: &[&str]) -> Command {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/blackbox");
    let mut command = Command::new("python3");
    // No compiled files in the source tree.
    command
        .arg("-B")
        .arg(folder)
        .arg(port.to_string())
        .arg(name)
        .args(arguments);
    command.stdin(Stdio::null());
    command
}

const PYTHON_MISSING: &str = "python3 is needed: install the package `python3`";

fn play(port: u16, name: &str, arguments: &[&str]) {
    let output = scene(port, name, arguments).output().expect(PYTHON_MISSING);
    assert!(
        output.status.success(),
        "scene {name}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

/// Plays a scene on a server of its own, which is alive and well afterwards.
fn play_alone(name: &str) {
    let folder = TempDir::new().unwrap();
    let mut server = Server::start(folder.path());
    play(server.port, name, &[]);
    assert!(server.is_alive(), "the server survives {name}");
}

#[test]
fn accounts() {
    play_alone("accounts");
}

#[test]
fn friendships() {
    play_alone("friendships");
}

#[test]
fn sessions() {
    play_alone("sessions");
}

#[test]
fn messages() {
    play_alone("messages");
}

#[test]
fn pipelined() {
    play_alone("pipelined");
}

#[test]
fn offline() {
    play_alone("offline");
}

#[test]
fn slow_reader() {
    play_alone("slow_reader");
}

#[test]
fn groups() {
    play_alone("groups");
}

#[test]
fn framing() {
    play_alone("framing");
}

#[test]
fn garbage() {
    play_alone("garbage");
}

#[test]
fn too_large() {
    play_alone("too_large");
}

#[test]
fn injection() {
    play_alone("injection");
}

/// What was acknowledged before SIGKILL is there after a restart.
#[test]
fn crash() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path());
    let names = r#"["one", "other"]"#;
    let mut client = scene(server.port, "before_crash", &[names])
        .stdout(Stdio::piped())
        .spawn()
        .expect(PYTHON_MISSING);
    let mut stdout = BufReader::new(client.stdout.take().unwrap());
    loop {
        let mut line = String::new();
        assert!(
            stdout.read_line(&mut line).unwrap() > 0,
            "the scene ended early"
        );
        if line.trim() == "ready" {
            break;
        }
    }
    // The client is sending all the while.
    server.kill();
    let mut acknowledged = String::new();
    stdout.read_to_string(&mut acknowledged).unwrap();
    assert!(client.wait().unwrap().success());
    let acknowledged = acknowledged.trim();
    assert!(acknowledged.parse::<u64>().unwrap() >= 100);

    let mut server = Server::start(folder.path());
    play(server.port, "after_crash", &[names, acknowledged]);
    assert!(server.is_alive());
}
