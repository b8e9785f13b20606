//! Connections that one thread looks after, and waits for none of.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Far more than anything here takes: what lasts longer hangs.
const HANG: Duration = Duration::from_secs(120);

/// How often each connection is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Connections that somebody holds.
pub(crate) struct Crowd(Vec<Member>);

struct Member {
    stream: TcpStream,
    got: Vec<u8>,
    ended: bool,
}

impl Crowd {
    /// Connects so many, who say nothing.
    pub(crate) fn connect(port: u16, count: usize) -> Self {
        let connect = |_| TcpStream::connect(("127.0.0.1", port)).unwrap();
        Self::of((0..count).map(connect))
    }

    /// Takes connections over.
    pub(crate) fn of(streams: impl IntoIterator<Item = TcpStream>) -> Self {
        let member = |stream: TcpStream| {
            stream.set_nonblocking(true).unwrap();
            Member {
                stream,
                got: Vec::new(),
                ended: false,
            }
        };
        Self(streams.into_iter().map(member).collect())
    }

    /// Waits until the server has ended them all; returns the last frame that each was sent.
    pub(crate) fn until_ended(mut self) -> Vec<Value> {
        let begin = Instant::now();
        while self.look() > 0 {
            assert!(begin.elapsed() < HANG, "some connections do not end");
            thread::sleep(LOOK);
        }
        self.0.iter().map(Member::last_words).collect()
    }

    /// Has each send a byte a second of a request that never ends, until the server has ended all;
    /// returns the last frame that each was sent.
    pub(crate) fn dribble(mut self) -> Vec<Value> {
        let begin = Instant::now();
        let mut sent = 0;
        while self.look() > 0 {
            assert!(begin.elapsed() < HANG, "some connections do not end");
            if begin.elapsed() >= Duration::from_secs(sent) {
                // Between the tokens of JSON may be as much space as one likes.
                let byte = if sent == 0 { b'{' } else { b' ' };
                sent += 1;
                for member in self.0.iter_mut().filter(|it| !it.ended) {
                    // It may just have been closed.
                    let _gone = member.stream.write(&[byte]);
                }
            }
            thread::sleep(LOOK);
        }
        self.0.iter().map(Member::last_words).collect()
    }

    /// Takes what has come; returns how many connections have not ended.
    fn look(&mut self) -> usize {
        let mut left = 0;
        for member in self.0.iter_mut().filter(|it| !it.ended) {
            member.look();
            left += usize::from(!member.ended);
        }
        left
    }
}

impl Member {
    fn look(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(length) => {
                    self.got.extend_from_slice(&buffer[..length]);
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // A reset.
                Err(_) => self.ended = true,
            }
            return;
        }
    }

    fn last_words(&self) -> Value {
        let text = String::from_utf8_lossy(&self.got);
        let last = text.lines().last().unwrap_or("null");
        serde_json::from_str(last).unwrap_or_else(|_| panic!("half a frame: {last}"))
    }
}
