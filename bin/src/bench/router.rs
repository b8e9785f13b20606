//! A router that only moves bytes: the limit that a chat server is compared with.
//!
//! The first line of a connection is the number of a channel, and comes back when the connection is on
//! it; every line after that goes to all others on the channel, as it is. Nothing is parsed, kept or
//! acknowledged.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::thread;

use async_std::task;
use clap::{Args, ValueEnum};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::message::read_digits;
use super::tasks;
use crate::{fail, print};

/// How much is read at once.
const CHUNK: usize = 128 * 1024;

/// The most bytes that wait for a connection; one that is further behind is closed.
const MOST_WAITING: usize = 256 * 1024 * 1024;

const LISTENER: Token = Token(usize::MAX);

/// Where to route.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to listen: an address and a port; port 0 takes any that is free.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// How to route.
    #[arg(long, value_enum, default_value_t)]
    by: Routing,
}

/// How a router works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Routing {
    /// One loop over epoll.
    #[default]
    Loop,
    /// Two tasks for each connection.
    Tasks,
}

impl Routing {
    /// Returns the value that names it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::Tasks => "tasks",
        }
    }
}

/// Routes until stdin ends.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    crate::serve::raise_descriptor_limit();
    thread::spawn(|| {
        // Whatever it says, and however it ends.
        let _ended = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(0);
    });
    let routed = match arguments.by {
        Routing::Loop => Router::bind(arguments.listen).and_then(|mut router| router.run()),
        Routing::Tasks => task::block_on(tasks::route(arguments.listen)),
    };
    match routed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

struct Router {
    poll: Poll,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    channels: HashMap<u64, Vec<usize>>,
    chunk: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    channel: Option<u64>,
    /// The beginning of a line.
    partial: Vec<u8>,
    out: Vec<u8>,
    written: usize,
}

impl Router {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        print(&format!(
            "bench-router is ready: listening on {}\n",
            listener.local_addr()?
        ));
        Ok(Self {
            poll,
            listener,
            connections: Vec::new(),
            channels: HashMap::new(),
            chunk: vec![0; CHUNK],
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(4096);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                let number = event.token().0;
                if event.is_writable() {
                    self.write(number);
                }
                if event.is_readable() {
                    self.read(number, event.is_read_closed());
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let token = Token(self.connections.len());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, token, interest)?;
            self.connections.push(Some(Connection {
                stream,
                channel: None,
                partial: Vec::new(),
                out: Vec::new(),
                written: 0,
            }));
        }
    }

    fn read(&mut self, number: usize, ended: bool) {
        let mut chunk = std::mem::take(&mut self.chunk);
        while let Some(Some(connection)) = self.connections.get_mut(number) {
            match connection.stream.read(&mut chunk) {
                Ok(0) => self.close(number),
                Ok(count) => {
                    self.route(number, chunk.get(..count).unwrap_or_default());
                    if count < chunk.len() && !ended {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => self.close(number),
            }
        }
        self.chunk = chunk;
    }

    /// Passes whole lines on.
    fn route(&mut self, number: usize, bytes: &[u8]) {
        let Some(Some(connection)) = self.connections.get_mut(number) else {
            return;
        };
        let Some((mut lines, rest)) =
            memchr::memrchr(b'\n', bytes).and_then(|end| bytes.split_at_checked(end + 1))
        else {
            return connection.partial.extend_from_slice(bytes);
        };
        let mut partial = std::mem::replace(&mut connection.partial, rest.to_vec());
        if !partial.is_empty() {
            partial.extend_from_slice(lines);
            lines = &partial;
        }
        let channel = match connection.channel {
            Some(channel) => channel,
            None => {
                let end = memchr::memchr(b'\n', lines).unwrap_or(0);
                let first = lines.get(..end).and_then(read_digits);
                let Some(channel) = first else {
                    return self.close(number);
                };
                connection.channel = Some(channel);
                let (name, rest) = lines.split_at_checked(end + 1).unwrap_or_default();
                connection.out.extend_from_slice(name);
                lines = rest;
                self.channels.entry(channel).or_default().push(number);
                self.write(number);
                channel
            }
        };
        if lines.is_empty() {
            return;
        }
        let members = self.channels.get(&channel).cloned().unwrap_or_default();
        for member in members.into_iter().filter(|member| *member != number) {
            if let Some(Some(other)) = self.connections.get_mut(member) {
                other.out.extend_from_slice(lines);
            }
            self.write(member);
        }
    }

    fn write(&mut self, number: usize) {
        let Some(Some(connection)) = self.connections.get_mut(number) else {
            return;
        };
        while let Some(rest) = connection.out.get(connection.written..) {
            if rest.is_empty() {
                connection.out.clear();
                connection.written = 0;
                return;
            }
            match connection.stream.write(rest) {
                Ok(count) => connection.written += count,
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && rest.len() < MOST_WAITING =>
                {
                    return;
                }
                Err(_) => return self.close(number),
            }
        }
    }

    fn close(&mut self, number: usize) {
        if let Some(connection) = self.connections.get_mut(number) {
            *connection = None;
        }
        for members in self.channels.values_mut() {
            members.retain(|member| *member != number);
        }
    }
}
