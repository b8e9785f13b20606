//! A node from outside: its side port, as operators ask it, and what the system says of its process.

#![allow(dead_code, reason = "not all tests that share this module use it all")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// The arguments of a node that has a side port.
pub(crate) const SIDE_PORT: [&str; 2] = ["--admin", "127.0.0.1:0"];

/// Returns the address of the side port that a node's first line names.
pub(crate) fn side_port(ready: &str) -> String {
    let (_, address) = ready.split_once("watched at http://").unwrap();
    address.to_owned()
}

/// Sends bytes to the side port and returns status and body of what comes back.
pub(crate) fn exchange(address: &str, request: &str) -> (u16, String) {
    let (status, _, body) = exchange_whole(address, request);
    (status, body)
}

/// The same with the head of what comes back, between the two.
pub(crate) fn exchange_whole(address: &str, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    (status.unwrap_or(0), head.to_owned(), body.to_owned())
}

/// Asks for a page.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

/// Everything that a node counts, by name and labels; what was never counted is zero.
#[derive(Clone, Debug)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads the metrics, each line of which must have the form of OpenMetrics.
    pub(crate) fn read(address: &str) -> Self {
        let (status, body) = get(address, "/metrics");
        assert_eq!(status, 200, "{body}");
        assert!(body.ends_with("# EOF\n"), "{body}");
        let samples = body.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').expect(line);
            assert!(name.starts_with("parlor_"), "{line}");
            (name.to_owned(), value.parse().expect(line))
        };
        Self(samples.map(sample).collect())
    }

    /// Returns a metric's value.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// Returns how many notices of a kind were sent.
    pub(crate) fn notices(&self, code: &str) -> f64 {
        self.get(&format!("parlor_notices_total{{code=\"{code}\"}}"))
    }

    /// Returns how many requests had an outcome.
    pub(crate) fn requests(&self, op: &str, outcome: &str) -> f64 {
        self.get(&format!(
            "parlor_requests_total{{op=\"{op}\",outcome=\"{outcome}\"}}"
        ))
    }
}

/// What a process has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Memory in use, in KiB.
    pub(crate) resident: u64,
    /// The most of it at any time.
    pub(crate) peak: u64,
    /// Open file descriptors.
    pub(crate) descriptors: usize,
    /// Those of them that are sockets.
    pub(crate) sockets: usize,
    pub(crate) threads: u64,
}

impl Usage {
    /// Looks under `/proc` (`proc_pid_status(5)`).
    pub(crate) fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let words = line.expect(name).split_ascii_whitespace();
            words.take(1).collect::<String>().parse().unwrap()
        };
        let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        // One that was closed meanwhile is no socket.
        let target = |entry: io::Result<fs::DirEntry>| {
            fs::read_link(entry.unwrap().path()).unwrap_or_default()
        };
        let open: Vec<PathBuf> = open.map(target).collect();
        let is_socket = |path: &&PathBuf| path.to_string_lossy().starts_with("socket:");
        Self {
            resident: field("VmRSS:"),
            peak: field("VmHWM:"),
            descriptors: open.len(),
            sockets: open.iter().filter(is_socket).count(),
            threads: field("Threads:"),
        }
    }
}
