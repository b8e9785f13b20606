//! The program as a child process, and a small blocking client.

#![allow(dead_code, reason = "not all tests that share this module use it all")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Far more than anything here takes: what lasts longer hangs.
const HANG: Duration = Duration::from_secs(60);

pub(crate) const PASSWORD: &str = "correct horse battery";

/// Makes a command that runs the program in a folder, with nothing set in its environment.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlor"));
    command.current_dir(folder).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PARLOR_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end; returns the exit code and what it wrote to stdout and stderr.
pub(crate) fn finished(command: &mut Command) -> (Option<i32>, String, String) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut out = collect(child.stdout.take().unwrap());
    let mut errors = collect(child.stderr.take().unwrap());
    let code = wait(&mut child);
    (code, out.whole(), errors.whole())
}

/// A running `parlor serve`, killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// The line that it printed when it was ready.
    pub(crate) ready: String,
    pub(crate) port: u16,
    logs: Pipe,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts a server on a free port, whose passwords cost nothing.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::start_with(folder, "", arguments)
    }

    /// The same with further settings at the beginning of its file.
    pub(crate) fn start_with(folder: &Path, settings: &str, arguments: &[&str]) -> Self {
        let config = folder.join("parlor.toml");
        let cheap = "[password]\nmemory_kib = 8\niterations = 1\n";
        std::fs::write(&config, format!("{settings}\n{cheap}")).unwrap();
        let mut command = command(folder);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(config)
            .args(arguments);
        Self::spawn(&mut command)
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut logs = collect(child.stderr.take().unwrap());
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        if ready.is_empty() {
            panic!("the server ended: {}", logs.whole());
        }
        let ready = ready.trim_end().to_owned();
        let (_, rest) = ready.split_once("listening on 127.0.0.1:").expect("a port");
        let port = rest.split(',').next().unwrap().parse().unwrap();
        Self {
            child,
            ready,
            port,
            logs,
            _stdout: stdout,
        }
    }

    /// Returns the process's number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the end; returns the exit code, or `None` where a signal ended it.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        wait(&mut self.child)
    }

    /// Returns what an ended server has logged.
    pub(crate) fn logs(&mut self) -> String {
        self.logs.whole()
    }

    /// Tells whether the server has logged a text by now.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.logs.text.lock().unwrap().contains(text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// A client that sends a line and reads lines.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    next_id: u64,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Self {
        Self::over(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    /// Makes a client of a connection.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(HANG)).unwrap();
        Self {
            stream: BufReader::new(stream),
            next_id: 1,
        }
    }

    /// Sends a request and returns its `ok`; drops the events before it.
    pub(crate) fn ok(&mut self, mut request: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        request["id"] = json!(id);
        let mut reply = self.ask(&request);
        assert!(reply["ok"].is_object(), "{request}: {reply}");
        reply["ok"].take()
    }

    /// Sends a request with an `id` and returns the reply to it; drops the events before it.
    pub(crate) fn ask(&mut self, request: &Value) -> Value {
        self.send(request);
        self.until(|frame| frame["id"] == request["id"])
    }

    /// Sends a request and waits for nothing.
    pub(crate) fn send(&mut self, request: &Value) {
        let line = format!("{request}\n");
        self.stream.get_mut().write_all(line.as_bytes()).unwrap();
    }

    /// Returns the connection, so that another thread can end it.
    pub(crate) fn stream(&self) -> TcpStream {
        self.stream.get_ref().try_clone().unwrap()
    }

    /// Sends a request, which nobody may read, and returns the first frame that comes.
    pub(crate) fn ask_or_end(&mut self, request: &Value) -> Option<Value> {
        let line = format!("{request}\n");
        // Who is not wanted may have been told already.
        let _refused = self.stream.get_mut().write_all(line.as_bytes());
        self.read()
    }

    /// Sends requests without waiting in between; returns the replies to them, and drops the events.
    pub(crate) fn ask_all(&mut self, requests: Vec<Value>) -> Vec<Value> {
        let first = self.next_id;
        for mut request in requests {
            request["id"] = json!(self.next_id);
            self.next_id += 1;
            self.send(&request);
        }
        let ids = first..self.next_id;
        ids.map(|id| self.until(|frame| frame["id"] == id))
            .collect()
    }

    /// Makes an account and logs in; returns the user's number.
    pub(crate) fn register_and_login(&mut self, name: &str) -> u64 {
        let register = json!({"op": "register", "name": name, "password": PASSWORD});
        let user = self.ok(register)["user"].as_u64().unwrap();
        assert_eq!(self.login(name)["user"], user);
        user
    }

    pub(crate) fn login(&mut self, name: &str) -> Value {
        self.ok(json!({"op": "login", "name": name, "password": PASSWORD}))
    }

    /// Reads frames until one is as wanted.
    pub(crate) fn until(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        while let Some(frame) = self.read() {
            if wanted(&frame) {
                return frame;
            }
            last = frame;
        }
        panic!("the server says nothing more after {last}")
    }

    /// Reads a frame; `None` at the end of the connection.
    pub(crate) fn read(&mut self) -> Option<Value> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).expect("it hangs") == 0 {
            return None;
        }
        Some(serde_json::from_str(&line).unwrap())
    }
}

/// Looks again and again until there is an answer.
pub(crate) fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < HANG, "it does not come about: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A pipe that a thread reads to its end, so that it never fills up.
struct Pipe {
    text: Arc<Mutex<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Pipe {
    /// Waits for the end; returns the text.
    fn whole(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.text.lock().unwrap().clone()
    }
}

fn collect(pipe: impl std::io::Read + Send + 'static) -> Pipe {
    let text = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&text);
    let thread = thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = String::new();
        while pipe.read_line(&mut line).unwrap() > 0 {
            shared.lock().unwrap().push_str(&line);
            line.clear();
        }
    });
    Pipe {
        text,
        thread: Some(thread),
    }
}

fn wait(child: &mut Child) -> Option<i32> {
    poll("the program ends", || child.try_wait().unwrap()).code()
}
